"""The stores that keep to the contract: the fake in memory, the embedded database, and PostgreSQL in two versions."""

import random
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.store.postgres import PostgresStore
from pymigrate.engine.adapters.store.sqlite import SqliteStore
from pymigrate.engine.adapters.store.sqlite_file import opened
from pymigrate.engine.adapters.store.tables import METADATA
from pymigrate.engine.ports.store import Store
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.store import MemoryStore
from tests.servers import POSTGRES_PLACES, PostgresCluster, empty_database

KEPT = {"turn"}


@pytest.fixture(scope="session")
def postgres_stores(postgres_clusters: Callable[[str], PostgresCluster]) -> Iterator[Callable[[str], str]]:
    """The DSN of a place's database for stores, made when it is first asked for and used by one test after the other."""
    made: dict[str, str] = {}
    with ExitStack() as stack:

        def url(place: str) -> str:
            if place not in made:
                made[place] = stack.enter_context(empty_database(postgres_clusters(place)))
            return made[place]

        yield url


def empty(url: str) -> None:
    """Takes everything out of a store and begins its numbers again: far quicker than a database for each test."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # the audit trail lets nobody else do that
        connection.execute(f"TRUNCATE {', '.join(METADATA.tables.keys() - KEPT)} RESTART IDENTITY")


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedded store in which nothing is. A copy of it is there at once; all migrations take longer than a test."""
    place = tmp_path_factory.mktemp("stores") / "store"
    with opened(place, lambda _: None):
        pass
    return place


@pytest.fixture(params=["memory", "sqlite", *(f"postgres-{place}" for place in POSTGRES_PLACES)])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, empty_file: Path, postgres_stores: Callable[[str], str]
) -> AsyncIterator[Store]:
    """An empty store of each kind; a server is started only for those that need one."""
    kind, _, server = request.param.partition("-")
    made: Store
    match kind:
        case "memory":
            made = MemoryStore()
        case "sqlite":
            place = tmp_path / "store"
            shutil.copy(empty_file, place)
            made = await SqliteStore.open(place, ManualClock())
        case _:
            made = await PostgresStore.open(postgres_stores(server), SystemClock(), random.Random(7))
            empty(postgres_stores(server))
    yield made
    await made.close()
