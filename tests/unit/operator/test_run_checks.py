"""What a pass reads off resources as they are: whether a look at what would happen still counts, whether the plan is ready, and what stays
told."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pymigrate.engine.entrypoints.operator.objects import SUSPEND, Key
from pymigrate.engine.entrypoints.operator.reconciling import kept_status
from pymigrate.engine.entrypoints.operator.run_checks import is_checked, kept_verdict, plan_trouble
from pymigrate.engine.ports.cluster import Object
from pymigrate.v1.custom_resource_pb2 import RunStatus
from tests.unit.operator.declared_runs import HASH, OTHER_HASH

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = Key("Run", "e", "first")
AGAIN_SECONDS = 300.0


def told(reason: str, *, status: str = "False", generation: int = 2, observed: int = 2, **more: Any) -> Object:
    """A resource with what its Ready condition says, and more of a status."""
    ready = {"type": "Ready", "status": status, "reason": reason, "message": "m", "observedGeneration": observed}
    return {
        "metadata": {"generation": generation, **more.pop("metadata", {})},
        "status": {"conditions": [ready], **more},
    }


def checked(
    found: Object, plan_hash: str = HASH, *, problems: int = 0, age_seconds: float = 0.0, is_reported: bool = True
) -> bool:
    """Whether a look counts that was told so long ago of HASH."""
    before = RunStatus(plan_hash=HASH)
    if is_reported:
        before.dry_run.problem_count = problems
        before.dry_run.time.FromDatetime(NOW - timedelta(seconds=age_seconds))
    return is_checked(found, before, plan_hash, NOW, AGAIN_SECONDS)


@pytest.mark.parametrize("reason", ["DryRunPassed", "DryRunFailed", "ApprovalRequired", "PlanChanged", "CheckFailed"])
def test_a_look_counts_for_as_long_as_declaration_and_plan_stay(reason: str) -> None:
    assert checked(told(reason))
    assert checked(told(reason), age_seconds=100_000)
    assert not checked(told(reason), OTHER_HASH)
    assert not checked(told(reason, observed=1))
    assert not checked(told(reason), is_reported=False)


@pytest.mark.parametrize("reason", ["Progressing", "EngineUnavailable", "Succeeded"])
def test_what_tells_of_something_else_is_no_look(reason: str) -> None:
    assert not checked(told(reason))


def test_what_was_found_wrong_is_looked_at_again_after_some_time() -> None:
    assert checked(told("DryRunFailed"), problems=1, age_seconds=AGAIN_SECONDS - 1)
    assert not checked(told("DryRunFailed"), problems=1, age_seconds=AGAIN_SECONDS)


def trouble(plan: Object | None) -> str:
    """Why a plan that is declared so is not to be run yet."""
    asked: list[Key] = []

    def read(key: Key) -> Object | None:
        asked.append(key)
        return plan

    found = plan_trouble(read, KEY, {}, "p")
    assert asked == [Key("Plan", "e", "p")]
    return found


def test_a_plan_is_run_when_it_is_as_it_is_declared_or_declared_elsewhere() -> None:
    assert not trouble(None)
    assert not trouble(told("Applied", status="True"))


def test_a_plan_that_is_not_done_is_waited_for_and_says_why() -> None:
    assert trouble(told("InvalidDefinition")).endswith(": m")
    assert "being looked at" in trouble(told("Applied", status="True", observed=1))
    assert "being looked at" in trouble({"metadata": {"generation": 1}})


def test_a_plan_that_is_left_alone_is_run_as_the_engine_has_it() -> None:
    assert not trouble(told("InvalidDefinition", metadata={"annotations": {SUSPEND: "true"}}))


def kept(found: Object) -> bool:
    """Whether what was told stays while the engine is away."""
    before = kept_status("Run", found)
    assert isinstance(before, RunStatus)
    return kept_verdict(found, before) is not None


def test_what_has_ended_stays_told_while_the_engine_is_away() -> None:
    assert kept(told("Succeeded", status="True", state="succeeded"))
    assert kept(told("RunFailed", state="failed"))
    assert not kept(told("Running", state="running"))
    assert not kept(told("Starting"))


def test_what_changed_since_is_not_told_as_it_was() -> None:
    assert not kept(told("Succeeded", status="True", state="succeeded", observed=1))


def test_what_is_under_way_is_not_told_as_it_was() -> None:
    found = told("Retrying", state="failed")
    found["status"]["conditions"].append(
        {"type": "Reconciling", "status": "True", "reason": "Retrying", "message": "", "observedGeneration": 2}
    )
    assert not kept(found)


def test_what_is_being_deleted_is_not_told_as_it_was() -> None:
    metadata = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    assert not kept(told("Succeeded", status="True", state="succeeded", metadata=metadata))
