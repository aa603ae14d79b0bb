"""What a relation looks like, from the contract's messages and back: columns with what they declare, indexes and foreign keys."""

from pymigrate.engine.domain.schema import ForeignKey, SchemaPart, TableIndex, TableSchema
from pymigrate.engine.domain.types import ColumnInfo, parse_type
from pymigrate.engine.ports.relations import RelationInfo
from pymigrate.v1 import connection_pb2, plan_pb2

PARTS = {
    plan_pb2.SCHEMA_PART_DEFAULTS: SchemaPart.DEFAULTS,
    plan_pb2.SCHEMA_PART_IDENTITY: SchemaPart.IDENTITY,
    plan_pb2.SCHEMA_PART_COMMENTS: SchemaPart.COMMENTS,
    plan_pb2.SCHEMA_PART_KEY: SchemaPart.KEY,
    plan_pb2.SCHEMA_PART_INDEXES: SchemaPart.INDEXES,
    plan_pb2.SCHEMA_PART_FOREIGN_KEYS: SchemaPart.FOREIGN_KEYS,
    plan_pb2.SCHEMA_PART_REPLACED: SchemaPart.REPLACED,
}


def relation_message(info: RelationInfo) -> connection_pb2.RelationSchema:
    """A relation as the contract tells it."""
    schema = info.schema
    return connection_pb2.RelationSchema(
        relation=info.relation,
        columns=map(_column_message, info.columns),
        key=info.key,
        rows=info.rows,
        bytes=info.bytes,
        is_exact_rows=info.is_exact_rows,
        system=schema.system,
        comment=schema.comment,
        key_name=schema.key_name,
        indexes=[
            connection_pb2.TableIndex(
                name=index.name,
                columns=index.columns,
                is_unique=index.is_unique,
                is_constraint=index.is_constraint,
                definition=index.definition,
            )
            for index in schema.indexes
        ],
        foreign_keys=[
            connection_pb2.ForeignKey(
                name=key.name,
                columns=key.columns,
                relation=key.relation,
                relation_columns=key.relation_columns,
                on_delete=key.on_delete,
                on_update=key.on_update,
                target_relation=key.target_relation,
            )
            for key in schema.foreign_keys
        ],
        notes=schema.notes,
    )


def column_info(message: connection_pb2.NamedColumn) -> ColumnInfo:
    """A column as the run froze it."""
    return ColumnInfo(
        message.name,
        parse_type(message.type),
        message.required,
        message.native_type,
        default=message.default,
        native_default=message.native_default,
        is_identity=message.is_identity,
        comment=message.comment,
    )


def table_schema(message: connection_pb2.RelationSchema, dataset: plan_pb2.Dataset) -> TableSchema:
    """What the target of a dataset is given beside columns and key."""
    return TableSchema(
        system=message.system,
        comment=message.comment,
        key=tuple(message.key),
        key_name=message.key_name,
        indexes=tuple(
            TableIndex(index.name, tuple(index.columns), index.is_unique, index.is_constraint, index.definition)
            for index in message.indexes
        ),
        foreign_keys=tuple(
            ForeignKey(
                key.name,
                tuple(key.columns),
                key.relation,
                tuple(key.relation_columns),
                key.on_delete,
                key.on_update,
                key.target_relation,
                is_fatal=_is_fatal(key, dataset),
            )
            for key in message.foreign_keys
        ),
        notes=tuple(message.notes),
        omit=omitted(dataset.target),
    )


def omitted(target: plan_pb2.DatasetTarget) -> frozenset[SchemaPart]:
    """The declarations that the target is spared."""
    return frozenset(PARTS[part] for part in target.schema.omit if part in PARTS)


def _is_fatal(key: connection_pb2.ForeignKey, dataset: plan_pb2.Dataset) -> bool:
    """Whether the dataset has a reference of the same columns whose policy is to fail."""
    return any(
        reference.policy == plan_pb2.REFERENCE_POLICY_FAIL and set(reference.columns) == set(key.columns)
        for reference in dataset.references.values()
    )


def _column_message(column: ColumnInfo) -> connection_pb2.NamedColumn:
    return connection_pb2.NamedColumn(
        name=column.name,
        type=str(column.type),
        required=column.is_required,
        native_type=column.native_type,
        default=column.default,
        native_default=column.native_default,
        is_identity=column.is_identity,
        comment=column.comment,
    )
