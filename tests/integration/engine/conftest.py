"""An engine for each test, and a client of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from pymigrate.engine.entrypoints.cli.client import Client
from tests.integration.engine.served import ServedEngine


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedEngine]:
    """Serves, with nothing declared, and logs nothing: what a command of this process prints is compared."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    engine = ServedEngine(tmp_path)
    engine.start()
    yield engine
    engine.stop()
    engine.close()
    structlog.reset_defaults()


@pytest.fixture
def client(served: ServedEngine) -> Iterator[Client]:
    """Speaks for the API's side, which declares what tests declare."""
    client = served.client("api")
    yield client
    client.channel.close()
