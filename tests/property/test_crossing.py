"""Crossings of bounds, whatever values come and however often somebody looks: no flapping, once for each crossing, and holds that depend on
the values alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.domain.crossing import Step, Terms, Unknown, Value, step
from pymigrate.engine.domain.delivery import Condition

START = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS_MAX = 100
VALUES = st.one_of(st.integers(-20, 20).map(float), st.sampled_from(list(Unknown)))
TERMS = st.builds(
    Terms,
    is_above=st.booleans(),
    bound=st.integers(-10, 10).map(float),
    hold_seconds=st.sampled_from([0.0, 3.0, 10.0]),
    hysteresis=st.sampled_from([0.0, 0.05, 0.5, 2.0]),
    repeat_seconds=st.sampled_from([0.0, 7.0]),
    least=st.sampled_from([None, -10.0]),
    most=st.sampled_from([None, 10.0]),
)
# At a second each, in order: from then on the value is this.
CHANGES = st.dictionaries(st.integers(0, SECONDS_MAX), VALUES, min_size=1, max_size=30).map(
    lambda found: sorted(found.items())
)
LOOKS = st.sets(st.integers(0, SECONDS_MAX), max_size=30)


@dataclass(frozen=True)
class Said:
    """A step that somebody is told of, at a second, with the value then."""

    second: int
    step: Step
    value: Value


TOLD = frozenset({Step.CROSSED, Step.AGAIN, Step.RECOVERED})


def followed(terms: Terms, changes: Sequence[tuple[int, Value]], looks: set[int]) -> list[Said]:
    """What is told by whoever looks at every change, when something is due, and at these seconds besides."""
    values = dict(changes)
    condition: Condition | None = None
    value: Value = Unknown.YET
    told: list[Said] = []
    due: datetime | None = None
    for second in range(SECONDS_MAX + 1):
        now = START + timedelta(seconds=second)
        value = values.get(second, value)
        if not (second in values or second in looks or (due is not None and due <= now)):
            continue
        found = step(terms, condition, value, now)
        match found:
            case Step.BEGINS:
                condition = Condition("environments/e", "r", "s", since=now)
            case Step.CROSSED | Step.AGAIN:
                since = condition.since if condition else now
                condition = replace(condition or Condition("environments/e", "r", "s", since=since), told_time=now)
            case Step.DROPPED | Step.RECOVERED:
                condition = None
            case Step.STAYS:
                pass
        if found in TOLD:
            told.append(Said(second, found, value))
        due = terms.next_time(condition) if condition is not None else None
    return told


@given(TERMS, CHANGES, LOOKS)
def test_whoever_looks_more_often_is_told_the_same(
    terms: Terms, changes: list[tuple[int, Value]], looks: set[int]
) -> None:
    assert followed(terms, changes, looks) == followed(terms, changes, set())


@given(TERMS, CHANGES)
def test_each_crossing_is_told_once_and_each_end_of_one_that_was_told(
    terms: Terms, changes: list[tuple[int, Value]]
) -> None:
    steps = [said.step for said in followed(replace(terms, repeat_seconds=0.0), changes, set())]
    expected = [Step.CROSSED if place % 2 == 0 else Step.RECOVERED for place in range(len(steps))]
    assert steps == expected


@given(TERMS, CHANGES)
def test_a_crossing_is_told_of_a_value_beyond_the_bound_and_its_end_of_one_that_is_back(
    terms: Terms, changes: list[tuple[int, Value]]
) -> None:
    for said in followed(terms, changes, set()):
        if said.step is Step.CROSSED:
            assert not isinstance(said.value, Unknown)
            assert terms.is_beyond(said.value)
        if said.step is Step.RECOVERED and not isinstance(said.value, Unknown):
            assert terms.is_back(said.value)
            assert not terms.is_beyond(said.value)


@given(TERMS, CHANGES)
def test_a_value_that_moves_within_the_hysteresis_tells_nothing_more(
    terms: Terms, changes: list[tuple[int, Value]]
) -> None:
    never_back = [
        (second, value)
        for second, value in changes
        if value is Unknown.YET or (not isinstance(value, Unknown) and not terms.is_back(value))
    ]
    told = followed(replace(terms, repeat_seconds=0.0), never_back, set())
    assert [said.step for said in told] in ([], [Step.CROSSED])


@given(TERMS, CHANGES)
def test_nothing_is_told_before_it_has_held(terms: Terms, changes: list[tuple[int, Value]]) -> None:
    values = dict(changes)
    for said in followed(terms, changes, set()):
        if said.step is not Step.CROSSED:
            continue
        known: Value = Unknown.YET
        held: list[Value] = []
        for second in range(said.second + 1):
            known = values.get(second, known)
            if second >= said.second - terms.hold_seconds:
                held.append(known)
        assert all(value is Unknown.YET or (isinstance(value, float) and terms.is_beyond(value)) for value in held)


@given(TERMS)
def test_a_value_on_the_bound_is_not_beyond_it_and_no_end_lies_beyond_it_either(terms: Terms) -> None:
    assert not terms.is_beyond(terms.bound)
    assert not terms.is_beyond(terms.back)
