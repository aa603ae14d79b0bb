"""Metrics on prometheus-client's registry and formats."""
