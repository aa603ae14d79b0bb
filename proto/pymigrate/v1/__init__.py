"""The contract of PyMigrate, version 1: generated messages and stubs."""
