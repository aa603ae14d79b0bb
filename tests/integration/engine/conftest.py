"""An engine for each test, and a client of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from tests.integration.engine.served import ServedEngine


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedEngine]:
    """Serves, with nothing declared."""
    engine = ServedEngine(tmp_path)
    engine.start()
    yield engine
    engine.stop()
    engine.close()


@pytest.fixture
def client(served: ServedEngine) -> Iterator[Client]:
    """Speaks for the API's side, which declares what tests declare."""
    client = served.client("api")
    yield client
    client.channel.close()
