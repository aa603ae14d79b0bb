"""Declarations survive the freeze: from a source's description into the contract and back into a staging."""

from pymigrate.engine.domain.schema import ForeignKey, SchemaPart, TableIndex, TableSchema
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.entrypoints.worker import schemas
from pymigrate.engine.ports.relations import RelationInfo
from pymigrate.v1 import plan_pb2

COLUMN = ColumnInfo("id", ColumnType("int64"), True, "bigint", "7", "'7'::bigint", True, "What it is")
SCHEMA = TableSchema(
    "postgres",
    "Who buys",
    ("id",),
    "orders_pkey",
    (TableIndex("i", ("id",), True, True), TableIndex("j", (), definition="USING gin (x)")),
    (ForeignKey("f", ("id",), "others", ("other",), "CASCADE", "SET NULL", "shop.others"),),
    ("the trigger `t` is not carried",),
)
INFO = RelationInfo("orders", (COLUMN,), ("id",), 5, 100, schema=SCHEMA)


def test_a_relation_is_frozen_with_everything_that_it_declares() -> None:
    message = schemas.relation_message(INFO)
    assert tuple(map(schemas.column_info, message.columns)) == INFO.columns
    assert schemas.table_schema(message, plan_pb2.Dataset()) == SCHEMA


def test_every_part_can_be_omitted() -> None:
    target = plan_pb2.DatasetTarget()
    target.schema.omit.extend(plan_pb2.SchemaPart.values()[1:])
    assert schemas.omitted(target) == frozenset(SchemaPart)


def test_a_reference_of_the_same_columns_gives_a_foreign_key_its_policy() -> None:
    dataset = plan_pb2.Dataset()
    dataset.references["o"].columns.append("id")
    message = schemas.relation_message(INFO)
    assert not schemas.table_schema(message, dataset).foreign_keys[0].is_fatal
    dataset.references["o"].policy = plan_pb2.REFERENCE_POLICY_FAIL
    assert schemas.table_schema(message, dataset).foreign_keys[0].is_fatal
    dataset.references["o"].columns.append("name")
    assert not schemas.table_schema(message, dataset).foreign_keys[0].is_fatal
