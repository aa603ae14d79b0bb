"""The provider's functions: names taken apart, phases put in order, and what they can't take said at the argument."""

from typing import Any

import msgpack
import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tf.gen import tfplugin_pb2 as pb
from tf.utils import to_dynamic_value

from pymigrate.provider.functions.phase_order import ordered
from pymigrate.provider.provider import PymigrateProvider
from pymigrate.provider.sdk.function import ArgumentRefused
from pymigrate.provider.sdk.servicer import Servicer
from pymigrate.provider.sdk.values import Unknown, read_value
from tests.unit.provider.schemas import served


def call(name: str, value: Any) -> Any:
    """The answer as Terraform reads it; what is wrong as text."""
    request = pb.CallFunction.Request(name=name, arguments=[to_dynamic_value(value)])
    answer = Servicer(PymigrateProvider()).CallFunction(request, None)
    if answer.HasField("error"):
        return f"{answer.error.function_argument}: {answer.error.text}"
    return read_value(answer.result)


def order(phases: Any) -> Any:
    """phase_order; the type of a value that may be of any stands before it."""
    return call("phase_order", [b'"dynamic"', phases])


def phase(*dependencies: str, **more: Any) -> dict[str, Any]:
    """A phase with what an order looks at, and something that it does not."""
    return {"dependencies": list(dependencies), "datasets": {"a": Unknown}, **more}


def test_functions_are_told_with_the_schema() -> None:
    functions = served().functions
    assert sorted(functions) == ["parse_name", "phase_order"]
    assert getattr(functions["phase_order"], "return").type == b'["list","string"]'


def test_a_name_is_taken_apart() -> None:
    assert call("parse_name", "environments/prod/plans/warehouse/phases/sales") == {
        "kind": "phase",
        "id": "sales",
        "parent": "environments/prod/plans/warehouse",
        "segments": {"environment": "prod", "plan": "warehouse", "phase": "sales"},
    }


@pytest.mark.parametrize(
    ("name", "kind", "parent"),
    [
        ("environments/prod", "environment", ""),
        ("environments/prod/alertRules/failures", "alert_rule", "environments/prod"),
        ("environments/prod/onCallSchedules/nights", "on_call_schedule", "environments/prod"),
        ("environments/prod/deliveries/1", "delivery", "environments/prod"),
    ],
)
def test_a_kind_is_spelled_as_attributes_are(name: str, kind: str, parent: str) -> None:
    found = call("parse_name", name)
    assert (found["kind"], found["parent"]) == (kind, parent)


@pytest.mark.parametrize(
    "name", ["", "prod", "environments", "environments/", "plans/a", "environments/a/plans/b/plans/c"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    assert call("parse_name", name).startswith(f"0: `{name}` is no resource name")


def test_phases_come_after_what_they_depend_on_by_name_where_there_is_a_choice() -> None:
    phases = {"flights": phase("planes", "airports"), "planes": phase(), "airports": phase(), "weather": {}}
    assert order(phases) == ["airports", "planes", "flights", "weather"]


def test_phases_come_after_those_of_departments_that_they_depend_on() -> None:
    phases = {
        "a": {"department": "sales", "department_dependencies": ["finance"]},
        "b": {"department": "finance", "department_dependencies": None},
        "c": {"department": "finance"},
    }
    assert order(phases) == ["b", "c", "a"]


def test_a_circle_is_refused_and_spelled() -> None:
    phases = {"d": phase("b"), "b": phase("c"), "c": phase("b"), "a": phase()}
    assert "in a circle: b → c → b;" in order(phases)


@pytest.mark.parametrize(
    ("phases", "said"),
    [
        ({"a": phase("b")}, "phase `a` depends on `b`, which is none of them"),
        ({"a": {"dependencies": "b"}}, "`dependencies` of phase `a` must be a list of names"),
        (["a"], "must be a map of phases"),
        ({"a": "b"}, "must be a map of phases"),
    ],
)
def test_what_are_no_phases_is_refused(phases: Any, said: str) -> None:
    assert said in order(phases)


@pytest.mark.parametrize(
    "phases", [Unknown, {"a": Unknown}, {"a": {"dependencies": Unknown}}, {"a": {"dependencies": [Unknown]}}]
)
def test_an_order_of_what_is_not_known_yet_is_not_known_yet(phases: Any) -> None:
    assert order(phases) is Unknown


def test_a_phase_whose_order_alone_is_known_is_ordered() -> None:
    whole = {"a": phase("b") | {"name": msgpack.ExtType(12, b"\x81\x01\xc2")}, "b": phase()}
    assert order(whole) == ["b", "a"]


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.frozensets(st.sampled_from("abcdefgh"), max_size=3), max_size=8))
def test_an_order_is_a_topological_one_or_there_is_a_circle(needs: dict[str, frozenset[str]]) -> None:
    whole = {name: each & needs.keys() for name, each in needs.items()}
    graph = nx.DiGraph([(other, name) for name, each in whole.items() for other in each])
    graph.add_nodes_from(whole)
    if nx.is_directed_acyclic_graph(graph):
        assert ordered(whole) == list(nx.lexicographical_topological_sort(graph))
    else:
        with pytest.raises(ArgumentRefused, match="circle"):
            ordered(whole)
