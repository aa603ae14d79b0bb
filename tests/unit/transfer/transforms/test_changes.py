"""Changes that go through transforms: rows as the target gets them, keys by their later names, and what can't be told of a change alone."""

from collections.abc import Sequence
from contextlib import closing

import pyarrow as pa
import pytest

from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.capture import RowChanges
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.transform import (
    CastAll,
    CastTo,
    Deduplicate,
    Derive,
    Derived,
    Filter,
    Mask,
    Masked,
    MaskMethod,
    Rename,
    TransformSpec,
)
from pymigrate.engine.testing.connectors import MemorySource
from pymigrate.engine.testing.memory import MemoryDatabase
from pymigrate.engine.transfer.transforms.binding import Binding
from pymigrate.engine.transfer.transforms.changes import AsTheyAre, Shape
from pymigrate.engine.transfer.transforms.pipeline import Pipeline
from pymigrate.engine.transfer.transforms.source import TransformedSource

INT, TEXT = ColumnType("int64"), ColumnType("string")
COLUMNS = (ColumnInfo("id", INT), ColumnInfo("name", TEXT))
SHAPED = (ColumnInfo("number", INT), ColumnInfo("name", TEXT))
ODD: tuple[TransformSpec, ...] = (Rename({"id": "number"}), Filter("number % 2 = 1"))


def opened(specs: Sequence[TransformSpec]) -> TransformedSource:
    database = MemoryDatabase()
    database.put("orders", COLUMNS, [(1, "a")])
    return TransformedSource(MemorySource(database), lambda columns: Pipeline(specs, columns, Binding().bind))


def shape_of(specs: Sequence[TransformSpec], key: str, columns: Sequence[ColumnInfo] = SHAPED) -> Shape:
    with closing(opened(specs)) as source:
        return source.shape("orders", SourceRelation("orders", key=(key,)), columns)


def changes(keys: Sequence[int], rows: Sequence[tuple[int, str]]) -> RowChanges:
    schema = arrow_schema(COLUMNS)
    return RowChanges(
        pa.RecordBatch.from_pylist([{"id": each} for each in keys], schema=schema.remove(1)),
        pa.RecordBatch.from_pylist([{"id": number, "name": name} for number, name in rows], schema=schema),
        is_emptied=True,
    )


def test_what_is_filtered_out_is_taken_out_under_the_later_name_of_its_key() -> None:
    with closing(shape_of(ODD, "number")) as shape:
        assert list(shape.key) == ["id"]
        assert tuple(shape.columns) == COLUMNS
        found = shape.apply(changes([1, 2, 3], [(1, "b"), (2, "c")]))
    assert found.keys.to_pylist() == [{"number": 1}, {"number": 2}, {"number": 3}]
    assert found.rows.to_pylist() == [{"number": 1, "name": "b"}]
    assert found.is_emptied


def test_a_changed_row_that_is_refused_is_named_by_its_key() -> None:
    specs: list[TransformSpec] = [Derive({"name": Derived("CAST(name AS BIGINT)", INT)}), Rename({"id": "number"})]
    with closing(shape_of(specs, "number", (ColumnInfo("number", INT), ColumnInfo("name", INT)))) as shape:
        assert shape.apply(changes([1], [(1, "7")])).rows.to_pylist() == [{"number": 1, "name": 7}]
        with pytest.raises(DataRefused, match=r"refuse the changed row id=4, column `name`"):
            shape.apply(changes([1, 4], [(1, "7"), (4, "x")]))


@pytest.mark.parametrize(
    "spec",
    [
        CastAll({"id": CastTo(TEXT)}),
        Derive({"id": Derived("id + 1", INT)}),
        Mask({"id": Masked(MaskMethod.HASH)}, b"0123456789abcdef"),
    ],
)
def test_a_key_that_is_made_by_a_transform_can_not_be_followed(spec: TransformSpec) -> None:
    with closing(opened([spec])) as source:
        relation, problems = source.followed(SourceRelation("orders", key=("id",)))
        assert relation.key == ()
        assert [(each.field, each.description[:43]) for each in problems] == [
            ("transforms", "`id` is of the key and made by a transform:")
        ]
        with pytest.raises(InvalidDefinition, match="made by a transform"):
            source.shape(
                "orders", SourceRelation("orders", key=("id",)), source.describe(SourceRelation("orders")).columns
            )


def test_rows_that_depend_on_others_can_not_be_followed() -> None:
    with closing(opened([Deduplicate(["name"])])) as source:
        (problem,) = source.followed(SourceRelation("orders", key=("id",)))[1]
    assert "depends on others" in problem.description


def test_without_transforms_changes_are_what_they_are() -> None:
    with closing(AsTheyAre(COLUMNS, ("id",))) as shape:
        given = changes([1], [])
        assert shape.apply(given) is given
