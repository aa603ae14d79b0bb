"""What a plugin may tell: whatever keeps to the rules is on the page, and whatever does not is left out alone, with the reason."""

from typing import Any

import orjson
import pytest

from pymigrate.engine.adapters.metrics.plugin_rules import PluginRules, refuse_name
from pymigrate.engine.ports.business_metrics import FAMILIES_MAX

GOOD = ["shop_orders", "gauge", "Orders.", ["environment"], [[["prod"], 3]]]


def read(*families: Any) -> tuple[dict[str, dict[tuple[str, ...], float]], list[str]]:
    """What an answer tells, and what of it is left out."""
    readings, problems = PluginRules("shop").read(orjson.dumps(families))
    return {reading.family.name: dict(reading.values) for reading in readings}, problems


def test_counters_and_gauges_of_the_plugin_s_own_name_are_told() -> None:
    counter = ["shop_sold_total", "counter", "Sold.", ["a", "b", "c", "d"], [[["1", "2", "3", "4"], 2.5]]]
    bare = ["shop_open", "gauge", "Open.", [], [[[], -1]]]
    told, problems = read(GOOD, counter, bare)
    assert told == {
        "shop_orders": {("prod",): 3.0},
        "shop_sold_total": {("1", "2", "3", "4"): 2.5},
        "shop_open": {(): -1.0},
    }
    assert problems == []


@pytest.mark.parametrize(
    ("family", "says"),
    [
        (["orders", "gauge", "", [], []], "does not begin with shop_"),
        (["pymigrate_rows", "gauge", "", [], []], "does not begin with shop_"),
        (["shop_", "gauge", "", [], [], 1], "not written as"),
        (["shop_Orders", "gauge", "", [], []], "no name of a metric"),
        (["shop_x\n# TYPE y gauge", "gauge", "", [], []], "no name of a metric"),
        (["shop_x", "histogram", "", [], []], "counters and gauges"),
        (["shop_x", "counter", "", [], []], "counters end in _total"),
        (["shop_x_total", "gauge", "", [], []], "counters end in _total"),
        (["shop_x_bucket", "gauge", "", [], []], "nothing that others end in"),
        (["shop_x", "gauge", "", ["a", "b", "c", "d", "e"], []], "at most 4"),
        (["shop_x", "gauge", "", ["a", "a"], []], "each once"),
        (["shop_x", "gauge", "", ["le"], []], "reserved"),
        (["shop_x", "gauge", "", ["job"], []], "reserved"),
        (["shop_x", "gauge", "", ["__name__"], []], "reserved or no name"),
        (["shop_x", "gauge", "", ['a="b"'], []], "reserved or no name"),
        (["shop_x", "gauge", "", [1], []], "reserved or no name"),
        (["shop_x", "gauge", "", ["a"], [[["1", "2"], 1]]], "other labels"),
        (["shop_x", "gauge", "", ["a"], [[[1], 1]]], "other labels"),
        (["shop_x", "gauge", "", [], [[[], "1"]]], "no number"),
        (["shop_x", "gauge", "", [], [[[], True]]], "no number"),
        (["shop_x", "gauge", "", [], [[[], None]]], "no number"),
        (["shop_x_total", "counter", "", [], [[[], -1]]], "below 0"),
        (["shop_x", "gauge", "", [], ["x"]], "no number"),
        ({"name": "shop_x"}, "not written as"),
        (GOOD, "told twice"),
    ],
)
def test_a_family_that_breaks_a_rule_is_left_out_alone(family: Any, says: str) -> None:
    told, problems = read(GOOD, family)
    assert told == {"shop_orders": {("prod",): 3.0}}
    (problem,) = problems
    assert says in problem


def test_more_families_than_a_plugin_has_are_not_taken() -> None:
    told, problems = read(*([f"shop_x{at}", "gauge", "", [], []] for at in range(FAMILIES_MAX + 5)))
    assert len(told) == FAMILIES_MAX
    assert problems == [f"{FAMILIES_MAX + 5} families are told, of which the first {FAMILIES_MAX} are taken"]


def test_a_family_stays_the_same_one_and_can_not_become_another() -> None:
    rules = PluginRules("shop")
    (first,), _ = rules.read(orjson.dumps([GOOD]))
    (again,), _ = rules.read(orjson.dumps([GOOD]))
    assert again.family is first.family
    assert first.family.is_plugin
    readings, problems = rules.read(orjson.dumps([["shop_orders", "gauge", "Other.", ["environment"], []]]))
    assert readings == []
    assert "start the engine again" in problems[0]


@pytest.mark.parametrize("answer", [b"", b"{", b"{}", b"3", b"[1"])
def test_what_is_no_answer_is_refused_as_a_whole(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        PluginRules("shop").read(answer)


@pytest.mark.parametrize("name", ["process", "python_x", "pymigrate", "Shop", "a-b", ""])
def test_no_plugin_takes_names_that_others_have(name: str) -> None:
    assert refuse_name(name)


@pytest.mark.parametrize("name", ["shop", "shop_2"])
def test_a_plugin_takes_any_other_name(name: str) -> None:
    assert refuse_name(name) == ""
