"""Transforms in order over batches: what goes on, what is refused, and where it came from."""

import pytest

from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition
from pymigrate.engine.domain.types import ColumnInfo, ColumnType, parse_type
from pymigrate.engine.ports.transform import Derive, Derived, Drop, Filter, Rename, Select, TransformSpec
from pymigrate.engine.transfer.transforms.sql import SqlEngine
from tests.unit.transfer.transforms.pipelines import COLUMNS, batch_of, opened, problems_of, run


def test_columns_get_other_names_and_can_change_them_with_one_another() -> None:
    with opened([Rename({"id": "name", "name": "id"})]) as pipeline:
        assert [column.name for column in pipeline.columns] == ["name", "id", "price"]
        assert pipeline.origin("id") == "name"
        assert run(pipeline, [(1, "a", "2.50")])[0] == [(1, "a", "2.50")]


def test_rows_are_kept_where_the_condition_is_true_and_neither_where_it_is_false_nor_null() -> None:
    with opened([Filter("id > 1")]) as pipeline:
        assert run(pipeline, [(1, "a", None), (2, "b", None), (None, "c", None)]) == ([(2, "b", None)], [])


def test_a_derived_column_is_added_or_takes_a_place() -> None:
    spec = Derive(
        {"twice": Derived("id * 2", parse_type("int64")), "name": Derived("upper(name)", parse_type("string"))}
    )
    with opened([spec]) as pipeline:
        assert [column.name for column in pipeline.columns] == ["id", "name", "price", "twice"]
        assert run(pipeline, [(4, "x", None)])[0] == [(4, "X", None, 8)]


@pytest.mark.parametrize(
    ("expression", "type_", "said"),
    [
        ("id / 2", "int64", "the value is no int64, or not without losing a part of it"),
        ("CAST(name AS INTEGER)", "int32", "its expression fails: conversion error"),
        ("id * 1000", "int16", "the value is no int16, or not without losing a part of it"),
        ("id * 9223372036854775807", "int64", "its expression fails: out of range error"),
    ],
)
def test_a_value_that_its_type_does_not_hold_exactly_is_refused_with_its_row(
    expression: str, type_: str, said: str
) -> None:
    with opened([Filter("id <> 2"), Derive({"v": Derived(expression, parse_type(type_))})]) as pipeline:
        rows, refusals = run(pipeline, [(2, "x", None), (99, "z", None)])
        assert rows == []
        assert [(each.row, each.column, each.reason) for each in refusals] == [(1, "v", said)]


def test_columns_are_selected_in_order_and_left_out() -> None:
    with opened([Select(["price", "id"]), Drop(["price"])]) as pipeline:
        assert run(pipeline, [(7, "a", "1")])[0] == [(7,)]


@pytest.mark.parametrize(
    ("specs", "field", "said"),
    [
        ([Rename({"nmae": "x"})], "transforms[0].rename.columns.nmae", "did you mean `name`"),
        ([Rename({"id": "name"})], "transforms[0].rename.columns", "two columns would be called `name`"),
        ([Drop(["id"]), Select(["id"])], "transforms[1].select.columns", "there is no column `id`"),
        ([Drop(["id", "name", "price"])], "transforms[0].drop.columns", "would leave no column"),
        ([Filter("naem = 'x'")], "transforms[0].filter.condition", "did you mean `name`"),
        ([Filter("id + 1")], "transforms[0].filter.condition", "must be true or false"),
        (
            [Derive({"v": Derived("id ->", ColumnType("string"))})],
            "transforms[0].derive.columns.v.expression",
            "is no SQL",
        ),
        (
            [Derive({"v": Derived("name + id", ColumnType("string"))})],
            "transforms[0].derive.columns.v.expression",
            "fit",
        ),
        ([Derive({"v": Derived("[1]", ColumnType("date"))})], "transforms[0].derive.columns.v.type", "INTEGER[]"),
    ],
)
def test_what_does_not_fit_is_a_problem_at_its_field(specs: list[TransformSpec], field: str, said: str) -> None:
    with pytest.raises(InvalidDefinition) as raised, opened(specs):
        pass
    assert [problem.field for problem in raised.value.problems] == [field]
    assert said in raised.value.problems[0].description


@pytest.mark.parametrize(
    "expression",
    [
        "random() > 0.5",
        "now() > '2020-01-01'",
        "current_date > '2020-01-01'",
        "current_timestamp IS NULL",
        "age(TIMESTAMP '2020-01-01') IS NULL",
        "uuid() = name",
        "nextval('x') > 1",
        "current_setting('threads') = '1'",
        "getvariable('x') = 1",
        "(SELECT count(*) FROM read_csv('/etc/passwd')) > 0",
        "EXISTS (FROM read_text('/etc/passwd'))",
        "id IN (SELECT 1)",
        "sum(id) > 1",
        "row_number() OVER () = 1",
        "lag(id) OVER (ORDER BY id) = 1",
        "true) FROM pymigrate_rows; ATTACH '/tmp/x.db' AS x; SELECT (true",
        "true; COPY (SELECT 1) TO '/tmp/x.csv'",
        "true) AS pymigrate_value FROM pymigrate_rows WHERE (true",
        "true), (false",
        "true --",
        "id = ?",
        "id = $1",
        "#1 = 1",
        "list_filter([id], lambda x: x > 1) = [1]",
        "COLUMNS(*) = 1",
        "pymigrate_rows.id = 1",
        "pg_catalog.upper(name) = 'X'",
        "query('SELECT 1') = 1",
        "write_log('x') = 1",
        "",
        "ATTACH '/tmp/x.db'",
    ],
)
def test_sql_that_depends_on_more_than_its_row_or_reaches_outside_is_refused(expression: str) -> None:
    if expression == "true --":  # a comment ends with its line, and changes nothing
        assert not problems_of([Filter(expression)])
    else:
        assert problems_of([Filter(expression)])


def test_even_sql_that_got_past_the_check_opens_no_file() -> None:
    engine = SqlEngine()
    try:
        for expression in (
            "(SELECT count(*) FROM read_csv('/etc/passwd'))",
            "(SELECT count(*) FROM read_text('/etc/hostname'))",
            "(SELECT count(*) FROM 'https://example.invalid/x.parquet')",
        ):
            with pytest.raises(DataRefused):
                engine.run(batch_of([(1, "a", None)]), {"v": expression})
    finally:
        engine.close()


def test_a_required_column_stays_required_and_a_computed_one_may_be_null() -> None:
    given = (ColumnInfo("id", ColumnType("int64"), is_required=True), *COLUMNS[1:])
    with opened([Rename({"id": "ident"}), Derive({"v": Derived("ident", ColumnType("int64"))})], given) as pipeline:
        assert [(column.name, column.is_required) for column in pipeline.columns][:1] == [("ident", True)]
        assert not pipeline.columns[-1].is_required


@pytest.mark.parametrize(
    "expression",
    [
        "repeat(name, 2) = 'aa'",
        "name LIKE 'a%' AND id IN (1, 2) AND id BETWEEN 0 AND 9",
        "CASE WHEN id IS NULL THEN false ELSE regexp_matches(name, '^a') END",
        "coalesce(nullif(trim(name), ''), 'x') || CAST(id AS VARCHAR) = 'a1'",
        "[id, 2][1] = 1 AND extract(year FROM DATE '2020-01-01') = 2020",
        "age(TIMESTAMP '2020-01-02', TIMESTAMP '2020-01-01') > INTERVAL 1 HOUR",
    ],
)
def test_sql_that_computes_from_its_row_alone_is_taken(expression: str) -> None:
    assert problems_of([Filter(expression)]) == ()
