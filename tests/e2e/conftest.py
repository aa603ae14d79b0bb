"""What the end-to-end tests share: the demo's legacy systems, and engines that are gone after each test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.engines import EngineProcess, running_engine
from tests.measuring import COVERAGE
from tests.servers import PostgresCluster
from tools.legacy_systems import lay_out

pytest.register_assert_rewrite("tests.e2e.crash_scene")


@pytest.fixture(scope="module", autouse=True)
def measuring(request: pytest.FixtureRequest) -> Iterator[None]:
    """Engines, hosts and commands are measured in modules marked `measured`: together these go through all that such processes do."""
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("measured") is None:
            patch.delenv(COVERAGE, raising=False)
        yield


@pytest.fixture(scope="session")
def legacy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The five departments' systems of the demo, with all 336,776 flights."""
    folder = tmp_path_factory.mktemp("legacy")
    lay_out(folder)
    return folder


@pytest.fixture(scope="session")
def postgres_cluster(postgres_clusters: Callable[[str], PostgresCluster]) -> PostgresCluster:
    """The machine's version alone: what differs between versions is held by the connectors' own tests."""
    return postgres_clusters("machine")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    """A running engine; it and everything that it started is gone afterwards."""
    with running_engine(tmp_path / "home") as process:
        yield process
