"""Messages made from templates, in a process of their own."""
