"""How the outside reaches the use cases: gRPC services, console commands, worker hosts and loops."""
