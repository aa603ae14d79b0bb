"""What is left of a table's declarations behind transforms."""

from pymigrate.engine.domain.schema import ForeignKey, SchemaPart, TableIndex, TableSchema

SCHEMA = TableSchema(
    key=("id",),
    indexes=(
        TableIndex("by_name", ("name", "id")),
        TableIndex("lower", ("name",), definition="USING btree (lower(name))"),
        TableIndex("by_gone", ("gone",), is_unique=True),
    ),
    foreign_keys=(ForeignKey("of_name", ("name",), "names", ("name",)), ForeignKey("of_gone", ("gone",), "x", ("id",))),
    notes=("a trigger",),
)


def test_declarations_follow_columns_to_their_new_names_and_the_rest_is_told() -> None:
    found = SCHEMA.through({"id": "id", "name": "called"}.get)
    assert found.key == ("id",)
    assert found.indexes == (TableIndex("by_name", ("called", "id")),)
    assert found.foreign_keys == (ForeignKey("of_name", ("called",), "names", ("name",)),)
    assert [note.split("`")[1:2] for note in found.notes] == [[], ["lower"], ["by_gone"], ["of_gone"]]


def test_a_key_of_which_a_column_is_gone_is_none() -> None:
    assert SCHEMA.through(lambda name: None).key == ()


def test_a_target_is_given_everything_that_is_not_omitted() -> None:
    spared = TableSchema(omit=frozenset({SchemaPart.INDEXES}))
    assert [part for part in SchemaPart if not spared.has(part)] == [SchemaPart.INDEXES]
