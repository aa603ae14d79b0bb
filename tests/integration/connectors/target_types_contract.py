"""The contract of Target, types: what a target holds it holds exactly, and what it can't it refuses; nothing is ever changed."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pymigrate.engine.domain.errors import DataRefused, InvalidDefinition
from pymigrate.engine.domain.types import KINDS, ColumnInfo, ColumnType, parse_type
from pymigrate.engine.ports.arrow_types import arrow_schema, arrow_type
from pymigrate.engine.ports.staging import Checkpoint
from pymigrate.engine.ports.target import Target
from tests.integration.connectors.target_harness import Harness, a_staging, after

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    return (moment - EPOCH) // MICROSECOND


INT64 = (-(2**63), 2**63 - 1)
MOMENTS: Mapping[str, int] = {
    "epoch": 0,
    "a microsecond before 1970": -1,
    "the first of the year 1": microseconds(datetime(1, 1, 1, tzinfo=UTC)),
    "in the gap of 1582": microseconds(datetime(1582, 10, 10, tzinfo=UTC)),
    "the last of 9999": microseconds(datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    "the year 10000": microseconds(datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)) + 1,
    "the year 0": microseconds(datetime(1, 1, 1, tzinfo=UTC)) - 1,
    "the year 294246": 9223371331200000000 - 1,
    "the lowest int64": INT64[0],
    "the highest int64": INT64[1],
}
DAYS: Mapping[str, int] = {
    "epoch": 0,
    "before 1970": -1,
    "the first of the year 1": (date(1, 1, 1) - date(1970, 1, 1)).days,
    "the last of 9999": (date(9999, 12, 31) - date(1970, 1, 1)).days,
    "the year 10000": (date(9999, 12, 31) - date(1970, 1, 1)).days + 1,
    "the year 0": (date(1, 1, 1) - date(1970, 1, 1)).days - 1,
    "the lowest int32": -(2**31),
    "the highest int32": 2**31 - 1,
}
FLOATS64: Mapping[str, int] = {
    "zero": 0,
    "minus zero": 1 << 63,
    "a tenth": 0x3FB999999999999A,
    "the smallest": 1,
    "the largest": 0x7FEFFFFFFFFFFFFF,
    "infinity": 0x7FF0000000000000,
    "minus infinity": 0xFFF0000000000000,
    "nan": 0x7FF8000000000000,
    "a nan with a payload": 0xFFF800000000BEEF,
}
FLOATS32: Mapping[str, int] = {
    "zero": 0,
    "minus zero": 1 << 31,
    "a tenth": 0x3DCCCCCD,
    "the smallest": 1,
    "the largest": 0x7F7FFFFF,
    "infinity": 0x7F800000,
    "minus infinity": 0xFF800000,
    "nan": 0x7FC00000,
    "a nan with a payload": 0xFFC0BEEF,
}
TEXTS: Mapping[str, str] = {
    "empty": "",
    "words that mean NULL": "NULL",
    "a backslash N": "\\N",
    "backslashes": "\\\\x41\\.",
    "control characters": "".join(map(chr, range(1, 32))) + "\x7f",
    "NUL": "a\0b",
    "NUL alone": "\0",
    "quotes": "'\"`$$;--",
    "every plane": "é e\u0301 \ufeff \uffff \U0001f600 \U0010ffff",
    "spaces around": "  x\t ",
    "long": "x\U0001f600" * 50_000,
}
VALUES: Mapping[str, Mapping[str, object]] = {
    "bool": {"true": True, "false": False},
    "int16": {"lowest": -(2**15), "highest": 2**15 - 1, "zero": 0},
    "int32": {"lowest": -(2**31), "highest": 2**31 - 1, "zero": 0},
    "int64": {"lowest": INT64[0], "highest": INT64[1], "zero": 0},
    "uint64": {"zero": 0, "the highest int64": 2**63 - 1, "above int64": 2**63, "highest": 2**64 - 1},
    "float32": FLOATS32,
    "float64": FLOATS64,
    "decimal(38,10)": {
        "highest": Decimal("9" * 28 + "." + "9" * 10),
        "lowest": Decimal("-" + "9" * 28 + "." + "9" * 10),
        "smallest": Decimal("0.0000000001"),
        "zero": Decimal(0),
        "small and negative": Decimal("-0.5"),
    },
    "decimal(38,38)": {"highest": Decimal("0." + "9" * 38), "smallest": Decimal("-0." + "0" * 37 + "1")},
    "decimal(38,0)": {"highest": Decimal("9" * 38), "lowest": Decimal("-" + "9" * 38)},
    "decimal(4,2)": {"highest": Decimal("99.99"), "with a zero at its end": Decimal("1.10")},
    "string": TEXTS,
    "bytes": {"empty": b"", "NUL": b"\0", "all": bytes(range(256)), "like text": b"\\x41", "long": bytes(100_000)},
    "date": DAYS,
    "time": {"midnight": 0, "a microsecond": 1, "the last": 86_399_999_999, "24:00": 86_400_000_000, "negative": -1},
    "timestamp": MOMENTS,
    "timestamptz": MOMENTS,
    "json": {
        "spaces, zeros and doubled names": '{"a" : 1.10, "a":2}',
        "null": "null",
        "an escaped NUL": '"\\u0000"',
        "a lone surrogate": '"\\ud800"',
        "a large number": "123456789012345678901234567890.10e400",
        "text": '"\U0001f600"',
        "a scalar with spaces": " 1 ",
        "not json": "{'a': 1}",
        "empty": "",
    },
    "uuid": {
        "plain": "00000000-0000-0000-0000-00000000000a",
        "highest": "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "capitals": "ABCDEF00-0000-0000-0000-000000000000",
        "braces": "{00000000-0000-0000-0000-000000000000}",
        "without dashes": "0" * 32,
        "empty": "",
    },
}
NEVER_UUID = {("uuid", label) for label in ("capitals", "braces", "without dashes", "empty")}


def column_of(kind: str, values: list[object]) -> pa.Array:
    """Values of a kind as Arrow; floats, dates and times are given as the integers that carry them."""
    to = arrow_type(parse_type(kind))
    match kind:
        case "float32":
            return pa.array(values, pa.uint32()).view(to)
        case "float64":
            return pa.array(values, pa.uint64()).view(to)
        case "date":
            return pa.array(values, pa.int32()).view(to)
        case "time" | "timestamp" | "timestamptz":
            return pa.array(values, pa.int64()).view(to)
    return pa.array(values, to)


def bits(column: pa.Array) -> pa.Array:
    """Floats as the integers that carry them, so that two are equal when every bit is."""
    carriers = {pa.float32(): pa.uint32(), pa.float64(): pa.uint64()}
    return column.view(carriers[column.type]) if column.type in carriers else column


def test_every_kind_has_hostile_values() -> None:
    assert {parse_type(kind).kind for kind in VALUES} == set(KINDS)


def commit(target: Target, kind: str, column: pa.Array) -> pa.Array | None:
    """What comes back of a staging with this column; None where it was refused."""
    columns = (ColumnInfo("at", ColumnType("int64")), ColumnInfo("value", parse_type(kind)))
    staging = a_staging("values", columns)
    order = pa.array(range(len(column)), pa.int64())
    batch = pa.record_batch([order, column], schema=arrow_schema(columns))
    try:
        target.check(staging)
    except (DataRefused, InvalidDefinition):
        return None
    target.prepare(staging)
    target.claim(staging, "lane", 1)
    message = ""
    try:
        target.commit(staging, "lane", 1, Checkpoint(), after(Checkpoint(), len(column)), [batch])
    except DataRefused as refused:
        message = refused.message
    if message:
        assert re.search("values, column `value`, row [0-9]+: ", message)
        assert target.checkpoint(staging, "lane") == (Checkpoint(), 1)
        assert target.count_staging(staging) == 0
        return None
    table = pa.Table.from_batches(target.read_staging(staging), arrow_schema(columns)).sort_by("at").combine_chunks()
    assert table.num_rows == len(column)
    target.rollback([staging])
    return table.column("value").chunk(0) if len(column) else column


class TypeContract:
    """Every kind of column with values that are easy to spoil. `refuses` names those that the system can't hold."""

    refuses: frozenset[tuple[str, str]] = frozenset()

    @pytest.mark.parametrize("kind", list(VALUES))
    def test_hostile_values_are_held_exactly_or_refused(self, harness: Harness, kind: str) -> None:
        target = harness.open()
        refused = set()
        for label, value in VALUES[kind].items():
            column = column_of(kind, [value])
            found = commit(target, kind, column)
            if found is None:
                refused.add((kind, label))
            else:
                assert bits(found).equals(bits(column)), f"{kind}, {label}: {value!r} came back as {found}"
        assert refused == {pair for pair in self.refuses | NEVER_UUID if pair[0] == kind}

    @pytest.mark.parametrize("kind", list(VALUES))
    def test_nulls_between_values_stay_where_they_are(self, harness: Harness, kind: str) -> None:
        held = [v for label, v in VALUES[kind].items() if (kind, label) not in self.refuses | NEVER_UUID]
        values: list[object] = [None]
        for value in held:
            values += [value, None]
        # A slice, which begins in the middle of a byte of its bitmaps.
        column = column_of(kind, [None, None, None, *values]).slice(3)
        found = commit(harness.open(), kind, column)
        assert found is not None
        assert bits(found).equals(bits(column))

    @pytest.mark.no_cover  # it goes where the values above have gone
    @pytest.mark.parametrize("kind", list(VALUES))
    @settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_any_value_is_held_exactly_or_refused(self, harness: Harness, kind: str, data: st.DataObject) -> None:
        values = data.draw(st.lists(st.none() | some(kind), max_size=20))
        column = column_of(kind, values)
        found = commit(harness.open(), kind, column)
        if found is None:
            assert self.refuses or kind in ("json", "uuid")
        else:
            assert bits(found).equals(bits(column))


