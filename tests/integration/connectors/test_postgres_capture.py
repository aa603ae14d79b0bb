"""PostgreSQL's changes: what is kept and from where on, what many come to, who is kept out, and that nothing is left."""

import re
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import psycopg
import pyarrow as pa
import pytest
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from pymigrate.engine.adapters.connectors.postgres_capture import PostgresCapture
from pymigrate.engine.adapters.connectors.postgres_column_capture import PostgresColumnCapture
from pymigrate.engine.adapters.connectors.postgres_source import PostgresSource
from pymigrate.engine.adapters.connectors.postgres_target import PostgresTarget
from pymigrate.engine.domain.errors import FenceLost, SourceChanged, SystemUnavailable
from pymigrate.engine.ports.capture import GrowingColumn, RowChanges
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import Position, SourceRange
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation
from pymigrate.engine.ports.staging import Checkpoint, Staging, StagingId
from tests.servers import running_cluster

NAME = "pymigrate_sales_orders_s1"
ORDERS = SourceRelation("orders")
LANE, COPY = "changes", "copy"


def spec_of(dsn: str, **more: str) -> SystemSpec:
    parts = conninfo_to_dict(dsn)
    options = {name: str(parts[name]) for name in ("host", "port", "user")} | {"database": str(parts["dbname"])}
    return SystemSpec("postgres", "shop", {**options, **more})


def heed() -> None:
    """Nothing is asked."""


