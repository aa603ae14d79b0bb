"""The engine: the gRPC service that plans, runs and proves migrations."""
