"""The Kubernetes operator: custom resources as one more surface of the engine."""