class Shop:
    """A database that is written to, followed into a staging in itself."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.spec = spec_of(dsn)
        self.run(
            "CREATE TABLE orders (id bigint PRIMARY KEY, name text, note text)",
            "ALTER TABLE orders ALTER COLUMN note SET STORAGE EXTERNAL",
            "INSERT INTO orders SELECT n, 'name ' || n, repeat('x', 3000) || n FROM generate_series(1, 9) AS n",
        )
        self.capture: PostgresCapture = PostgresCapture(self.spec, lock_seconds=0.3)
        self.target = PostgresTarget(self.spec)
        with closing(PostgresSource(self.spec)) as source:
            self.info: RelationInfo = source.describe(ORDERS)
        self.staging = Staging(StagingId("s1"), "copied", self.info.columns, ("id",))
        self.target.prepare(self.staging)
        self.target.claim(self.staging, LANE, 1)
        self.target.claim(self.staging, COPY, 1)

    def run(self, *statements: str) -> None:
        with psycopg.connect(self.dsn) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def copy(self, span: SourceRange) -> None:
        """A lane that reads under a snapshot of its own."""
        before, _ = self.target.checkpoint(self.staging, COPY)
        with closing(PostgresSource(self.spec)) as source:
            for chunk in source.chunks(replace(ORDERS, range=span), self.info.columns, None):
                after = Checkpoint(before.chunks + 1, before.rows + chunk.rows, position=chunk.end)
                self.target.commit(self.staging, COPY, 1, before, after, chunk.batches)
                before = after

    def follow(self, after: Position) -> Position:
        """Applies everything from a position on."""
        before, _ = self.target.checkpoint(self.staging, LANE)
        until = self.capture.present()
        for changed in self.capture.changes(ORDERS, self.info.columns, ("id",), NAME, after, until):
            step = replace(before, chunks=before.chunks + 1, position=changed.end)
            self.target.apply(self.staging, LANE, 1, before, step, changed.changes)
            before = step
        return until

    def is_exact(self) -> bool:
        """Whether staging holds what the source holds, each row once."""
        staged = [tuple(row.values()) for batch in self.target.read_staging(self.staging) for row in batch.to_pylist()]
        with psycopg.connect(self.dsn) as connection:
            return sorted(staged) == sorted(connection.execute("SELECT * FROM orders").fetchall())

    def left(self) -> list[object]:
        with psycopg.connect(self.dsn) as connection:
            slots = connection.execute("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")
            return [*slots.fetchall(), *connection.execute("SELECT pubname FROM pg_publication").fetchall()]


@pytest.fixture
def shop(postgres_database: str) -> Iterator[Shop]:
    found = Shop(postgres_database)
    yield found
    found.capture.stop(NAME)
    found.capture.close()
    found.target.close()


def test_lanes_of_different_moments_and_stretches_that_come_twice_lead_to_what_the_source_holds(shop: Shop) -> None:
    start = shop.capture.start(ORDERS, NAME, heed).position
    middle = Position('{"by": ["id"], "at": ["5"]}')
    shop.run("UPDATE orders SET id = 100 WHERE id = 2", "DELETE FROM orders WHERE id = 3")
    shop.copy(SourceRange(None, middle))
    shop.run(
        "INSERT INTO orders VALUES (2, 'another 2', 'n')",  # the key of one that has moved on
        "UPDATE orders SET id = 4000 WHERE id = 4",  # `note` is not told, and the row is not yet copied there
        "UPDATE orders SET name = 'other' WHERE id IN (1, 7)",
        "UPDATE orders SET note = 'changed' WHERE id = 7",
        "INSERT INTO orders VALUES (4, 'another 4', 'n')",
    )
    shop.copy(SourceRange(middle, None))
    shop.run("UPDATE orders SET id = 8000, name = NULL WHERE id = 8", "DELETE FROM orders WHERE id = 9")
    shop.follow(start)
    assert shop.is_exact()
    shop.run("INSERT INTO orders VALUES (9, 'again', repeat('y', 5000))", "UPDATE orders SET name = 'z' WHERE id = 9")
    shop.follow(start)  # from the very beginning, as after a crash
    assert shop.is_exact()


def test_a_truncation_empties_what_came_before_it(shop: Shop) -> None:
    start = shop.capture.start(ORDERS, NAME, heed).position
    shop.copy(SourceRange())
    shop.run("UPDATE orders SET name = 'gone'", "TRUNCATE orders", "INSERT INTO orders VALUES (1, 'new', 'n')")
    shop.follow(start)
    assert shop.is_exact()


def test_what_was_rolled_back_is_not_told_and_what_was_confirmed_is_not_told_again(shop: Shop) -> None:
    start = shop.capture.start(ORDERS, NAME, heed).position
    with psycopg.connect(shop.dsn) as connection:
        connection.execute("DELETE FROM orders")
        connection.rollback()
    shop.run("DELETE FROM orders WHERE id = 1")
    until = shop.capture.present()
    first = list(shop.capture.changes(ORDERS, shop.info.columns, ("id",), NAME, start, until))
    assert sum(changed.count for changed in first) == 1
    shop.capture.confirm(NAME, until)
    assert list(shop.capture.changes(ORDERS, shop.info.columns, ("id",), NAME, until, until)) == []
    with pytest.raises(SourceChanged, match=r"stands at .*: what changed since can't be told"):
        list(shop.capture.changes(ORDERS, shop.info.columns, ("id",), NAME, start, until))


def test_keeping_begins_once_and_leaves_nothing_when_it_stops(shop: Shop) -> None:
    first = shop.capture.start(ORDERS, NAME, heed)
    shop.run("DELETE FROM orders WHERE id = 1")
    again = shop.capture.start(ORDERS, NAME, heed)
    assert (again.position, again.snapshot) == (first.position, "")
    with closing(PostgresSource(shop.spec)) as source:
        assert source.adopt(first.snapshot)
        assert sum(chunk.rows for chunk in source.chunks(ORDERS, shop.info.columns, None)) == 9
    shop.capture.stop(NAME)
    shop.capture.stop(NAME)
    assert shop.left() == []
    with closing(PostgresSource(shop.spec)) as source:
        assert not source.adopt(first.snapshot)
        assert sum(chunk.rows for chunk in source.chunks(ORDERS, shop.info.columns, None)) == 8
    with pytest.raises(SourceChanged, match="is gone"):
        list(shop.capture.changes(ORDERS, shop.info.columns, ("id",), NAME, first.position, shop.capture.present()))


def test_a_slot_that_is_still_being_made_is_dropped_too(shop: Shop) -> None:
    class Enough(Exception):
        pass

    asked = threading.Event()

    def give_up() -> None:
        asked.set()
        raise Enough

    with psycopg.connect(shop.dsn) as busy:
        busy.execute("INSERT INTO orders VALUES (77)")  # a slot begins when such have ended
        with pytest.raises(Enough):
            shop.capture.start(ORDERS, NAME, give_up)
        assert asked.is_set()
        shop.capture.stop(NAME)
        assert shop.left() == []


def test_writes_are_blocked_for_everybody_once_those_under_way_are_over(shop: Shop) -> None:
    with psycopg.connect(shop.dsn) as busy:
        busy.execute("DELETE FROM orders WHERE id = 1")
        with pytest.raises(SystemUnavailable, match=r"goes on for more than 0\.3 s"):
            shop.capture.block(ORDERS, NAME)
    shop.run("DELETE FROM orders WHERE id = 2")
    shop.capture.block(ORDERS, NAME)
    shop.capture.block(ORDERS, NAME)
    for statement in (
        "DELETE FROM orders",
        "TRUNCATE orders",
        "INSERT INTO orders VALUES (1)",
        "UPDATE orders SET id = 0",
    ):
        with pytest.raises(errors.ReadOnlySqlTransaction, match="orders is being moved"):
            shop.run("SET session_replication_role = replica", statement)
    assert shop.capture.rows(ORDERS) == 7
    shop.capture.open(ORDERS, NAME)
    shop.capture.open(ORDERS, NAME)
    shop.run("DELETE FROM orders")


def test_what_was_kept_of_a_table_that_is_gone_is_dropped_and_a_reader_is_waited_for(shop: Shop) -> None:
    shop.capture.start(ORDERS, NAME, heed)
    shop.capture.block(ORDERS, NAME)
    with psycopg.connect(shop.dsn) as busy:
        busy.execute("SELECT count(*) FROM orders")
        with pytest.raises(SystemUnavailable, match="writes can't be let in before it ends"):
            shop.capture.open(ORDERS, NAME)
    shop.run("DROP TABLE orders")
    shop.capture.stop(NAME)
    shop.capture.open(ORDERS, NAME)
    assert shop.left() == []
    with psycopg.connect(shop.dsn) as connection:
        assert connection.execute("SELECT 1 FROM pg_proc WHERE proname = %s", (NAME,)).fetchall() == []


def test_parts_of_a_table_are_followed_and_blocked_as_one(postgres_database: str) -> None:
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE TABLE orders (id bigint PRIMARY KEY, name text) PARTITION BY RANGE (id)")
        connection.execute("CREATE TABLE low PARTITION OF orders FOR VALUES FROM (0) TO (10)")
        connection.execute("CREATE TABLE high PARTITION OF orders FOR VALUES FROM (10) TO (20)")
    with closing(PostgresCapture(spec_of(postgres_database))) as capture:
        with closing(PostgresSource(spec_of(postgres_database))) as source:
            columns = source.describe(ORDERS).columns
        assert capture.problems(ORDERS, ("id",)) == []
        start = capture.start(ORDERS, NAME, heed).position
        with psycopg.connect(postgres_database) as connection:
            connection.execute("INSERT INTO low VALUES (1, 'a'), (2, 'b')")
            connection.execute("UPDATE orders SET id = id + 10 WHERE id = 1")  # from one part into the other
        (*_, last) = capture.changes(ORDERS, columns, ("id",), NAME, start, capture.present())
        found = list(capture.changes(ORDERS, columns, ("id",), NAME, start, last.end))
        rows = [row for changed in found for row in changed.changes.rows.to_pylist()]
        assert sorted(row["id"] for row in rows) == [2, 11]
        capture.block(ORDERS, NAME)
        with psycopg.connect(postgres_database) as connection, pytest.raises(errors.ReadOnlySqlTransaction):
            connection.execute("DELETE FROM low")
        capture.open(ORDERS, NAME)
        capture.stop(NAME)


def test_changes_of_another_fence_are_not_taken(shop: Shop) -> None:
    key = pa.schema([("id", pa.int64())])
    rows = next(iter(shop.target.read_staging(shop.staging)), None)
    assert rows is None
    empty = pa.RecordBatch.from_pylist(
        [], schema=pa.schema([("id", pa.int64()), ("name", pa.string()), ("note", pa.string())])
    )
    changes = RowChanges(pa.RecordBatch.from_pylist([{"id": 1}], schema=key), empty)
    shop.target.claim(shop.staging, LANE, 2)
    with pytest.raises(FenceLost):
        shop.target.apply(shop.staging, LANE, 1, Checkpoint(), Checkpoint(chunks=1), changes)


@pytest.mark.parametrize(
    ("statement", "key", "field", "says"),
    [
        ("ALTER TABLE orders REPLICA IDENTITY NOTHING", "id", "key", "tell nothing.*REPLICA IDENTITY FULL"),
        ("SELECT 1", "name", "key", r"tell \(id\), and the key is \(name\)"),
        ("SELECT 1", "", "key", "has no key"),
        ("ALTER TABLE orders SET UNLOGGED", "id", "source.relation", "SET LOGGED"),
        (
            "ALTER TABLE orders RENAME TO o; CREATE VIEW orders AS SELECT * FROM o",
            "id",
            "source.relation",
            "is no table",
        ),
    ],
)
def test_what_can_not_be_followed_is_said_with_what_to_do(
    shop: Shop, statement: str, key: str, field: str, says: str
) -> None:
    for part in statement.split(";"):
        shop.run(part)
    (problem,) = shop.capture.problems(ORDERS, tuple(key.split()))
    assert problem.field == field
    assert re.search(says, problem.description)


def test_a_role_that_may_not_is_told_every_right_that_it_lacks(shop: Shop) -> None:
    shop.run("DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN", "GRANT SELECT ON orders TO reader")
    with closing(PostgresCapture(spec_of(shop.dsn, user="reader"))) as capture:
        said = " ".join(problem.description for problem in capture.problems(ORDERS, ("id",)))
    for right in ("ALTER ROLE reader REPLICATION", "GRANT CREATE ON DATABASE", "belongs to postgres"):
        assert right in said


def test_a_server_without_logical_decoding_is_refused_with_advice() -> None:
    with running_cluster("machine", "wal_level = replica") as cluster:
        with psycopg.connect(cluster.dsn()) as connection:
            connection.execute("CREATE TABLE orders (id bigint PRIMARY KEY)")
        with closing(PostgresCapture(spec_of(cluster.dsn()))) as capture:
            (problem,) = capture.problems(ORDERS, ("id",))
    assert problem.field == "catch_up.logical"
    assert "wal_level=replica: set wal_level=logical" in problem.description


class Versioned(Shop):
    """A shop whose rows tell by a column when they changed."""

    def __init__(self, dsn: str, native: str, value: str) -> None:
        super().__init__(dsn)
        self.run(
            f"ALTER TABLE orders ADD COLUMN version {native} NOT NULL DEFAULT {value}",
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN NEW.version := {value}; RETURN NEW; END $$",
            "CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch()",
        )
        self.capture.close()
        self.capture = PostgresColumnCapture(self.spec, GrowingColumn("version"))
        with closing(PostgresSource(self.spec)) as source:
            self.info = source.describe(ORDERS)
        self.staging = Staging(StagingId("s2"), "copied", self.info.columns, ("id",))
        self.target.prepare(self.staging)
        self.target.claim(self.staging, LANE, 1)
        self.target.claim(self.staging, COPY, 1)


@pytest.mark.parametrize(
    ("native", "value"),
    [
        ("timestamptz", "clock_timestamp()"),
        ("timestamp(3)", "clock_timestamp()"),
        ("date", "current_date"),
        ("bigint", "nextval('versions')"),
        ("numeric(20,3)", "nextval('versions')"),
    ],
)
def test_a_growing_column_tells_what_came_and_changed_since(postgres_database: str, native: str, value: str) -> None:
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE SEQUENCE versions")
    shop = Versioned(postgres_database, native, value)
    try:
        assert shop.capture.problems(ORDERS, ("id",)) == []
        start = shop.capture.start(ORDERS, NAME, heed).position
        with psycopg.connect(shop.dsn) as late:
            late.execute("UPDATE orders SET name = 'late' WHERE id = 3")  # commits after others with higher values
            shop.run("UPDATE orders SET name = 'other' WHERE id = 1")
            shop.copy(SourceRange())
            shop.run("INSERT INTO orders VALUES (10, 'new', NULL)", "UPDATE orders SET note = '%' WHERE id = 2")
            shop.follow(start)
        (*_, last) = shop.capture.changes(ORDERS, shop.info.columns, ("id",), NAME, start, Position(""))
        shop.follow(last.end)
        assert shop.is_exact()
    finally:
        shop.capture.close()
        shop.target.close()


def test_a_growing_column_follows_a_table_that_was_empty(postgres_database: str) -> None:
    shop = Versioned(postgres_database, "timestamptz", "clock_timestamp()")
    try:
        shop.run("DELETE FROM orders")
        start = shop.capture.start(ORDERS, NAME, heed).position
        shop.copy(SourceRange())
        shop.run("INSERT INTO orders VALUES (1, 'a', 'b')")
        shop.follow(start)
        assert shop.is_exact()
    finally:
        shop.capture.close()
        shop.target.close()


@pytest.mark.parametrize(
    ("column", "field", "says"),
    [
        ("nmae", "catch_up.column.name", "did you mean `name`"),
        ("name", "catch_up.column.name", "is text: name a time, a date or a number"),
        ("several", "catch_up.column.name", "name a time, a date or a number"),
        ("maybe", "catch_up.column.name", "declare it NOT NULL"),
    ],
)
def test_a_column_that_can_not_tell_changes_is_refused(shop: Shop, column: str, field: str, says: str) -> None:
    shop.run("ALTER TABLE orders ADD COLUMN maybe int, ADD COLUMN several int[] NOT NULL DEFAULT '{}'")
    with closing(PostgresColumnCapture(shop.spec, GrowingColumn(column))) as capture:
        (problem,) = capture.problems(ORDERS, ("id",))
    assert problem.field == field
    assert says in problem.description
