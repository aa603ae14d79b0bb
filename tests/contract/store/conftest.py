"""The stores that keep to the contract: the fake in memory, the embedded database, and PostgreSQL in two versions."""

import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.store.postgres import PostgresStore
from pymigrate.engine.adapters.store.sqlite import SqliteStore
from pymigrate.engine.ports.store import Store
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.store import MemoryStore
from tests.servers import POSTGRES_PLACES, PostgresCluster, empty_database


@pytest.fixture(params=["memory", "sqlite", *(f"postgres-{place}" for place in POSTGRES_PLACES)])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_clusters: Callable[[str], PostgresCluster]
) -> AsyncIterator[Store]:
    """An empty store of each kind; a server is started only for those that need one."""
    kind, _, place = request.param.partition("-")
    made: Store
    match kind:
        case "memory":
            made = MemoryStore()
        case "sqlite":
            made = await SqliteStore.open(tmp_path / "store", ManualClock())
        case _:
            with empty_database(postgres_clusters(place)) as url:
                made = await PostgresStore.open(url, SystemClock(), random.Random(7))
                yield made
                await made.close()
                return
    yield made
    await made.close()
