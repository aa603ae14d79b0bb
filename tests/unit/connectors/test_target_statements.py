"""Names of a target's relations, and what is asked of a commit before it begins."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.adapters.connectors.target_statements import (
    KEPT_MARK,
    STAGING_MARK,
    Table,
    is_own,
    join_relation,
    marked,
    quote,
    same_name,
    split_relation,
)
from pymigrate.engine.adapters.connectors.target_values import check_step, check_values
from pymigrate.engine.domain.errors import DataRefused
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.staging import Checkpoint, Staging, StagingId

IDS = st.text("abcXYZ019_", min_size=1, max_size=40).map(StagingId)
ROWS = (ColumnInfo("id", ColumnType("int64"), is_required=True), ColumnInfo("mark", ColumnType("uuid")))
STAGING = Staging(StagingId("r1"), "orders", ROWS)


@pytest.mark.parametrize(
    ("relation", "table"),
    [
        ("orders", Table("public", "orders")),
        ("sales.orders", Table("sales", "orders")),
        ("sales.2024.orders", Table("sales", "2024.orders")),
        (".orders", Table("public", ".orders")),
        ("orders.", Table("public", "orders.")),
    ],
)
def test_a_relation_is_a_name_with_or_without_its_schema(relation: str, table: Table) -> None:
    assert split_relation(relation, "public") == table


@given(st.builds(Table, st.text(min_size=1).filter(lambda name: "." not in name), st.text(min_size=1)))
def test_a_joined_name_splits_into_the_same_table(table: Table) -> None:
    assert split_relation(join_relation(table, "public"), "public") == table


@given(st.text(), IDS)
def test_a_marked_name_fits_keeps_the_staging_whole_and_is_known_as_ours(name: str, staging: StagingId) -> None:
    for mark in (STAGING_MARK, KEPT_MARK):
        short = marked(name, mark, staging, 63)
        assert len(short.encode()) <= 63
        assert short.endswith(mark + staging)
        assert name.startswith(short.removesuffix(mark + staging))
        assert marked(name, mark, staging, None) == f"{name}{mark}{staging}"
        assert is_own(short)


def test_a_quoted_name_cannot_end_early() -> None:
    assert quote('a"; DROP TABLE "b') == '"a""; DROP TABLE ""b"'


def test_only_ascii_letters_are_the_same_in_either_case() -> None:
    assert same_name("Orders", "oRDERS")
    assert not same_name("É", "é")


def rows(marks: list[str | None]) -> pa.RecordBatch:
    """As many rows as marks."""
    return pa.record_batch([list(range(len(marks))), marks], schema=arrow_schema(ROWS))


def test_a_step_adds_up_or_is_a_mistake_of_the_caller() -> None:
    start, step = Checkpoint(), Checkpoint(chunks=1, rows=2)
    check_step(STAGING, start, step, [rows([None]), rows([None])])
    for before, after in ((start, Checkpoint(1, 3)), (step, Checkpoint(1, 4)), (Checkpoint(2, 2), Checkpoint(1, 4))):
        with pytest.raises(ValueError, match="do not lead"):
            check_step(STAGING, before, after, [rows([None, None])])
    with pytest.raises(ValueError, match="not as its staging"):
        check_step(STAGING, start, step, [pa.record_batch([[1, 2]], names=["id"])])


def test_a_refused_value_is_named_by_its_row_within_the_lane() -> None:
    good = "00000000-0000-0000-0000-00000000000a"
    check_values(STAGING, [rows([good, None])], 0)
    with pytest.raises(DataRefused, match="orders, column `mark`, row 14: no uuid") as refused:
        check_values(STAGING, [rows([good, None]), rows([good, good.upper()])], 10)
    assert refused.value.field == "source.columns.mark"