def some(kind: str) -> st.SearchStrategy[object]:
    """Any value of a kind, in the carriers of `column_of`."""
    whole = {"int16": 15, "int32": 31, "int64": 63, "date": 31, "timestamp": 63, "timestamptz": 63}
    if kind in whole:
        return st.integers(-(2 ** whole[kind]), 2 ** whole[kind] - 1) | st.integers(-30000, 30000)
    match parse_type(kind):
        case ColumnType("bool"):
            return st.booleans()
        case ColumnType("uint64" | "float64"):
            return st.integers(0, 2**64 - 1)
        case ColumnType("float32"):
            return st.integers(0, 2**32 - 1)
        case ColumnType("decimal", precision, scale):
            return st.integers(1 - 10**precision, 10**precision - 1).map(lambda n: exact(n, scale))
        case ColumnType("bytes"):
            return st.binary()
        case ColumnType("time"):
            return st.integers(0, 86_399_999_999)
        case ColumnType("json"):
            return st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5).map(json_text)
        case ColumnType("uuid"):
            return st.uuids().map(str)
    return st.text()


def exact(digits: int, scale: int) -> Decimal:
    """The digits with the point `scale` from the right, in any number of them."""
    return Decimal((int(digits < 0), tuple(map(int, str(abs(digits)))), -scale))


def json_text(value: object) -> str:
    """JSON with every character beyond ASCII escaped."""
    return json.dumps(value)
