"""Kubernetes' API over HTTP: how it is reached and by whom, calls, watches, and what its answers mean."""
