"""What may be promoted, and every reason why something may not."""

from dataclasses import replace

import pytest

from pymigrate.engine.domain.promotions import (
    Candidate,
    CompletedRun,
    PromotedPlan,
    VerifiedDataset,
    declared_refusals,
    verdict_of,
)
from pymigrate.engine.domain.run_states import RunState

COMMIT = "c" * 40
PLAN = "environments/staging/plans/warehouse"


def run(name: str = "r1", plan_hash: str = "A", state: RunState = RunState.SUCCEEDED, **said: bool) -> CompletedRun:
    holds = said.get("holds", state is RunState.SUCCEEDED)
    datasets = (VerifiedDataset("sales/orders", said.get("is_verified", True)),)
    return CompletedRun(name, plan_hash, state, holds, int(holds), datasets)


def candidate(*runs: CompletedRun) -> Candidate:
    return Candidate("gitSources/staging", COMMIT, COMMIT, (PromotedPlan(PLAN, "A", runs),))


def reasons(found: Candidate) -> list[str]:
    return [refusal.reason for refusal in verdict_of(found).refusals]


def test_what_succeeded_and_was_verified_may_be_promoted_for_its_run() -> None:
    verdict = verdict_of(candidate(run()))
    assert verdict.is_allowed
    assert verdict.runs == {PLAN: "r1"}


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ((), ["NO_RUN"]),
        ((run(plan_hash="B"),), ["NO_RUN"]),
        ((run(state=RunState.RUNNING),), ["NOT_SUCCEEDED"]),
        ((run(state=RunState.FAILED),), ["NOT_SUCCEEDED"]),
        ((run(state=RunState.CANCELLED),), ["NOT_SUCCEEDED"]),
        ((run(state=RunState.ROLLING_BACK),), ["NOT_SUCCEEDED"]),
        ((run(state=RunState.ROLLED_BACK),), ["UNDONE"]),
        ((run(holds=False),), ["UNDONE"]),
        ((run(is_verified=False),), ["NOT_VERIFIED"]),
        ((run("r2", state=RunState.FAILED), run()), ["NOT_SUCCEEDED"]),
        ((run("r2", state=RunState.ROLLED_BACK), run()), ["UNDONE"]),
        ((run("r2", "B", RunState.FAILED), run()), ["SUPERSEDED"]),
        ((run("r2", "B"), run()), ["SUPERSEDED"]),
        ((run("r2", "B", RunState.RUNNING), run()), ["SUPERSEDED"]),
        ((run("r2", "B", RunState.ROLLED_BACK), run()), []),
        ((run(), run("r0", "B", RunState.FAILED)), []),
    ],
)
def test_what_a_plan_s_runs_say_against_it(runs: tuple[CompletedRun, ...], expected: list[str]) -> None:
    assert reasons(candidate(*runs)) == expected


def test_every_reason_is_told_at_once() -> None:
    found = replace(
        candidate(run(is_verified=False), run("r0", "B")),
        commit="d" * 40,
        is_reversing=True,
        drift_count=2,
    )
    both = replace(found, plans=(*found.plans, PromotedPlan("environments/staging/plans/other", "K", ())))
    assert reasons(both) == ["NOT_APPLIED", "REVERSING", "DRIFTED", "NOT_VERIFIED", "NO_RUN"]


def test_a_source_that_applied_nothing_or_declares_no_plan_has_nothing_to_promote() -> None:
    assert reasons(replace(candidate(run()), applied_commit="")) == ["NOT_APPLIED"]
    assert reasons(replace(candidate(), plans=())) == ["NO_PLAN"]


def test_plans_must_be_declared_alike_on_both_sides() -> None:
    found = {"alike": ("A", "A"), "changed": ("A", "B"), "gone": ("A", ""), "more": ("", "B")}
    told = [refusal.message.split("`")[1] for refusal in declared_refusals(found)]
    assert told == ["changed", "gone", "more"]
    assert {refusal.reason for refusal in declared_refusals(found)} == {"HASH_DIFFERS"}
