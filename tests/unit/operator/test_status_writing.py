"""The writing of status: nothing that is equal, never over a newer object, progress now and then, and never too much of it."""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pymigrate.engine.entrypoints.operator as operator_package
from pymigrate.engine.entrypoints.custom_resources import resource_type
from pymigrate.engine.entrypoints.operator.objects import Key
from pymigrate.engine.entrypoints.operator.status_writing import (
    LATE_SECONDS,
    STATUS_BYTES_MAX,
    StatusWriter,
    bounded,
    difference,
)
from pymigrate.engine.entrypoints.operator.verdicts import Condition, ConditionType, Findings, Verdict
from pymigrate.engine.ports.cluster import Object, ObjectConflict
from pymigrate.engine.testing.clusters import MemoryCluster
from pymigrate.engine.testing.virtual_loop import VirtualClock, VirtualLoop, run_virtually
from pymigrate.v1.custom_resource_pb2 import ObjectStatus, ResourceLanes, RunStatus

PLAN = Key("Plan", "prod", "warehouse")
RUN = Key("Run", "prod", "r1")


@dataclass
class Desk:
    """A writer, and what it wrote into."""

    loop: VirtualLoop
    turned: list[tuple[str, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cluster = MemoryCluster(VirtualClock(self.loop))
        for word in ("Plan", "Run"):
            self.cluster.register(resource_type(word))
        self.noted: list[Object] = []
        self.writer = StatusWriter(
            self.cluster,
            VirtualClock(self.loop),
            lambda _, written: self.noted.append(written),
            lambda _, __, turned: self.turned.append(tuple(f"{each.type}={each.reason}" for each in turned)),
        )

    async def create(self, key: Key) -> Object:
        kind, metadata = resource_type(key.word), {"namespace": key.namespace, "name": key.name}
        made = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": {"a": 1}}
        return await self.cluster.create(kind, made)

    async def read(self, key: Key) -> Object:
        return await self.cluster.get(resource_type(key.word), key.namespace, key.name)


def at_desk(scene: Callable[[Desk], Awaitable[None]]) -> Desk:
    async def main(loop: VirtualLoop) -> Desk:
        desk = Desk(loop)
        await scene(desk)
        return desk

    return run_virtually(main, random.Random(1))


def ready(**fields: Any) -> Verdict:
    return Findings(ObjectStatus(**fields)).ready("Applied", "is in the engine")


def test_a_status_tells_generation_conditions_and_fields() -> None:
    async def scene(desk: Desk) -> None:
        found = await desk.create(PLAN)
        await desk.writer.write(PLAN, found, ready(name="environments/prod/plans/warehouse", plan_hash="abc"))
        assert (await desk.read(PLAN))["status"] == {
            "observedGeneration": 1,
            "name": "environments/prod/plans/warehouse",
            "planHash": "abc",
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "observedGeneration": 1,
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                    "reason": "Applied",
                    "message": "is in the engine",
                }
            ],
        }
        assert desk.noted == [await desk.read(PLAN)]

    at_desk(scene)


def test_a_status_that_is_there_already_is_not_written() -> None:
    async def scene(desk: Desk) -> None:
        await desk.writer.write(PLAN, await desk.create(PLAN), ready(name="n"))
        before = len(desk.cluster.writes)
        await desk.writer.write(PLAN, await desk.read(PLAN), ready(name="n"))
        assert len(desk.cluster.writes) == before

    at_desk(scene)


def test_a_field_that_is_told_no_longer_is_taken_away() -> None:
    async def scene(desk: Desk) -> None:
        await desk.writer.write(PLAN, await desk.create(PLAN), ready(name="n", plan_hash="abc"))
        await desk.writer.write(PLAN, await desk.read(PLAN), ready(name="n"))
        assert "planHash" not in (await desk.read(PLAN))["status"]

    at_desk(scene)


def test_the_time_of_a_condition_stays_while_its_status_does() -> None:
    async def scene(desk: Desk) -> None:
        found = Findings(ObjectStatus())
        moments = []
        passes = [found.reconciling("A", "1"), found.reconciling("B", "2"), found.ready("C", "3"), found.ready("D", "")]
        await desk.create(PLAN)
        for verdict in passes:
            await desk.writer.write(PLAN, await desk.read(PLAN), verdict)
            (ready_, *_) = (await desk.read(PLAN))["status"]["conditions"]
            moments.append(ready_["lastTransitionTime"][-3:])
            await desk.cluster._clock.sleep(10)
        assert moments == ["00Z", "00Z", "20Z", "20Z"]

    at_desk(scene)


