"""Systems that data comes from and goes to: one module a kind, with its source and its target beside it."""
