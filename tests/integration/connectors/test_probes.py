"""A probe between real systems: it copies, compares and publishes a sample with the means of a run, and leaves nothing."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.application.probing import Probing
from pymigrate.engine.entrypoints.worker.probing import probe_job
from pymigrate.engine.entrypoints.worker.systems import system_spec
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.testing.faults import Crash
from pymigrate.engine.testing.secrets import MemorySecrets
from pymigrate.engine.transfer.probe import probe
from pymigrate.v1 import connection_pb2, plan_pb2
from tests.integration.connectors import probe_scenes as scenes
from tests.integration.connectors.probe_scenes import PARTS, ROWS, SCRATCH, Scene
from tests.integration.connectors.routes import CONNECTORS
from tests.servers import MariadbDatabase, PostgresCluster, empty_database
from tests.unit.application.inquirers import AnsweredInquiries
from tests.unit.transfer.lanes import Asked

PAIRS = {
    "postgres to postgres": "postgres_binary",
    "mariadb to postgres": "postgres_text",
    "csv to postgres": "csv",
    "postgres to mariadb": "arrow",
    "mariadb to mariadb": "arrow",
    "sqlite to duckdb": "arrow",
    "duckdb to sqlite": "arrow",
    "parquet to files": "arrow",
    "sqlite to iceberg": "arrow",
}


@pytest.fixture
def create_postgres(postgres_clusters: Callable[[str], PostgresCluster]) -> Iterator[Callable[[], str]]:
    """One version is enough: a probe adds no statement of its own."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(empty_database(postgres_clusters("machine")))


@pytest.fixture(params=PAIRS)
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    """A dataset between the two, and a target that nothing was moved into."""
    source, _, target = request.param.partition(" to ")
    found = Scene(a_side(request, source, tmp_path / "source"), a_side(request, target, tmp_path / "target"))
    assert found.inspection.path == PAIRS[request.param], found.inspection.path_reason
    return found


@pytest.fixture
def scene(fresh: Scene) -> Scene:
    """The same after a run, so that its relation is live."""
    fresh.put_live()
    return fresh


def a_side(request: pytest.FixtureRequest, kind: str, folder: Path) -> scenes.Side:
    folder.mkdir()
    match kind:
        case "postgres":
            create: Callable[[], str] = request.getfixturevalue("create_postgres")
            return scenes.postgres(create())
        case "mariadb":
            make: Callable[[], MariadbDatabase] = request.getfixturevalue("create_mariadb_database")
            return scenes.mariadb(make())
        case "sqlite":
            return scenes.sqlite(folder / "s.db")
        case "duckdb":
            return scenes.duckdb_file(folder / "d.duckdb")
        case "csv" | "parquet":
            return scenes.files(folder / "f", f".{kind}")
        case "files":
            return scenes.files(folder / "f")
        case _:
            return scenes.iceberg(folder / "i")


def spec(connection: connection_pb2.Connection) -> SystemSpec:
    return system_spec(connection, MemorySecrets())


def a_killed_probe(scene: Scene) -> None:
    """A probe of which nothing more is heard once its sample is published."""
    source, target = spec(scene.work.source), spec(scene.work.target)

    def gone(_: str) -> int:
        raise Crash

    with pytest.raises(Crash):
        probe(
            probe_job(scene.probe_task()),
            lambda: CONNECTORS[source.kind]().open_source(source),
            lambda: CONNECTORS[target.kind]().open_target(target),
            Asked(),
            size_of=gone,
        )


def relations(scene: Scene) -> list[str]:
    target = spec(scene.work.target)
    with closing(CONNECTORS[target.kind]().open_target(target)) as opened:
        return [info.relation for info in opened.relations("*", 100)]


def test_a_sample_goes_all_the_way_and_nothing_of_it_is_left(scene: Scene) -> None:
    source, target = scene.source.told(), scene.target.told()
    found = scene.probe()
    assert list(found.notes) == []
    assert sum(chunk.rows for chunk in found.chunks) == ROWS
    assert found.is_whole
    assert min(found.open_seconds, found.verify_seconds, found.publish_seconds, found.drop_seconds) > 0
    assert all(chunk.seconds > 0 and chunk.source_seconds > 0 and chunk.bytes > 0 for chunk in found.chunks)
    assert found.close_seconds >= 0
    assert found.verified_rows > 0
    assert (scene.source.told(), scene.target.told()) == (source, target)


def test_what_a_killed_probe_left_is_dropped_by_the_next_one(scene: Scene) -> None:
    source, target = scene.source.told(), scene.target.told()
    a_killed_probe(scene)
    assert SCRATCH in relations(scene)
    assert list(scene.probe().notes) == []
    assert (scene.source.told(), scene.target.told()) == (source, target)


@pytest.mark.parametrize("level", ["COUNT", "SAMPLED", "FULL"])
def test_a_sample_of_many_lanes_is_compared_without_reading_what_was_not_copied(scene: Scene, level: str) -> None:
    scene.work.dataset.verification = plan_pb2.VerificationLevel.Value(f"VERIFICATION_LEVEL_{level}")
    found = scene.probe(bytes_max=1, lanes=4, dataset_bytes=1 << 40)
    assert list(found.notes) == []
    assert len(found.chunks) == 1
    assert not found.is_whole
    assert found.verified_rows <= found.chunks[0].rows < ROWS
    assert found.verify_seconds > 0


def test_a_part_of_the_source_is_sampled(scene: Scene) -> None:
    ranges = scene.inspection.ranges
    assert len(ranges) == PARTS
    found = scene.probe(range=ranges[1], lanes=PARTS)
    assert list(found.notes) == []
    assert found.is_whole
    assert 0 < sum(chunk.rows for chunk in found.chunks) < ROWS


def test_a_target_that_held_nothing_holds_nothing_but_empty_relations_of_our_own(fresh: Scene) -> None:
    assert list(fresh.probe().notes) == []
    assert relations(fresh) == []
    assert fresh.journal() == []


@pytest.mark.parametrize("lanes", [1, 3])
async def test_a_dataset_is_measured_by_an_engine_that_asks(tmp_path: Path, lanes: int) -> None:
    scene = Scene(scenes.sqlite(tmp_path / "s.db"), scenes.duckdb_file(tmp_path / "d.duckdb"))
    asked = AnsweredInquiries(scene.answer)
    measured = await Probing(asked.inquiries, SystemClock()).measure(
        scene.revision(), [("sales", "orders")], 60.0, {}, lanes
    )
    measure = measured.measures["sales", "orders"]
    assert (measure.rows, measure.is_whole, measured.unknowns) == (ROWS, True, {})
    assert measure.copy.row_seconds > 0
    assert measure.verify.fixed_seconds + measure.verify.row_seconds > 0
    assert measure.publish.fixed_seconds + measure.publish.row_seconds > 0
    assert lanes == 1 or 3 in measure.slowdowns
    assert relations(scene) == []
