"""Any SQLAlchemy dialect as a source: PostgreSQL's types through psycopg's dialect, and what is refused."""

from contextlib import closing

import psycopg
import pytest

from pymigrate.engine.adapters.connectors.alchemy import SqlalchemyConnector
from pymigrate.engine.domain.errors import DataRefused, FailedPrecondition, InvalidDefinition, SourceMissing
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.secrets import Secret
from pymigrate.engine.ports.source import Source
from tests.integration.connectors.test_alchemy_target import postgres_url

CREATE = """
CREATE TABLE "Odd 100% names" (
  id bigint PRIMARY KEY, "a ""b" text, amount numeric(12,2), loose numeric, at timestamptz, day date, clock time, is_on boolean,
  raw bytea, extra json, mark uuid, many int[], span interval, half real
);
INSERT INTO "Odd 100% names" VALUES
  (1, 'x', 1.10, 1.10, '2024-02-29 12:00:00+02', '2024-02-29', '12:30', true, '\\x00ff', '{"a": 1.10}',
   '00000000-0000-0000-0000-00000000000A', '{1,2}', '1 day', 0.1),
  (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE heap (a int);
CREATE TABLE doubled (a int);
INSERT INTO doubled VALUES (1), (1);
"""


def opened(dsn: str) -> Source:
    with psycopg.connect(dsn) as connection:
        connection.execute(CREATE.encode())
    return SqlalchemyConnector().open_source(SystemSpec("sqlalchemy", "legacy", {"url": postgres_url(dsn)}))


def test_every_type_of_a_server_arrives_exactly_or_as_its_text(postgres_database: str) -> None:
    with closing(opened(postgres_database)) as source:
        relation = SourceRelation("Odd 100% names")
        info = source.describe(relation)
        [first, second] = [
            row
            for chunk in source.chunks(relation, info.columns, None)
            for batch in chunk.batches
            for row in batch.to_pylist()
        ]
        assert source.version().startswith("postgresql ")
    assert info.key == ("id",)
    kinds = {column.name: str(column.type) for column in info.columns}
    assert (kinds["amount"], kinds["loose"], kinds["many"]) == ("decimal(12,2)", "string", "string")
    assert {name: str(value) for name, value in first.items()} == {
        "id": "1", 'a "b': "x", "amount": "1.10", "loose": "1.10", "at": "2024-02-29 10:00:00+00:00", "day": "2024-02-29",
        "clock": "12:30:00", "is_on": "True", "raw": repr(b"\x00\xff"), "extra": '{"a": 1.10}',
        "mark": "00000000-0000-0000-0000-00000000000a", "many": "{1,2}", "span": "1 day", "half": "0.10000000149011612",
    }  # fmt: skip
    assert set(second.values()) == {2, None}


def test_what_can_not_be_read_in_order_is_refused(postgres_database: str) -> None:
    with closing(opened(postgres_database)) as source:
        with pytest.raises(InvalidDefinition, match="has no primary key") as refused:
            source.describe(SourceRelation("heap"))
        assert refused.value.field == "key"
        with pytest.raises(SourceMissing, match="did you mean `heap`"):
            source.describe(SourceRelation("heep"))
        doubled = SourceRelation("doubled", key=("a",))
        with pytest.raises(DataRefused, match="doubled, row 1: a is NULL or occurs twice"):
            list(source.chunks(doubled, source.describe(doubled).columns, None))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nosuchdialect://x", "knows no dialect `nosuchdialect` here: install the package"),
        ("oracle+oracledb://x", "needs the Python package `oracledb`: install it on the worker hosts"),
    ],
)
def test_what_is_not_installed_is_named(url: str, says: str) -> None:
    with pytest.raises(FailedPrecondition, match=says):
        SqlalchemyConnector().open_source(SystemSpec("sqlalchemy", "legacy", {"url": url}, Secret("s3cret")))


def test_what_is_no_url_is_told_without_the_password() -> None:
    with pytest.raises(InvalidDefinition) as refused:
        SqlalchemyConnector().open_source(SystemSpec("sqlalchemy", "legacy", {"url": "nothing"}, Secret("s3cret")))
    assert "s3cret" not in refused.value.message
