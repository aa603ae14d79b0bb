"""The contract over gRPC: the services, who may call them, and how errors are told."""
