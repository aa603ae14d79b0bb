"""The Terraform provider: PyMigrate's plans, phases and runs as resources. A client of the engine, and nothing more."""

__version__ = "0.1.0"
