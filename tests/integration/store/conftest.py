"""Stores of two engines on one PostgreSQL."""

from collections.abc import AsyncIterator

import pytest

from pymigrate.engine.adapters.store.postgres import PostgresStore
from tests.integration.store.overlapping import opened


@pytest.fixture
async def store(postgres_database: str) -> AsyncIterator[PostgresStore]:
    """An engine's store."""
    made = await opened(postgres_database)
    yield made
    await made.close()


@pytest.fixture
async def second(postgres_database: str, store: PostgresStore) -> AsyncIterator[PostgresStore]:
    """Another engine's store, on the same database."""
    made = await opened(postgres_database)
    yield made
    await made.close()
