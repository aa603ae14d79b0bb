"""What transforms may be declared: every problem is told at its field."""

import pytest

from pymigrate.engine.application.following import catch_up_problems
from pymigrate.engine.application.transform_definitions import (
    quarantine_problems,
    shared_quarantines,
    transform_problems,
)
from pymigrate.v1 import connection_pb2, plan_pb2
from pymigrate.v1.shape import from_data

SYSTEMS = {
    "legacy": connection_pb2.Connection(sqlite=connection_pb2.SqliteSystem(path="/x.db")),
    "duck": connection_pb2.Connection(duckdb=connection_pb2.DuckdbSystem(path="/x.duckdb")),
}


def transform(kind: str, **fields: object) -> plan_pb2.Transform:
    """A transform of one kind."""
    made = plan_pb2.Transform()
    getattr(made, kind).SetInParent()
    for name, value in fields.items():
        field = getattr(getattr(made, kind), name)
        field.update(value) if isinstance(value, dict) else field.extend(value)
    return made


def built(kind: str, fields: dict[str, object]) -> plan_pb2.Transform:
    """A transform as a definition has it."""
    made = plan_pb2.Transform()
    from_data({kind: fields}, made)
    return made


def derived(expression: str, type_: str) -> plan_pb2.Transform:
    """A transform that derives `x`."""
    column = plan_pb2.DerivedColumn(expression=expression, type=type_)
    return plan_pb2.Transform(derive=plan_pb2.DeriveColumns(columns={"x": column}))


