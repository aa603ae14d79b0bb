"""What the ports are made of: the store, connectors, executors, secrets and the clock."""
