"""Repositories behind the installed git command."""
