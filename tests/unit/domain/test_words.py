"""Names and column types: what is one, and what to say when it is not."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from pymigrate.engine.domain import names
from pymigrate.engine.domain.errors import IllegalTransition, InvalidDefinition, from_reason
from pymigrate.engine.domain.run_states import (
    LANE_STEPS,
    PHASE_STEPS,
    RUN_STEPS,
    TASK_STEPS,
    PhaseState,
    RunState,
    check_step,
)
from pymigrate.engine.domain.types import ColumnType, parse_type


@pytest.mark.parametrize("text", ["a", "sales", "sales-2026", "a_b", "x" * 63])
def test_an_id_is_lower_case_and_begins_with_a_letter(text: str) -> None:
    assert names.is_id(text)


@pytest.mark.parametrize("text", ["", "Sales", "1a", "a-", "a/b", "a.b", "x" * 64, "ä", "a\n"])
def test_what_is_no_id_is_told_apart(text: str) -> None:
    assert not names.is_id(text)


def test_names_have_parents_and_last_segments() -> None:
    name = "environments/prod/plans/p/phases/sales"
    assert names.parent_of(name) == "environments/prod/plans/p"
    assert names.parent_of("environments/prod") == ""
    assert names.environment_of(name) == "environments/prod"
    assert names.last_segment(name) == "sales"


def test_the_nearest_name_is_offered_else_the_known_ones() -> None:
    assert names.nearest("operatons", ["operations", "sales"]) == "; did you mean `operations`?"
    assert names.nearest("x", ["operations", "sales"]) == "; there are `operations`, `sales`"
    assert names.nearest("x", []) == "; none is declared yet"
    assert names.nearest("zzz", [f"a{number}" for number in range(20)]).endswith("and others")


def test_types_read_back_as_they_are_written() -> None:
    for text in ("bool", "int64", "timestamptz", "decimal(38,10)", "uuid"):
        assert str(parse_type(text)) == text
    assert parse_type("decimal(12, 2)") == ColumnType("decimal", 12, 2)


@pytest.mark.parametrize("text", ["int", "decimal", "decimal(39,1)", "decimal(0,0)", "decimal(2,3)", "STRING", ""])
def test_what_is_no_type_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"decimal|precision"):
        parse_type(text)


def test_an_illegal_step_says_what_is_allowed() -> None:
    with pytest.raises(IllegalTransition, match="it can become cancelled, paused, running"):
        check_step(RUN_STEPS, "the run", RunState.PENDING, RunState.SUCCEEDED)


@pytest.mark.parametrize(
    "reason",
    [
        "NOT_FOUND",
        "FAILED_PRECONDITION",
        "DATA_REFUSED",
        "VERIFICATION_FAILED",
        "SOURCE_CHANGED",
        "FENCE_LOST",
        "CANNOT_UNDO",
        "X",
    ],
)
def test_an_error_that_crossed_a_process_keeps_its_reason(reason: str) -> None:
    error = from_reason(reason, "what", field="key")
    assert (error.reason, error.message, error.field) == (reason, "what", "key")


def test_a_temporary_error_that_crossed_a_process_stays_temporary() -> None:
    assert from_reason("ANY", "away", is_temporary=True).is_temporary


TABLES: dict[str, Mapping[Any, frozenset[Any]]] = {
    "run": RUN_STEPS,
    "phase": PHASE_STEPS,
    "lane": LANE_STEPS,
    "task": TASK_STEPS,
}


@pytest.mark.parametrize("name", TABLES)
def test_a_machine_takes_the_steps_of_its_table_and_refuses_every_other(name: str) -> None:
    steps = TABLES[name]
    states: Any = type(next(iter(steps)))
    assert steps.keys() == set(states)
    for before, after in itertools.product(states, states):
        if after in steps[before]:
            check_step(steps, name, before, after)
        else:
            with pytest.raises(IllegalTransition, match=f"{name} is {before} and can't become {after}"):
                check_step(steps, name, before, after)


@pytest.mark.parametrize("name", TABLES)
def test_every_state_can_be_reached(name: str) -> None:
    steps = TABLES[name]
    states: Any = type(next(iter(steps)))
    first = next(iter(states))
    reached, pending = {first}, [first]
    while pending:
        for after in steps[pending.pop()] - reached:
            reached.add(after)
            pending.append(after)
    assert reached == steps.keys()


def test_only_what_has_not_ended_or_may_be_done_again_can_be_left() -> None:
    assert {state for state in PhaseState if not PHASE_STEPS[state]} == {PhaseState.SEALED}
    assert RUN_STEPS[RunState.ROLLED_BACK] == {RunState.ROLLING_BACK}  # another of its phases may be rolled back later
    assert all(RUN_STEPS.values())


def test_an_error_without_a_field_names_the_definition() -> None:
    error = from_reason("INVALID_DEFINITION", "what")
    assert isinstance(error, InvalidDefinition)
    assert [problem.field for problem in error.problems] == ["definition"]
    with pytest.raises(ValueError, match="at least one problem"):
        InvalidDefinition(())


@pytest.mark.parametrize(
    ("name", "collections", "expected"),
    [
        ("environments/e/plans/p", ("environments", "plans"), True),
        ("environments/e", ("environments", "plans"), False),
        ("environments//plans/p", ("environments", "plans"), False),
        ("environments/e/runs/p", ("environments", "plans"), False),
    ],
)
def test_a_name_is_told_by_its_collections(name: str, collections: tuple[str, ...], expected: bool) -> None:
    assert names.matches(name, *collections) is expected
