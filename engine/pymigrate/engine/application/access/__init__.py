"""Who may do what: role bindings, and what the engine makes of them for each caller."""
