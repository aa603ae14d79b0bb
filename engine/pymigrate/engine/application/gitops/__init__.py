"""Definitions in files and repositories: how they are read, compared, applied, promoted and taken back."""
