"""Where secrets are kept: the environment and files, chosen by a reference's scheme."""