def test_a_status_is_never_written_over_an_object_that_was_changed_since() -> None:
    async def scene(desk: Desk) -> None:
        found = await desk.create(PLAN)
        await desk.cluster.patch(resource_type("Plan"), "prod", "warehouse", {"spec": {"a": 2}})
        with pytest.raises(ObjectConflict):
            await desk.writer.write(PLAN, found, ready())
        assert desk.noted == []

    at_desk(scene)


def test_conditions_that_turn_are_told_once_each() -> None:
    async def scene(desk: Desk) -> None:
        found = Findings(ObjectStatus())
        await desk.create(PLAN)
        for verdict in (found.stalled("A", "1"), found.stalled("A", "2"), found.ready("B", "")):
            await desk.writer.write(PLAN, await desk.read(PLAN), verdict)

    assert at_desk(scene).turned == [("Ready=A", "Stalled=A"), ("Ready=B",)]


def running(rows: int, reason: str = "Running") -> Verdict:
    verdict = Findings(RunStatus(rows=rows, lanes=ResourceLanes(running=rows))).reconciling(reason, "moves data")
    return replace(verdict, late_fields=frozenset({"rows", "lanes"}))


def test_progress_alone_is_written_each_two_seconds_and_asks_to_be_looked_at_again() -> None:
    async def scene(desk: Desk) -> None:
        await desk.create(RUN)
        seen, asked = [], []
        for rows in range(1, 60):
            asked.append(await desk.writer.write(RUN, await desk.read(RUN), running(rows)))
            seen.append((await desk.read(RUN))["status"]["rows"])
            await desk.cluster._clock.sleep(0.1)
        assert len(set(seen)) == 3
        assert asked[0] is None
        assert asked[5] == pytest.approx(LATE_SECONDS - 0.5)

    at_desk(scene)


def test_a_condition_that_turns_is_written_at_once_with_the_progress() -> None:
    async def scene(desk: Desk) -> None:
        await desk.create(RUN)
        await desk.writer.write(RUN, await desk.read(RUN), running(1))
        await desk.writer.write(RUN, await desk.read(RUN), running(2, "QuotaExceeded"))
        assert (await desk.read(RUN))["status"]["rows"] == 2

    at_desk(scene)


JSON = st.recursive(
    st.one_of(st.text(max_size=3_000), st.integers(-(2**62), 2**62), st.booleans()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=30), st.dictionaries(st.text(min_size=1, max_size=20), inner, max_size=10)
    ),
    max_leaves=60,
)


@settings(max_examples=100, deadline=None)
@given(status=st.dictionaries(st.text(min_size=1, max_size=20), JSON, max_size=12), message=st.text(max_size=3_000))
def test_a_status_stays_below_its_bound_whatever_it_is_to_tell(status: dict[str, Any], message: str) -> None:
    types = [each for each in ConditionType if each is not ConditionType.STALLED]
    conditions = [
        Condition(each, holds=each is not ConditionType.READY, reason="R" * 500, message=message) for each in types
    ]

    async def scene(desk: Desk) -> None:
        found = await desk.create(PLAN)
        name = bounded({"name": message})["name"]
        await desk.writer.write(PLAN, found, Verdict(conditions, ObjectStatus(name=name, environment=message)))
        assert len(orjson.dumps((await desk.read(PLAN))["status"])) <= STATUS_BYTES_MAX

    at_desk(scene)
    assert len(orjson.dumps(bounded(status))) <= STATUS_BYTES_MAX


def test_what_fits_is_told_whole() -> None:
    status = {"phases": [{"phase": f"p{number}", "message": "x" * 200} for number in range(20)], "name": "n"}
    assert bounded(status) == status


def test_of_what_does_not_fit_the_longest_list_is_cut() -> None:
    status = {"phases": [{"message": "x" * 256}] * 200, "name": "n", "problems": ["short"]}
    cut = bounded(status)
    assert 10 < len(cut["phases"]) < 60
    assert (cut["name"], cut["problems"]) == ("n", ["short"])


def merged(there: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7386."""
    found = dict(there)
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, Mapping):
            below = found.get(key)
            found[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            found[key] = value
    return found


OBJECTS = st.recursive(
    st.one_of(st.integers(0, 2), st.lists(st.integers(0, 1), max_size=2)),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict))


@given(there=OBJECTS, wanted=OBJECTS)
def test_a_difference_merged_into_what_is_there_is_what_was_wanted(
    there: dict[str, Any], wanted: dict[str, Any]
) -> None:
    patch = difference(there, wanted)
    assert merged(there, patch) == wanted
    assert bool(patch) == (there != wanted)


def test_no_other_module_writes_status() -> None:
    assert writers_of_status(list(Path(operator_package.__path__[0]).glob("*.py"))) == {"status_writing.py"}


def writers_of_status(modules: Sequence[Path]) -> set[str]:
    return {module.name for module in modules if "subresource=" in module.read_text()}
