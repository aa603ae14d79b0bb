"""Verdicts: what the conditions of a custom resource may say together, and how problems are told."""

import pytest

from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.entrypoints.operator.verdicts import (
    PROBLEMS_MAX,
    Condition,
    ConditionType,
    Findings,
    Verdict,
    problems_text,
)
from pymigrate.v1.custom_resource_pb2 import ObjectStatus

READY = Condition(ConditionType.READY, holds=True, reason="Applied")
NOT_READY = Condition(ConditionType.READY, holds=False, reason="Waits")
RECONCILING = Condition(ConditionType.RECONCILING, holds=True, reason="Waits")
STALLED = Condition(ConditionType.STALLED, holds=True, reason="Broken")


def statuses(verdict: Verdict) -> dict[str, str]:
    return {each.type.value: each.status for each in verdict.conditions}


def test_each_way_for_a_pass_to_end_tells_ready_and_at_most_one_reason_why_it_is_not() -> None:
    found = Findings(ObjectStatus())
    assert statuses(found.ready("Applied", "")) == {"Ready": "True"}
    assert statuses(found.reconciling("Waits", "")) == {"Ready": "False", "Reconciling": "True"}
    assert statuses(found.stalled("Broken", "")) == {"Ready": "False", "Stalled": "True"}
    assert statuses(found.suspended("Suspended", "")) == {"Ready": "Unknown", "Suspended": "True"}


@pytest.mark.parametrize(
    "conditions",
    [(READY, STALLED), (READY, RECONCILING), (NOT_READY, STALLED, RECONCILING), (STALLED,), (READY, READY)],
)
def test_conditions_that_contradict_one_another_make_no_verdict(conditions: tuple[Condition, ...]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Verdict(conditions, ObjectStatus())


def test_a_verdict_is_looked_at_again_at_the_earlier_of_two_times() -> None:
    verdict = Verdict((READY,), ObjectStatus(), look_again_seconds=5.0)
    assert verdict.after(3.0).look_again_seconds == 3.0
    assert verdict.after(9.0).look_again_seconds == 5.0
    assert verdict.after(None).look_again_seconds == 5.0


def test_of_many_problems_the_first_are_told_and_the_others_counted() -> None:
    problems = [Problem(f"spec.a{number}", "is wrong") for number in range(PROBLEMS_MAX + 7)]
    text = problems_text(problems)
    assert text.startswith("spec.a0: is wrong; spec.a1: is wrong")
    assert text.endswith("; and 7 more")
    assert problems_text([Problem("", "is wrong")]) == "is wrong"
