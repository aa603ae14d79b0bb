"""Lines that MySQL writes and PostgreSQL reads: what arrives is what the decoded path brings, and what differs is not offered."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import count
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from pymigrate.engine.adapters.connectors.mysql import MysqlConnector
from pymigrate.engine.adapters.connectors.mysql_source import MysqlSource
from pymigrate.engine.adapters.connectors.postgres import PostgresConnector
from pymigrate.engine.adapters.connectors.postgres_target import PostgresTarget
from pymigrate.engine.domain.errors import DataRefused, SourceChanged
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.types import parse_type
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.staging import Staging, StagingId
from pymigrate.engine.transfer.attempt import copy_lane
from pymigrate.engine.transfer.lane_job import LaneJob
from pymigrate.engine.transfer.verification import verify
from pymigrate.engine.transfer.verification_job import Level, VerifyJob
from tests.contract.sources.systems import postgres_spec
from tests.integration.connectors.test_mysql_source import COLUMNS
from tests.servers import MariadbDatabase, PostgresCluster
from tests.unit.transfer.lanes import Asked

TEXT = CopyPath.POSTGRES_TEXT
NUMBERS = count(1)
UNCHECKED = ("cp1251", "sjis", "utf16")


class Route:
    """A MariaDB and a PostgreSQL, and what is copied from the one to the other."""

    def __init__(self, database: MariadbDatabase, dsn: str) -> None:
        self.database, self.dsn = database, dsn
        self.run = database.run

    def source(self) -> MysqlSource:
        source = MysqlConnector().open_source(SystemSpec("mysql", "legacy", self.database.options()))
        assert isinstance(source, MysqlSource)
        return source

    def target(self) -> PostgresTarget:
        target = PostgresConnector().open_target(postgres_spec(self.dsn))
        assert isinstance(target, PostgresTarget)
        return target

    def job(self, path: CopyPath, relation: SourceRelation) -> LaneJob:
        number = next(NUMBERS)
        with closing(self.source()) as source:
            info = source.describe(relation)
        staging = Staging(StagingId(f"p{number}"), f"t{number}", info.columns, relation.key or info.key, path=path)
        return LaneJob("orders", relation, staging, "lane", 1)

    def copy(self, path: CopyPath, relation: SourceRelation) -> LaneJob:
        job = self.job(path, relation)
        copy_lane(job, self.source, self.target, Asked(), lambda _: None)
        return job

    def staged(self, job: LaneJob) -> pa.Table:
        with closing(self.target()) as target:
            return pa.Table.from_batches(target.read_staging(job.staging)).sort_by(job.staging.columns[0].name)

    def verify(self, job: LaneJob, level: Level) -> Any:
        return verify(
            VerifyJob("orders", job.relation, job.staging, ("lane",), level, fence=2), self.source, self.target, Asked()
        )


@pytest.fixture(scope="module")
def postgres_cluster(postgres_clusters: Callable[[str], PostgresCluster]) -> PostgresCluster:
    """One is enough: the text format of COPY is the same in every version."""
    return postgres_clusters("machine")


@pytest.fixture
def route(mariadb_database: MariadbDatabase, postgres_database: str) -> Route:
    return Route(mariadb_database, postgres_database)


def both(route: Route, relation: SourceRelation) -> pa.Table:
    """What arrives by the lines, which is what arrives decoded."""
    with closing(route.source()) as source:
        assert source.offers(relation) == {TEXT: ""}
    passed, decoded = route.copy(TEXT, relation), route.copy(CopyPath.ARROW, relation)
    found = route.staged(passed)
    assert found.equals(route.staged(decoded))
    return found


def test_every_type_arrives_as_it_does_decoded(route: Route) -> None:
    columns = [(f"c{at}", *column) for at, column in enumerate(COLUMNS) if not column[0].endswith(UNCHECKED)]
    declared = ", ".join(f"{name} {native} NULL" for name, native, *_ in columns)
    route.run(f"CREATE TABLE t (id int PRIMARY KEY, {declared}, flag tinyint(1), bit_flag bit(1))")
    route.run(f"INSERT INTO t VALUES (1, {', '.join(value for _, _, value, *_ in columns)}, 1, b'1')")
    route.run("INSERT INTO t (id) VALUES (2)")
    types = {"flag": parse_type("bool"), "bit_flag": parse_type("bool")}
    found = both(route, SourceRelation("t", columns=types)).to_pylist()
    for name, native, _, _, expected in columns:
        assert (native, found[0][name]) == (native, expected)
        assert found[1][name] is None
    assert (found[0]["flag"], found[0]["bit_flag"]) == (True, True)


HOSTILE = st.text(
    st.sampled_from("\\\t\n\r'\"Nnx\x01\x7f ä€😀\u2028")
    | st.characters(exclude_characters="\0", exclude_categories=["Cs"])
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(HOSTILE | st.none(), min_size=1, max_size=40), raw=st.lists(st.binary(max_size=9), max_size=20))
def test_any_text_and_bytes_pass_unchanged(route: Route, texts: list[str | None], raw: list[bytes]) -> None:
    route.run(
        "CREATE OR REPLACE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, v longtext, l text CHARACTER SET utf8mb4, b blob)"
    )
    rows = [(text, text, None) for text in texts] + [(None, None, some) for some in raw]
    with route.database.cluster.connect(route.database.name) as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO t (v, l, b) VALUES (%s, %s, %s)", rows)
    found = route.staged(route.copy(TEXT, SourceRelation("t"))).to_pylist()
    assert [(row["v"], row["l"], row["b"]) for row in found] == rows


@pytest.mark.parametrize("key", ["id int PRIMARY KEY", "id varchar(9), UNIQUE KEY (id, v)"])
def test_chunks_end_at_the_same_places_and_are_read_on_after(route: Route, key: str) -> None:
    route.run(f"CREATE TABLE t (v int NOT NULL, x text, {key})".replace("id varchar(9),", "id varchar(9) NOT NULL,"))
    route.run("INSERT INTO t SELECT seq, REPEAT('y', seq % 50), seq FROM seq_1_to_2000")
    relation = SourceRelation("t", chunk_bytes=5_000)
    with closing(route.source()) as source:
        columns = source.describe(relation).columns
        chunks = list(source.passing_chunks(relation, columns, TEXT, None))
        again = list(source.passing_chunks(relation, columns, TEXT, None))
        assert chunks == again
        assert len(chunks) > 5
        assert sum(chunk.rows for chunk in chunks) == 2_000
        for at, chunk in enumerate(chunks[:4]):
            rest = source.passing_chunks(relation, columns, TEXT, chunk.end)
            assert next(rest) == chunks[at + 1]
        parts = [
            piece
            for span in source.passing_split(relation, TEXT, 3)
            for chunk in source.passing_chunks(replace(relation, range=span), columns, TEXT, None)
            for piece in chunk.pieces
        ]
    assert b"".join(parts) == b"".join(piece for chunk in chunks for piece in chunk.pieces)


@pytest.mark.parametrize(
    ("columns", "types", "why"),
    [
        ("id int", {}, "`t` has no key in whose order its rows could pass"),
        ("id enum('b', 'a') PRIMARY KEY", {}, "`t` has no key"),
        ("id int PRIMARY KEY, v varchar(9) CHARACTER SET cp1251", {}, "column `v` is of the character set cp1251"),
        ("id int PRIMARY KEY, v text", {"v": "int64"}, "column `v` is declared as int64, which is not its own type"),
        ("id int PRIMARY KEY, v int", {"v": "bool"}, "column `v` is declared as bool"),
    ],
)
def test_what_the_lines_can_not_carry_is_not_offered_and_said(
    route: Route, columns: str, types: dict[str, str], why: str
) -> None:
    route.run(f"CREATE TABLE t ({columns})")
    relation = SourceRelation("t", columns={name: parse_type(kind) for name, kind in types.items()})
    with closing(route.source()) as source:
        assert source.offers(relation)[TEXT].startswith(why)


@pytest.mark.parametrize(
    ("native", "value"), [("longtext", "REPEAT('\\\\', 70000)"), ("longblob", "REPEAT('x', 3000000)")]
)
def test_rows_that_take_the_server_too_long_are_not_offered(route: Route, native: str, value: str) -> None:
    route.run(f"CREATE TABLE t (id int PRIMARY KEY, v {native})")
    route.run("INSERT INTO t VALUES (1, 'short')")
    relation = SourceRelation("t")
    with closing(route.source()) as source:
        assert source.offers(relation) == {TEXT: ""}
        route.run(f"INSERT INTO t VALUES (2, {value})")
    with closing(route.source()) as source:
        assert "too long for the server to write in one piece" in source.offers(relation)[TEXT]


def test_a_row_that_the_server_can_not_write_is_refused_and_never_cut(route: Route) -> None:
    route.run("CREATE TABLE t (id int PRIMARY KEY, v longblob)")
    route.run("INSERT INTO t VALUES (1, 'short'), (2, REPEAT('x', 9000000))")
    relation = SourceRelation("t")
    with closing(route.source()) as source:
        columns = source.describe(relation).columns
        with pytest.raises(DataRefused, match="t, row id=2: it has become too long"):
            list(source.passing_chunks(relation, columns, TEXT, None))


@pytest.mark.parametrize(
    ("native", "value", "why"),
    [
        ("date", "0000-00-00", "date/time field value out of range"),
        ("datetime", "2024-00-10", "date/time field value out of range"),
        ("time", "24:00:00", "invalid input syntax for type time"),
        ("time", "-00:00:01", "invalid input syntax for type time"),
        ("text", "a\0b", "invalid byte sequence"),
    ],
)
def test_what_postgres_does_not_take_is_refused_with_its_row(route: Route, native: str, value: str, why: str) -> None:
    route.run(f"CREATE TABLE t (id int PRIMARY KEY, v {native})")
    with route.database.cluster.connect(route.database.name) as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        cursor.execute("INSERT INTO t VALUES (1, NULL), (2, %s)", (value,))
    with pytest.raises(DataRefused, match=why) as refused:
        route.copy(TEXT, SourceRelation("t"))
    assert "row 2" in refused.value.message


def test_a_column_whose_type_changed_mid_run_is_noticed(route: Route) -> None:
    route.run("CREATE TABLE t (id int PRIMARY KEY, v int)")
    job = route.job(TEXT, SourceRelation("t"))
    route.run("ALTER TABLE t MODIFY v text")
    with pytest.raises(SourceChanged, match="column `v` is declared as int32"):
        copy_lane(job, route.source, route.target, Asked(), lambda _: None)


@pytest.mark.parametrize("level", list(Level))
def test_rows_that_passed_as_lines_are_verified_decoded(route: Route, level: Level) -> None:
    route.run("CREATE TABLE t (id int PRIMARY KEY, v text)")
    route.run("INSERT INTO t SELECT seq, seq FROM seq_1_to_700")
    job = route.copy(TEXT, SourceRelation("t"))
    found = route.verify(job, level)
    compared = {Level.FULL: 700, Level.SAMPLED: 100}.get(level, 0)
    assert (found.source_rows, found.target_rows, found.compared_rows) == (700, 700, compared)
    assert found.source_checksum == found.target_checksum
    assert found.transfer_checksum.startswith("xxh3-chunks:")


@pytest.mark.parametrize("level", [Level.FULL, Level.SAMPLED])
def test_a_row_that_the_target_holds_otherwise_is_found_and_copied_again(route: Route, level: Level) -> None:
    route.run("CREATE TABLE t (id int PRIMARY KEY, v text)")
    route.run("INSERT INTO t SELECT seq, seq FROM seq_1_to_70")
    job = route.copy(TEXT, SourceRelation("t"))
    with closing(route.target()) as target:
        table = target._staging_table(job.staging)
    with psycopg.connect(route.dsn) as connection:
        statement = sql.SQL("UPDATE {} SET v = 'other'")
        connection.execute(statement.format(sql.Identifier(table.schema, table.name)))
    found = route.verify(job, level)
    assert found.repair.rows == 70
    assert route.staged(job).column("v").to_pylist() == [str(number) for number in range(1, 71)]
