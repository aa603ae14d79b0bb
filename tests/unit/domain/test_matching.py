"""Which occurrences a rule or a silence means."""

from typing import Any

import pytest

from pymigrate.engine.domain.matching import Matcher
from pymigrate.engine.domain.notices import EventMatch, KpiThreshold, Severity
from tests.unit.domain.notified import occurrence

LAG = KpiThreshold("lag_seconds", is_above=True, bound=60)


def matches(match: EventMatch, of_rule: str = "", **more: Any) -> bool:
    matcher, told = Matcher(match, of_rule), occurrence(**more)
    assert matcher.matches(told) is (matcher.why_not(told) == "")
    return matcher.matches(told)


def test_an_empty_match_means_everything() -> None:
    assert matches(EventMatch())
    assert matches(EventMatch(), type_="audit.create", plan="", phase="", department="", failure=None)


@pytest.mark.parametrize(
    ("types", "is_meant"),
    [
        (("phase.failed",), True),
        (("phase.*",), True),
        (("*",), True),
        (("run.failed", "phase.failed"), True),
        (("phase.fail",), False),
        (("phas.*",), False),
        (("phase",), False),
        (("run.*",), False),
    ],
)
def test_a_type_is_named_whole_or_by_how_it_begins(types: tuple[str, ...], is_meant: bool) -> None:
    assert matches(EventMatch(types=types)) is is_meant


@pytest.mark.parametrize(
    ("pattern", "is_meant"),
    [
        ("sales", True),
        ("*", True),
        ("sa*", True),
        ("*es", True),
        ("s*l*s", True),
        ("**", True),
        ("sales*", True),
        ("sale", False),
        ("s*x*s", False),
        ("sal*les", False),
        ("*sales*sales*", False),
        ("s.les", False),
        ("SALES", False),
    ],
)
def test_a_star_stands_for_any_text_and_nothing_else_is_special(pattern: str, is_meant: bool) -> None:
    assert matches(EventMatch(phases=(pattern,))) is is_meant
    assert matches(EventMatch(plans=("*house",), departments=("re*",), phases=("other", pattern))) is is_meant


def test_a_pattern_asks_for_something_that_is_there() -> None:
    assert not matches(EventMatch(phases=("*",)), phase="")
    assert not matches(EventMatch(departments=("retail",)), department="")


def test_a_pattern_of_many_stars_is_tried_in_one_pass() -> None:
    assert not matches(EventMatch(phases=("a*" * 30 + "b",)), phase="a" * 63)
    assert matches(EventMatch(phases=("a*" * 30,)), phase="a" * 63)


@pytest.mark.parametrize("type_", ["audit.deny", "audit.read"])
def test_a_call_without_effect_is_meant_only_by_a_rule_that_names_its_type(type_: str) -> None:
    for types in ((), ("*",), ("audit.*",), ("audit.create",)):
        assert not matches(EventMatch(types=types), "rule", type_=type_)
    assert matches(EventMatch(types=(type_,)), "rule", type_=type_)
    assert matches(EventMatch(types=("audit.*", type_)), "rule", type_=type_)


def test_a_silence_holds_back_calls_without_effect_as_everything_else() -> None:
    assert matches(EventMatch(), type_="audit.deny")


def test_what_is_less_grave_does_not_match() -> None:
    assert matches(EventMatch(severity_min=Severity.ERROR))
    assert not matches(EventMatch(severity_min=Severity.CRITICAL))


def test_reasons_are_those_of_the_failure() -> None:
    assert matches(EventMatch(reasons=("DATA_REFUSED", "SOURCE_UNAVAILABLE")))
    assert not matches(EventMatch(reasons=("DATA_REFUSED",)))
    assert not matches(EventMatch(reasons=("DATA_REFUSED",)), failure=None)


def test_everything_that_is_given_must_match() -> None:
    assert not matches(EventMatch(types=("phase.failed",), plans=("other",)))


@pytest.mark.parametrize(
    ("match", "type_"),
    [
        (EventMatch(kpi=LAG), "kpi.crossed"),
        (EventMatch(kpi=LAG), "kpi.recovered"),
        (EventMatch(drift_min=0.2), "drift.crossed"),
        (EventMatch(window_closes_seconds=600), "window.closing"),
    ],
)
def test_a_rule_that_finds_means_what_it_found_itself(match: EventMatch, type_: str) -> None:
    assert matches(match, "lagging", type_=type_, rule="lagging", figure="lag_seconds")
    assert not matches(match, "lagging", type_=type_, rule="another", figure="lag_seconds")
    assert not matches(match, "lagging", type_="phase.failed", rule="lagging")


def test_a_rule_that_finds_asks_no_types_but_everything_else() -> None:
    match = EventMatch(types=("run.*",), plans=("ware*",), kpi=LAG)
    assert matches(match, "lagging", type_="kpi.crossed", rule="lagging")
    assert not matches(match, "lagging", type_="kpi.crossed", rule="lagging", plan="other")


def test_a_rule_that_finds_figures_does_not_mean_a_drift() -> None:
    assert not matches(EventMatch(kpi=LAG), "lagging", type_="drift.crossed", rule="lagging")


def test_another_rule_may_name_what_was_found_by_its_type() -> None:
    assert matches(EventMatch(types=("kpi.*",)), "all", type_="kpi.crossed", rule="lagging")


def test_a_silence_with_a_figure_means_that_figure_whichever_rule_found_it() -> None:
    assert matches(EventMatch(kpi=LAG), type_="kpi.crossed", rule="lagging", figure="lag_seconds")
    assert not matches(EventMatch(kpi=LAG), type_="kpi.crossed", rule="lagging", figure="completion")
    assert matches(EventMatch(drift_min=0.1), type_="drift.crossed", rule="late", figure="drift.drift")
    assert not matches(EventMatch(kpi=LAG), figure="lag_seconds")


def test_the_same_matcher_answers_the_same_however_often_it_is_asked() -> None:
    matcher = Matcher(EventMatch(phases=("sa*",)))
    told = occurrence()
    assert [matcher.matches(told) for _ in range(3)] == [True] * 3
