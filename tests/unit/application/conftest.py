"""An engine for each test, and a router on either store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pymigrate.engine.adapters.store.sqlite import SqliteStore
from pymigrate.engine.ports.store import Store
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.store import MemoryStore
from tests.unit.application.engines import Engine
from tests.unit.application.routed import Scene


@pytest.fixture
async def engine() -> Engine:
    """Nothing declared yet."""
    return Engine()


@pytest.fixture(params=["memory", "sqlite"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    """A router in an environment with no rules yet."""
    store: Store = MemoryStore()
    if request.param == "sqlite":
        store = await SqliteStore.open(tmp_path / "store", ManualClock())
    found = Scene(store)
    await found.begin()
    yield found
    await store.close()
