"""What the end-to-end tests share: the demo's legacy systems, and engines that are gone after each test."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.engines import EngineProcess, running_engine
from tests.measuring import COVERAGE
from tests.servers import PostgresCluster
from tools.legacy_systems import lay_out

if TYPE_CHECKING:
    from tests.e2e.chaos import ChaosScene, Grounds

pytest.register_assert_rewrite("tests.e2e.crash_scene", "tests.e2e.chaos", "tests.e2e.onlooking")


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


@pytest.fixture(scope="module")
def chaos_grounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Grounds"]:
    """The API server that tests of chaos end, restart and take types from, as they like; each leaves it as it was."""
    from tests.e2e.chaos import grounds

    with grounds(tmp_path_factory.mktemp("chaos")) as made:
        yield made


@pytest.fixture
async def scene(chaos_grounds: "Grounds", tmp_path: Path) -> AsyncIterator["ChaosScene"]:
    """A namespace of it with an engine and one who looks on."""
    from tests.e2e.chaos import chaos

    async with chaos(chaos_grounds, tmp_path) as made:
        yield made
