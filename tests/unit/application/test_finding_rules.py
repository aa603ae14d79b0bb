"""What a rule may ask to be found: one figure, drift or window, held to a bound that can be crossed."""

from typing import Any

import pytest
from google.protobuf import json_format

from pymigrate.engine.application.notification_definitions import match_problems
from pymigrate.v1 import notification_pb2


def problems(match: dict[str, Any]) -> dict[str, str]:
    """What is wrong with a match, by field."""
    read = json_format.ParseDict(match, notification_pb2.EventMatch())
    return {problem.field: problem.description for problem in match_problems("match", read, may_find=True)}


@pytest.mark.parametrize(
    "kpi",
    [
        {"figure": "errors.rate", "isAbove": True, "bound": 0.05, "holdSeconds": 60},
        {"figure": "lanes.stalled", "isAbove": True},
        {"figure": "errors.by_reason.SOURCE_UNAVAILABLE", "isAbove": True, "bound": 3},
        {"figure": "drift.drift", "bound": -0.5},
        {"figure": "sla_risk.level", "isAbove": True, "bound": 2},
    ],
)
def test_a_figure_is_named_by_its_path(kpi: dict[str, Any]) -> None:
    assert problems({"kpi": kpi}) == {}


def test_a_figure_that_there_is_not_is_refused_with_the_nearest() -> None:
    assert problems({"kpi": {"figure": "error.rate"}}) == {
        "match.kpi.figure": "`error.rate` is no figure of Kpis; did you mean `errors.rate`?"
    }


@pytest.mark.parametrize(
    ("figure", "bound"), [("completion", 50), ("errors.rate", -0.1), ("sla_risk.level", 5), ("rows", -1)]
)
def test_a_bound_that_the_figure_never_reaches_is_refused(figure: str, bound: float) -> None:
    assert list(problems({"kpi": {"figure": figure, "bound": bound}})) == ["match.kpi.bound"]


def test_a_rule_finds_one_thing_only() -> None:
    found = problems({"kpi": {"figure": "rows"}, "driftMin": 0.2, "windowClosesSeconds": 600})
    assert list(found) == ["match.drift_min", "match.window_closes_seconds"]
    assert "beside `kpi`" in found["match.drift_min"]
