"""What transforms may be declared: every problem is told at its field."""

import pytest

from pymigrate.engine.application.transform_definitions import transform_problems
from pymigrate.v1 import plan_pb2


def transform(kind: str, **fields: object) -> plan_pb2.Transform:
    """A transform of one kind."""
    made = plan_pb2.Transform()
    getattr(made, kind).SetInParent()
    for name, value in fields.items():
        field = getattr(getattr(made, kind), name)
        field.update(value) if isinstance(value, dict) else field.extend(value)
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
    ],
)
def test_what_is_wrong_is_told_at_its_field(made: plan_pb2.Transform, field: str, says: str) -> None:
    found = {p.field: p.description for p in transform_problems("d", plan_pb2.Dataset(transforms=[made]))}
    assert says in found[f"d.transforms[0]{field}"]


def test_what_is_right_has_no_problem() -> None:
    made = [transform("rename", columns={"a": "b"}), transform("drop", columns=["b"])]
    assert not list(transform_problems("d", plan_pb2.Dataset(transforms=made)))


def test_a_dataset_has_a_bounded_number_of_transforms() -> None:
    made = [transform("drop", columns=["b"])] * 101
    assert [p.field for p in transform_problems("d", plan_pb2.Dataset(transforms=made))] == ["d.transforms"]