@pytest.mark.parametrize(
    ("made", "field", "says"),
    [
        (plan_pb2.Transform(), "", "set one of rename"),
        (transform("rename"), ".rename.columns", "names 1 to"),
        (transform("rename", columns={"a": ""}), ".rename.columns.a", "is not empty"),
        (plan_pb2.Transform(filter=plan_pb2.FilterRows()), ".filter.condition", "is required"),
        (plan_pb2.Transform(filter=plan_pb2.FilterRows(condition="1" * 10_001)), ".filter.condition", "10,000"),
        (transform("derive"), ".derive.columns", "names 1 to"),
        (transform("select"), ".select.columns", "names 1 to"),
        (transform("drop", columns=["a", "b", "a"]), ".drop.columns", "names `a` 2 times"),
        (derived("", "int64"), ".derive.columns.x.expression", "is required"),
        (derived("1", ""), ".derive.columns.x.type", "is required"),
        (derived("1", "integer"), ".derive.columns.x.type", "is no column type"),
        (transform("cast", columns={}), ".cast.columns", "names 1 to"),
        (built("cast", {"columns": {"a": {}}}), ".cast.columns.a.type", "is required"),
        (built("lookup", {"source": {"relation": "x"}}), ".lookup.source.connection", "is required"),
        (built("lookup", {"source": {"connection": "legcy"}}), ".lookup.source.connection", "did you mean `legacy`?"),
        (built("lookup", {"source": {"connection": "duck"}}), ".lookup.source.connection", "one process alone"),
        (built("lookup", {"source": {"connection": "legacy"}}), ".lookup.keys", "names 1 to"),
        (built("deduplicate", {"columns": ["a", "a"]}), ".deduplicate.columns", "2 times"),
        (built("split", {"into": ["a"]}), ".split.separator", "is required"),
        (built("split", {"into": ["a"]}), ".split.column", "is required"),
        (built("merge", {"columns": ["a"]}), ".merge.into", "is not empty"),
        (built("mask", {"columns": {"a": {}}}), ".mask.columns.a.method", "one of hash, tokenise, redact"),
        (built("mask", {"columns": {"a": {"method": "hash"}}}), ".mask.key", "is required by"),
        (built("mask", {"columns": {"a": {"method": "hash"}}, "key": "hunter2"}), ".mask.key", "never the key itself"),
        (built("mask", {"columns": {"a": {"method": "hash", "text": "x"}}}), ".mask.columns.a.text", "for `redact`"),
        (built("plugin", {}), ".plugin.name", "is required"),
        (built("python", {"function": "os.system"}), ".python.function", "module:function"),
        (built("python", {"memoryBytesMax": 1}), ".python.memory_bytes_max", "67,108,864"),
        (built("python", {"batchSecondsMax": 9999}), ".python.batch_seconds_max", "3,600"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(made: plan_pb2.Transform, field: str, says: str) -> None:
    found = {p.field: p.description for p in transform_problems("d", plan_pb2.Dataset(transforms=[made]), SYSTEMS)}
    assert says in found[f"d.transforms[0]{field}"]


def test_what_is_right_has_no_problem() -> None:
    made = [transform("rename", columns={"a": "b"}), transform("drop", columns=["b"])]
    assert not list(transform_problems("d", plan_pb2.Dataset(transforms=made), {}))


def test_a_dataset_has_a_bounded_number_of_transforms() -> None:
    made = [transform("drop", columns=["b"])] * 101
    assert [p.field for p in transform_problems("d", plan_pb2.Dataset(transforms=made), {})] == ["d.transforms"]


def test_rows_are_told_apart_within_one_lane_alone() -> None:
    dataset = plan_pb2.Dataset(transforms=[built("deduplicate", {})], lanes=2)
    assert [p.field for p in transform_problems("d", dataset, {})] == ["d.lanes"]


@pytest.mark.parametrize(
    ("declared", "field", "says"),
    [
        ({}, "quarantine", "needs a budget"),
        ({"rowsMax": -1}, "quarantine.rows_max", "can't be negative"),
        ({"shareMax": 1.5}, "quarantine.share_max", "at most 1"),
        ({"rowsMax": 1, "relation": "orders"}, "quarantine.relation", "the target relation itself"),
        ({"rowsMax": 1, "relation": "x" * 201}, "quarantine.relation", "200 characters"),
    ],
)
def test_a_quarantine_has_a_budget_and_a_relation_of_its_own(
    declared: dict[str, object], field: str, says: str
) -> None:
    dataset = plan_pb2.Dataset()
    from_data({"quarantine": declared, "target": {"relation": "orders"}}, dataset)
    assert says in {p.field: p.description for p in quarantine_problems("d", dataset)}[f"d.{field}"]


def test_two_datasets_do_not_share_a_quarantine_nor_take_a_target_for_one() -> None:
    phase = plan_pb2.Phase()
    datasets = {
        "a": {"target": {"connection": "c", "relation": "a"}, "quarantine": {"rowsMax": 1}},
        "b": {"target": {"connection": "c", "relation": "b"}, "quarantine": {"rowsMax": 1, "relation": "a_quarantine"}},
        "c": {"target": {"connection": "c", "relation": "c"}, "quarantine": {"rowsMax": 1, "relation": "a"}},
        "d": {"target": {"connection": "d", "relation": "a"}, "quarantine": {"rowsMax": 1}},
    }
    from_data({"datasets": datasets}, phase)
    assert [p.field for p in shared_quarantines({"p": phase})] == [
        "phases.p.datasets.b.quarantine.relation",
        "phases.p.datasets.c.quarantine.relation",
    ]


def test_what_is_followed_while_it_is_written_to_has_no_quarantine_and_looks_at_each_row_by_itself() -> None:
    dataset = plan_pb2.Dataset()
    source = {"connection": "legacy", "relation": "x"}
    from_data({"source": source, "catchUp": {"logical": {}}, "quarantine": {"rowsMax": 1}}, dataset)
    dataset.transforms.append(transform("drop", columns=["b"]))
    dataset.transforms.append(transform("deduplicate", columns=["a"]))
    phase = plan_pb2.Phase(downtime_policy=plan_pb2.DOWNTIME_POLICY_ONLINE)
    found = {problem.field for problem in catch_up_problems("d", phase, dataset, SYSTEMS)}
    assert found == {"d.transforms[1].deduplicate", "d.quarantine", "d.catch_up.logical"}
