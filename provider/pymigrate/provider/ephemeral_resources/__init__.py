"""One file an ephemeral resource."""
