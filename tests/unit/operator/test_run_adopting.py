"""How a Run finds its run in the engine, and what is remembered of one resource from pass to pass."""

from typing import Any

import pytest

from pymigrate.engine.domain.errors import FailedPrecondition, NotFound, NotPermitted
from pymigrate.engine.entrypoints.operator.objects import FINALIZER, RESOURCE_TYPES, EnvironmentRule, Key, run_id
from pymigrate.engine.entrypoints.operator.run_adopting import RUN_NAME, RunAdopting, declared_name
from pymigrate.engine.entrypoints.operator.run_refusals import EARLY_SECONDS, RunRefusals
from pymigrate.engine.entrypoints.operator.run_steering import ApproveGate, Situation
from pymigrate.engine.entrypoints.operator.scaling import Scaling, bounds_of, load_of
from pymigrate.engine.ports.cluster import Object, ObjectConflict
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.clusters import MemoryCluster
from pymigrate.v1 import custom_resource_pb2, run_pb2
from tests.unit.operator.declared_runs import NAME, engine_run, run_spec

UID = "0b5e1a52-0000-4000-8000-000000000001"
OWN = f"environments/e/plans/p/runs/{run_id(UID)}"
KEY = Key("Run", "e", "first")
GATE = ApproveGate("sales", "sign_off")


class Engine:
    """Has runs by name, and counts who asks."""

    def __init__(self, *runs: run_pb2.Run) -> None:
        self.runs = {run.name: run for run in runs}
        self.told: run_pb2.Run | None = None
        self.asked = 0

    async def get_run(self, name: str) -> run_pb2.Run:
        self.asked += 1
        if name not in self.runs:
            raise NotFound(f"there is no {name}")
        return self.runs[name]

    def newest(self, uid: str) -> run_pb2.Run | None:
        return self.told


def resource(name: str = "", annotation: str = "", **metadata: Any) -> Object:
    """A Run whose run is noted in its status, or in its annotation."""
    annotations = {RUN_NAME: annotation} if annotation else {}
    return {"metadata": {"uid": UID, "annotations": annotations, **metadata}, "status": {"name": name}}


def adopting(engine: Engine, rule: EnvironmentRule = EnvironmentRule.NAMESPACE) -> RunAdopting:
    return RunAdopting(MemoryCluster(ManualClock()), engine, engine, lambda _, __: None, rule)


def at_version(version: int, state: str = "RUNNING") -> run_pb2.Run:
    return engine_run(state, etag=f"0123456789ab-{version}")


def test_a_run_is_called_as_it_was_noted() -> None:
    found = adopting(Engine())
    assert not found.name(resource(), "e")
    assert found.name(resource(annotation=OWN), "e") == OWN
    assert found.name(resource(name=OWN), "e") == OWN
    assert declared_name(resource(), "e", "p") == OWN


@pytest.mark.parametrize(
    "noted", [OWN.replace(run_id(UID), run_id("another")), run_id(UID), f"{OWN}/lanes/{run_id(UID)}", "x"]
)
def test_what_was_noted_of_another_resource_is_not_taken(noted: str) -> None:
    assert not adopting(Engine()).name(resource(annotation=noted), "e")


def test_nobody_reaches_another_environment_by_a_name_where_namespaces_are_environments() -> None:
    reaching = OWN.replace("environments/e/", "environments/prod/")
    for noted in (resource(annotation=reaching), resource(name=reaching)):
        assert not adopting(Engine()).name(noted, "e")
        assert adopting(Engine(), EnvironmentRule.ANNOTATION).name(noted, "e") == reaching


async def test_what_the_stream_told_costs_no_call() -> None:
    engine = Engine()
    engine.told = at_version(3)
    assert await adopting(engine).find("u", NAME) == engine.told
    assert engine.asked == 0


async def test_what_is_older_than_what_was_seen_is_asked_for_anew() -> None:
    engine = Engine(at_version(7, "FAILED"))
    found = adopting(engine)
    found.note("u", at_version(7, "FAILED"))
    engine.told = at_version(6)
    assert (await found.find("u", NAME)) == at_version(7, "FAILED")
    assert engine.asked == 1
    engine.told = at_version(8)
    assert (await found.find("u", NAME)) == at_version(8)
    engine.told = at_version(7)
    engine.runs[NAME] = at_version(9)
    assert (await found.find("u", NAME)) == at_version(9)


async def test_a_run_that_is_not_there_is_none() -> None:
    assert await adopting(Engine()).find("u", NAME) is None


