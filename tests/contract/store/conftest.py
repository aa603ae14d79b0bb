"""The stores that keep to the contract: the fake in memory and the embedded database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pymigrate.engine.adapters.store.sqlite import SqliteStore
from pymigrate.engine.ports.store import Store
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.store import MemoryStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store = (
        MemoryStore() if request.param == "memory" else await SqliteStore.open(tmp_path / "store", ManualClock())
    )
    yield made
    await made.close()
