"""What the tests of sources share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from pymigrate.engine.ports.source import Source
from tests.contract.sources.systems import System

pytest.register_assert_rewrite("tests.contract.sources.source_contract")


@pytest.fixture
def opened() -> Iterator[Callable[[System], Source]]:
    """Opens sources that are closed after the test."""
    with ExitStack() as stack:
        yield lambda system: stack.enter_context(closing(system.open()))