async def test_the_finalizer_and_the_name_come_in_one_write_under_the_version_that_was_looked_at() -> None:
    cluster, noted = MemoryCluster(ManualClock()), list[Object]()
    cluster.register(RESOURCE_TYPES["Run"])
    metadata = {"namespace": "e", "name": "first", "finalizers": ["others.io/own"]}
    kind = RESOURCE_TYPES["Run"]
    body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": {}}
    made = await cluster.create(kind, body)
    engine = Engine()
    found = RunAdopting(cluster, engine, engine, lambda _, each: noted.append(each), EnvironmentRule.NAMESPACE)
    held = await found.hold(KEY, made, NAME)
    assert held["metadata"]["finalizers"] == ["others.io/own", FINALIZER]
    assert held["metadata"]["annotations"] == {RUN_NAME: NAME}
    assert noted == [held]
    writes = len(cluster.writes)
    assert await found.hold(KEY, held, NAME) == held
    assert len(cluster.writes) == writes
    with pytest.raises(ObjectConflict):
        await found.hold(KEY, made, NAME)


# Approvals -------------------------------------------------------------------------------------------------------------------------------


def test_an_approval_that_came_too_early_is_sent_again_later_and_told_as_no_refusal() -> None:
    clock = ManualClock()
    refusals = RunRefusals(clock)
    assert refusals.note("u", GATE, 1, FailedPrecondition("not yet")) == EARLY_SECONDS
    seen = refusals.seen("u", Situation(run_spec()), 1)
    assert (set(seen.refused), seen.refusal) == ({GATE}, "")
    clock.advance(EARLY_SECONDS)
    assert not refusals.seen("u", seen, 1).refused


def test_an_approval_that_is_refused_is_told_until_what_is_declared_changes() -> None:
    clock = ManualClock()
    refusals = RunRefusals(clock)
    assert refusals.note("u", GATE, 1, NotPermitted("somebody else must")) is None
    clock.advance(1_000)
    seen = refusals.seen("u", Situation(run_spec()), 1)
    assert (set(seen.refused), seen.refusal) == ({GATE}, "somebody else must")
    assert not refusals.seen("other", Situation(run_spec()), 1).refused
    assert not refusals.seen("u", Situation(run_spec()), 2).refused


# Scaling ---------------------------------------------------------------------------------------------------------------------------------


def scaling_spec(**fields: float) -> custom_resource_pb2.RunSpec:
    return run_spec(scaling=custom_resource_pb2.LaneScaling(**fields))  # type: ignore[arg-type]  # a test's own fields


def busy(pending: int, running: int, limit: int = 0, **fields: Any) -> run_pb2.Run:
    counts = run_pb2.LaneCounts(pending=pending, running=running)
    return engine_run("RUNNING", lanes_max=limit, lane_counts=counts, **fields)


def test_what_is_not_said_of_scaling_has_a_meaning() -> None:
    bounds = bounds_of(custom_resource_pb2.LaneScaling(lanes_max=4))
    assert (bounds.lanes_min, bounds.lanes_max, bounds.lag_seconds_max) == (1, 4, 60.0)
    assert (bounds.latency_factor_max, bounds.cooldown_seconds) == (3.0, 60.0)
    assert bounds_of(custom_resource_pb2.LaneScaling(lanes_min=9, lanes_max=4)).lanes_min == 4


def test_only_what_still_catches_up_is_behind() -> None:
    run = engine_run("RUNNING", phases={"sales": "STAGING", "stock": "PUBLISHED"})
    run.phases["sales"].datasets["orders"].lag_seconds = 7
    run.phases["stock"].datasets["items"].lag_seconds = 900
    run.lane_counts.stalled = 2
    assert (load_of(run).lag_seconds, load_of(run).pending) == (7, 2)
    assert load_of(engine_run("RUNNING")).lag_seconds == -1


def test_lanes_are_as_declared_where_nothing_scales_them() -> None:
    scaling = Scaling(ManualClock())
    assert scaling.lanes("u", run_spec(lanes=3), busy(9, 1)) == (3, None)
    assert scaling.lanes("u", run_spec(), busy(9, 1, 7)) == (0, None)


def test_lanes_follow_the_load_and_what_went_before_is_remembered() -> None:
    clock = ManualClock()
    scaling = Scaling(clock)
    spec = scaling_spec(lanes_max=8, cooldown_seconds=30)
    assert scaling.lanes("u", spec, busy(5, 1))[0] == 6
    assert scaling.lanes("u", spec, busy(0, 1, 6)) == (6, 30.0)
    clock.advance(30)
    assert scaling.lanes("u", spec, busy(0, 1, 6))[0] == 1


def test_an_operator_that_begins_anew_goes_on_from_the_engines_limit() -> None:
    assert Scaling(ManualClock()).lanes("u", scaling_spec(lanes_max=8), busy(0, 1, 6))[0] == 6


@pytest.mark.parametrize("desired", ["PAUSED", "CANCELLED"])
def test_nothing_is_scaled_that_is_held_or_has_ended(desired: str) -> None:
    scaling = Scaling(ManualClock())
    spec = scaling_spec(lanes_min=2, lanes_max=8)
    assert scaling.lanes("u", spec, engine_run("PAUSED", desired=desired, lanes_max=5)) == (5, None)
    assert scaling.lanes("u", spec, engine_run("SUCCEEDED", lanes_max=5)) == (5, None)
