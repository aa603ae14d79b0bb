"""The Terraform provider: plans, phases and runs as resources over the engine's gRPC contract."""
