"""An engine that serves for whoever operates it."""

from tests.integration.engine.conftest import served

__all__ = ["served"]
