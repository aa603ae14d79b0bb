"""An engine for each test."""

import pytest

from tests.unit.application.engines import Engine


@pytest.fixture
async def engine() -> Engine:
    """Nothing declared yet."""
    return Engine()
