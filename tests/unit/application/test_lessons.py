"""What earlier runs have taught, as an estimate asks for it: by step, by how the dataset was found, and by how it travels."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from pymigrate.engine.application.calibrations import dataset_key, kind_key
from pymigrate.engine.application.estimating import Learned
from pymigrate.engine.application.lessons import lessons_of
from pymigrate.engine.domain.calibration import Sample
from pymigrate.engine.domain.durations import Basis
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import run_pb2
from tests.unit.application.inquirers import a_revision

ENVIRONMENT = "environments/e"
PLAN = f"{ENVIRONMENT}/plans/p"
KIND = ("postgres", "postgres")


def sample(place: str = "orders", seconds: float = 20.0) -> Sample:
    """It was estimated at 10 s, with 15 s as the ninth decile."""
    name = f"{PLAN}/phases/sales/datasets/{place}"
    return Sample(f"{PLAN}/runs/r", name, datetime(2026, 3, 2, tzinfo=UTC), 10.0, 15.0, 10.0, seconds)


async def taught(samples: Mapping[str, list[Sample]]) -> MemoryStore:
    """A store that holds samples by key."""
    store = MemoryStore()
    await store.transact(lambda unit: unit.samples.add(ENVIRONMENT, samples))
    return store


async def learned(
    store: MemoryStore, basis: Basis = Basis.MEASURED, revision: run_pb2.PlanRevision | None = None
) -> Mapping[str, Learned]:
    found = revision or a_revision("orders")
    return await store.read(lambda unit: lessons_of(unit, found)(("sales", "orders"), basis))


async def test_before_any_run_nothing_is_learned() -> None:
    assert await learned(MemoryStore()) == {}


async def test_runs_of_the_dataset_itself_teach_the_steps_that_they_told_of() -> None:
    store = await taught({dataset_key(PLAN, "sales", "orders", "copy", "measured"): [sample()]})
    found = await learned(store)
    assert list(found) == ["copy"]
    assert found["copy"].is_own
    assert 1.0 < found["copy"].calibration.factor < 2.0
    assert found["copy"].calibration.record.runs == 1


async def test_runs_of_its_like_teach_too_and_are_told_apart() -> None:
    store = await taught({kind_key("arrow", *KIND, "publish", "measured"): [sample("items")]})
    found = await learned(store)
    assert list(found) == ["publish"]
    assert not found["publish"].is_own


@pytest.mark.parametrize(
    "key",
    [
        kind_key("csv", *KIND, "copy", "measured"),
        kind_key("arrow", "postgres", "duckdb", "copy", "measured"),
        kind_key("arrow", *KIND, "copy", "statistics"),
        dataset_key(f"{ENVIRONMENT}/plans/q", "sales", "orders", "copy", "measured"),
        dataset_key(PLAN, "crm", "orders", "copy", "measured"),
    ],
)
async def test_what_is_no_like_of_it_teaches_nothing(key: str) -> None:
    assert await learned(await taught({key: [sample("items")]})) == {}


async def test_what_was_found_by_size_alone_learns_from_what_was_found_so() -> None:
    store = await taught({kind_key("arrow", *KIND, "copy", "statistics"): [sample("items")]})
    assert list(await learned(store, Basis.STATISTICS)) == ["copy"]


async def test_a_dataset_whose_path_is_not_known_learns_from_those_that_travel_as_arrow() -> None:
    store = await taught({kind_key("arrow", *KIND, "copy", "assumed"): [sample("items")]})
    unseen = a_revision("orders")
    unseen.inspections["sales/orders"].path = ""
    assert list(await learned(store, Basis.ASSUMED, unseen)) == ["copy"]
    del unseen.inspections["sales/orders"]
    assert list(await learned(store, Basis.ASSUMED, unseen)) == ["copy"]
