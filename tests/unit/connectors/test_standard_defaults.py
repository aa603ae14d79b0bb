"""Defaults that every system means alike, read from each system's spelling; whatever else is no standard default."""

import pytest

from pymigrate.engine.adapters.connectors.standard_defaults import standard_default
from pymigrate.engine.domain.types import parse_type


@pytest.mark.parametrize(
    ("native", "kind", "standard"),
    [
        ("0", "int32", "0"),
        ("(-1)", "int32", "-1"),
        ("'-1'::integer", "int32", "-1"),
        ("'1.50'::numeric(10,2)", "decimal(10,2)", "1.50"),
        ("1.5", "float64", "1.5"),
        ("true", "bool", "TRUE"),
        ("1", "bool", "TRUE"),
        ("'f'::boolean", "bool", "FALSE"),
        ("'it''s'::character varying(40)", "string", "'it''s'"),
        ("''::text", "string", "''"),
        ("'new'::public.\"my mood\"", "string", "'new'"),
        ("0", "string", "'0'"),
        ("'{}'::jsonb", "json", "'{}'"),
        ("'2000-01-31'::date", "date", "'2000-01-31'"),
        ("now()", "timestamptz", "CURRENT_TIMESTAMP"),
        ("CURRENT_TIMESTAMP", "timestamptz", "CURRENT_TIMESTAMP"),
        ("gen_random_uuid()", "uuid", "gen_random_uuid()"),
        ("'FFFFFFFF-0000-0000-0000-000000000000'::uuid", "uuid", "'ffffffff-0000-0000-0000-000000000000'"),
        ("", "string", ""),
        ("NULL", "int32", ""),
        ("1.5", "int32", ""),
        ("'NaN'::double precision", "float64", ""),
        ("'infinity'::date", "date", ""),
        ("'0000-00-00'", "date", ""),
        ("current_timestamp(6)", "timestamptz", "CURRENT_TIMESTAMP"),
        ("now()", "timestamp", ""),
        ("CURRENT_DATE", "date", ""),
        ("nextval('x'::regclass)", "int64", ""),
        ("lower('A'::text)", "string", ""),
        ("('a'::text || 'b'::text)", "string", ""),
        ("'a'::text || 'b'::text", "string", ""),
        ("E'a\\\\b'::text", "string", ""),
        ("'\\x00'::bytea", "bytes", ""),
        ("'12:00:00'::time without time zone", "time", ""),
    ],
)
def test_a_default_is_standard_where_every_system_means_the_same_by_it(native: str, kind: str, standard: str) -> None:
    assert standard_default(native, parse_type(kind)) == standard


@pytest.mark.parametrize("kind", ["int32", "bool", "string", "date", "timestamptz", "uuid", "decimal(4,1)", "json"])
@pytest.mark.parametrize("native", ["1", "'x y'", "TRUE", "'2000-01-31'", "CURRENT_TIMESTAMP", "gen_random_uuid()"])
def test_what_is_standard_stays_as_it_is(native: str, kind: str) -> None:
    once = standard_default(native, parse_type(kind))
    assert standard_default(once, parse_type(kind)) == once
