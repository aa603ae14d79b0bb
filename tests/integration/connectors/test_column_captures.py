"""Changes as a growing column tells them, in MySQL and SQLite: what a round reads again, who is kept out, and what is refused."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
import pytest

from pymigrate.engine.adapters.connectors.mysql import MysqlConnector
from pymigrate.engine.adapters.connectors.mysql_column_capture import MysqlColumnCapture
from pymigrate.engine.adapters.connectors.sqlite import SqliteConnector
from pymigrate.engine.adapters.connectors.sqlite_column_capture import SqliteColumnCapture
from pymigrate.engine.domain.errors import FailedPrecondition, SourceChanged, SystemUnavailable
from pymigrate.engine.ports.capture import Capture, GrowingColumn
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation
from pymigrate.engine.ports.secrets import Secret
from tests.servers import MariadbDatabase

NAME = "pymigrate_sales_orders_s0123456789abcdef0123"
ORDERS = SourceRelation("orders")
REFUSED = (pymysql.err.OperationalError, sqlite3.IntegrityError)
EVERY_WRITE = (
    "INSERT INTO orders VALUES (100, 'new', 200)",
    "REPLACE INTO orders VALUES (1, 'new', 200)",
    "UPDATE orders SET name = 'other' WHERE id = 1",
    "DELETE FROM orders WHERE id = 1",
    "DELETE FROM orders",
)


def heed() -> None:
    """Nothing is asked."""


class Shop:
    """Orders that are written to, in one of the systems."""

    kind = ""

    def open(self, column: str = "version", overlap: int = 0) -> Capture:
        """A capture that waits for nobody long."""
        raise NotImplementedError

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """As somebody else."""
        raise NotImplementedError

    def describe(self) -> RelationInfo:
        """The orders."""
        raise NotImplementedError

    def make(self, declared: str, values: Sequence[object]) -> None:
        """Orders from 1 with these versions."""
        self.run(f"CREATE TABLE orders (id INTEGER PRIMARY KEY, name VARCHAR(40), version {declared})")
        for number, value in enumerate(values, 1):
            self.run(f"INSERT INTO orders VALUES ({number}, 'name {number}', {value!r})")

    def round(self, capture: Capture, after: Position) -> tuple[list[int], Position]:
        """The ids that a round reads, and where it ends."""
        found, end = list[int](), after
        columns = self.describe().columns
        for changed in capture.changes(ORDERS, columns, ("id",), NAME, after, Position("")):
            assert changed.changes.keys.column(0).to_pylist() == changed.changes.rows.column("id").to_pylist()
            assert changed.changes.rows.schema.names == ["id", "name", "version"]
            found += changed.changes.keys.column(0).to_pylist()
            end = changed.end
        return found, end


class MysqlShop(Shop):
    """In a MariaDB."""

    kind = "mysql"

    def __init__(self, database: MariadbDatabase) -> None:
        self.database = database
        self.spec = SystemSpec("mysql", "shop", database.options())

    def open(self, column: str = "version", overlap: int = 0) -> Capture:
        return MysqlColumnCapture(self.spec, GrowingColumn(column, overlap), lock_seconds=1)

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        return self.database.run(statement)

    def describe(self) -> RelationInfo:
        with closing(MysqlConnector().open_source(self.spec)) as source:
            return source.describe(ORDERS)


class SqliteShop(Shop):
    """In a SQLite file."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.spec = SystemSpec("sqlite", "shop", {"path": str(path)})
        self.run("PRAGMA journal_mode = WAL")

    def open(self, column: str = "version", overlap: int = 0) -> Capture:
        return SqliteColumnCapture(self.spec, GrowingColumn(column, overlap), lock_seconds=0.2)

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(statement).fetchall()

    def describe(self) -> RelationInfo:
        with closing(SqliteConnector().open_source(self.spec)) as source:
            return source.describe(ORDERS)


@pytest.fixture
def mysql_shop(mariadb_database: MariadbDatabase) -> MysqlShop:
    return MysqlShop(mariadb_database)


@pytest.fixture
def sqlite_shop(tmp_path: Path) -> SqliteShop:
    return SqliteShop(tmp_path / "shop.db")


@pytest.fixture(params=["mysql", "sqlite"])
def shop(request: pytest.FixtureRequest) -> Shop:
    found: Shop = request.getfixturevalue(f"{request.param}_shop")
    return found


@pytest.fixture
def opened(shop: Shop) -> Iterator[Callable[..., Capture]]:
    """Opens captures, and closes them."""
    captures: list[Capture] = []

    def open_capture(column: str = "version", overlap: int = 0) -> Capture:
        captures.append(shop.open(column, overlap))
        return captures[-1]

    yield open_capture
    for capture in captures:
        capture.close()


def test_a_round_reads_what_lies_above_the_last_one_and_the_overlap_below_it(
    shop: Shop, opened: Callable[..., Capture]
) -> None:
    shop.make("INTEGER NOT NULL", [10, 20, 30])
    capture = opened(overlap=5)
    assert capture.problems(ORDERS, ("id",)) == []
    start = capture.start(ORDERS, NAME, heed).position
    assert shop.round(capture, start)[0] == [3]
    shop.run("UPDATE orders SET name = 'late', version = 26 WHERE id = 1")  # committed late, with a lower value
    shop.run("INSERT INTO orders VALUES (4, 'new', 40)")
    found, end = shop.round(capture, start)
    assert found == [1, 3, 4]
    assert shop.round(capture, end)[0] == [4]
    assert capture.rows(ORDERS) == 4


@pytest.mark.parametrize(
    ("declared", "before", "within", "after"),
    [
        ("DATETIME NOT NULL", "2024-03-01 00:05:00", "2024-02-29 23:56:00", "2024-03-01 00:06:00"),
        ("DATE NOT NULL", "2024-03-01", "2024-02-29", "2024-03-02"),
    ],
)
def test_of_times_as_many_seconds_are_read_again(
    shop: Shop, opened: Callable[..., Capture], declared: str, before: str, within: str, after: str
) -> None:
    shop.make(declared, ["2023-12-31" + before[10:], before])
    capture = opened()
    assert capture.problems(ORDERS, ("id",)) == []
    start = capture.start(ORDERS, NAME, heed).position
    shop.run(f"INSERT INTO orders VALUES (3, 'late', '{within}')")
    shop.run(f"INSERT INTO orders VALUES (4, 'new', '{after}')")
    assert shop.round(capture, start)[0] == [2, 3, 4]


def test_a_table_that_was_empty_is_read_whole(shop: Shop, opened: Callable[..., Capture]) -> None:
    shop.make("INTEGER NOT NULL", [])
    capture = opened()
    assert capture.problems(ORDERS, ("id",)) == []
    start = capture.start(ORDERS, NAME, heed).position
    assert shop.round(capture, start) == ([], start)
    shop.run("INSERT INTO orders VALUES (4, 'new', 40)")
    assert shop.round(capture, start)[0] == [4]


def test_every_write_is_refused_until_it_is_let_in_again(shop: Shop, opened: Callable[..., Capture]) -> None:
    shop.make("INTEGER NOT NULL", [10, 20])
    capture = opened()
    for _ in range(2):
        capture.block(ORDERS, NAME)
        for write in EVERY_WRITE:
            with pytest.raises(REFUSED, match="orders is being moved"):
                shop.run(write)
    assert [row[0] for row in shop.run("SELECT id FROM orders ORDER BY id")] == [1, 2]
    for _ in range(2):
        capture.open(ORDERS, NAME)
        capture.stop(NAME)
    for write in EVERY_WRITE:
        shop.run(write)
    shop.run("DROP TABLE orders")
    capture.open(ORDERS, NAME)


def test_writes_are_blocked_when_those_under_way_are_over(shop: Shop, opened: Callable[..., Capture]) -> None:
    shop.make("INTEGER NOT NULL", [10, 20])
    capture = opened()
    if isinstance(shop, MysqlShop):
        writer: Any = shop.database.cluster.connect(shop.database.name)
        writer.begin()
        writer.cursor().execute("UPDATE orders SET version = 99 WHERE id = 1")
    else:
        assert isinstance(shop, SqliteShop)
        writer = sqlite3.connect(shop.path)
        writer.execute("UPDATE orders SET version = 99 WHERE id = 1")
    with closing(writer):
        with pytest.raises(SystemUnavailable, match="tried again"):
            capture.block(ORDERS, NAME)
        writer.commit()
    capture.block(ORDERS, NAME)
    assert shop.round(capture, Position(""))[1] == Position("99")


def test_two_that_block_at_once_are_both_content(shop: Shop, opened: Callable[..., Capture]) -> None:
    shop.make("INTEGER NOT NULL", [10])
    captures = [opened(), opened()]
    with ThreadPoolExecutor(len(captures)) as threads:
        for blocking in [threads.submit(capture.block, ORDERS, NAME) for capture in captures]:
            blocking.result()
    captures[0].block(ORDERS, NAME)
    with pytest.raises(REFUSED, match="orders is being moved"):
        shop.run(EVERY_WRITE[0])
    captures[1].open(ORDERS, NAME)
    shop.run(EVERY_WRITE[0])
    assert (100,) in shop.run("SELECT id FROM orders")


@pytest.mark.parametrize("change", ["UPDATE orders SET version = 7 WHERE id = 2", "DELETE FROM orders WHERE id = 2"])
def test_a_column_that_goes_backwards_by_more_than_the_overlap_is_noticed(
    shop: Shop, opened: Callable[..., Capture], change: str
) -> None:
    shop.make("INTEGER NOT NULL", [10, 20])
    capture = opened(overlap=5)
    start = capture.start(ORDERS, NAME, heed).position
    shop.run("UPDATE orders SET version = 18 WHERE id = 2")
    found, end = shop.round(capture, start)
    assert found == [2]
    shop.run(change)
    with pytest.raises(SourceChanged, match=r"highest value of `version` was `18` and is `(7|10)` now") as caught:
        shop.round(capture, end)
    assert caught.value.field == "catch_up.column.name"
    shop.run("DELETE FROM orders")
    with pytest.raises(SourceChanged, match="gone with every row"):
        shop.round(capture, end)


def test_a_column_that_is_gone_is_noticed(shop: Shop, opened: Callable[..., Capture]) -> None:
    shop.make("INTEGER NOT NULL", [10])
    columns, capture = shop.describe().columns, opened()
    start = capture.start(ORDERS, NAME, heed).position
    shop.run("ALTER TABLE orders DROP COLUMN name")
    with pytest.raises(SourceChanged, match="column `name` is gone since the run was started"):
        list(capture.changes(ORDERS, columns, ("id",), NAME, start, Position("")))


@pytest.mark.parametrize(
    ("declared", "column", "says"),
    [
        ("INTEGER NOT NULL", "versoin", "no column `versoin`; did you mean `version`"),
        ("INTEGER", "version", "may be NULL, and such rows would not be seen: declare it NOT NULL"),
    ],
)
def test_a_column_that_is_missing_or_may_be_null_is_refused(
    shop: Shop, opened: Callable[..., Capture], declared: str, column: str, says: str
) -> None:
    shop.make(declared, [10])
    (problem,) = opened(column).problems(ORDERS, ("id",))
    assert problem.field == "catch_up.column.name"
    assert says in problem.description


def test_a_table_without_a_key_is_refused(shop: Shop, opened: Callable[..., Capture]) -> None:
    shop.make("INTEGER NOT NULL", [10])
    (problem,) = opened().problems(ORDERS, ())
    assert (problem.field, problem.description) == ("key", "`orders` has no key: changed rows are found by it")


@pytest.mark.parametrize("shop", ["mysql", "sqlite"], indirect=True)
def test_a_log_is_not_read(shop: Shop) -> None:
    connector = MysqlConnector() if isinstance(shop, MysqlShop) else SqliteConnector()
    with pytest.raises(FailedPrecondition, match="say which column grows"):
        connector.open_capture(SystemSpec(shop.kind, "shop", {}))


# What only one of them has ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [["a", "b"], [10, "x"], ["2024-01-31 10:00:00", "2024-01-31T10:00:00"], ["10:00"],
                                    ["2024-01-31 10:00:00+02:00"], [b"10"]])  # fmt: skip
def test_values_of_sqlite_without_one_order_are_refused(sqlite_shop: SqliteShop, values: list[object]) -> None:
    sqlite_shop.make("NOT NULL", [])
    with closing(sqlite3.connect(sqlite_shop.path)) as connection, connection:
        connection.executemany("INSERT INTO orders (version) VALUES (?)", [(value,) for value in values])
    with closing(sqlite_shop.open()) as capture:
        (problem,) = capture.problems(ORDERS, ("id",))
    assert problem.field == "catch_up.column.name"
    assert "have no order that grows" in problem.description


@pytest.mark.parametrize(
    ("first", "later"),
    [("2024-01-31T10:00:00.5Z", "2024-01-31T09:59:59Z"), (1.5, 2), (9_000_000_000_000_000_000, 9_000_000_000_000_000_001)],
)  # fmt: skip
def test_values_of_sqlite_in_one_order_are_followed(sqlite_shop: SqliteShop, first: object, later: object) -> None:
    sqlite_shop.make("NOT NULL", [first])
    columns = SourceRelation("orders")
    with closing(sqlite_shop.open()) as capture:
        assert capture.problems(columns, ("id",)) == []
        start = capture.start(ORDERS, NAME, heed).position
        sqlite_shop.run(f"INSERT INTO orders VALUES (2, 'later', {later!r})")
        sqlite_shop.run("CREATE VIEW shown AS SELECT * FROM orders")
        with closing(sqlite3.connect(sqlite_shop.path)) as connection:
            assert connection.execute("SELECT count(*) FROM shown").fetchone() == (2,)
        (changed, _) = capture.changes(ORDERS, sqlite_shop.describe().columns[:2], ("id",), NAME, start, Position(""))
        assert changed.changes.keys.column(0).to_pylist() == [1, 2]
        (problem,) = capture.problems(SourceRelation("shown"), ("id",))[-1:]
        assert "is no table of its own" in problem.description


def test_a_sqlite_file_in_which_readers_hold_up_writers_is_refused(sqlite_shop: SqliteShop) -> None:
    sqlite_shop.make("INTEGER NOT NULL", [1])
    sqlite_shop.run("PRAGMA journal_mode = DELETE")
    with closing(sqlite_shop.open()) as capture:
        (problem,) = capture.problems(ORDERS, ("id",))
    assert problem.field == "source.connection"
    assert "PRAGMA journal_mode = WAL" in problem.description


def test_an_older_key_of_sqlite_may_be_the_column(sqlite_shop: SqliteShop) -> None:
    sqlite_shop.make("INTEGER NOT NULL", [1])
    with closing(sqlite_shop.open("id")) as capture:
        assert capture.problems(ORDERS, ("id",)) == []


def test_changes_that_come_by_a_foreign_key_are_kept_out_in_sqlite(sqlite_shop: SqliteShop) -> None:
    sqlite_shop.run("CREATE TABLE customers (id INTEGER PRIMARY KEY)")
    sqlite_shop.run("INSERT INTO customers VALUES (1)")
    sqlite_shop.run(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, version INT NOT NULL REFERENCES customers (id) ON DELETE CASCADE)"
    )
    sqlite_shop.run("INSERT INTO orders VALUES (1, 1)")
    with closing(sqlite_shop.open()) as capture:
        capture.block(ORDERS, NAME)
    with closing(sqlite3.connect(sqlite_shop.path)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        with pytest.raises(sqlite3.IntegrityError, match="is being moved"):
            connection.execute("DELETE FROM customers")


def test_what_mysql_can_not_block_is_refused_with_what_to_do(mysql_shop: MysqlShop) -> None:
    mysql_shop.run("CREATE TABLE customers (id INTEGER PRIMARY KEY)")
    mysql_shop.run(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, version INT NOT NULL, customer INT, "
        "FOREIGN KEY (customer) REFERENCES customers (id) ON DELETE CASCADE)"
    )
    mysql_shop.run("CREATE TABLE old (id INTEGER PRIMARY KEY, version INT NOT NULL) ENGINE=MyISAM")
    mysql_shop.run("CREATE VIEW shown AS SELECT * FROM orders")
    expected = {
        "orders": "rows of `orders` change with those of `customers` by a foreign key",
        "old": "stored by myisam, which gives no snapshot",
        "shown": "is no table, and writes to it can't be blocked",
    }
    with closing(mysql_shop.open()) as capture:
        for relation, says in expected.items():
            (problem,) = capture.problems(SourceRelation(relation), ("id",))
            assert problem.field == "source.relation"
            assert says in problem.description


@pytest.mark.parametrize(
    "declared", ["TEXT NOT NULL", "JSON NOT NULL", "DOUBLE NOT NULL", "BOOLEAN", "ENUM('a') NOT NULL"]
)
def test_columns_of_mysql_that_have_no_order_are_refused(mysql_shop: MysqlShop, declared: str) -> None:
    mysql_shop.make(declared, [])
    with closing(mysql_shop.open()) as capture:
        (problem,) = capture.problems(ORDERS, ("id",))
    assert problem.field == "catch_up.column.name"


def test_zero_dates_of_mysql_have_nothing_below_them(mysql_shop: MysqlShop) -> None:
    mysql_shop.run("CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT, version DATETIME NOT NULL)")
    mysql_shop.run("INSERT INTO orders VALUES (1, 'a', '0000-00-00 00:00:00'), (2, 'b', '0000-00-00 00:00:00')")
    with closing(mysql_shop.open()) as capture:
        start = capture.start(ORDERS, NAME, heed).position
        columns = mysql_shop.describe().columns[:2]
        (changed, _) = capture.changes(ORDERS, columns, ("id",), NAME, start, Position(""))
    assert changed.changes.keys.column(0).to_pylist() == [1, 2]


def test_a_user_of_mysql_needs_triggers_and_no_more(mysql_shop: MysqlShop) -> None:
    mysql_shop.make("INTEGER NOT NULL", [1])
    user, name = "follower", mysql_shop.database.name
    mysql_shop.run(f"CREATE USER {user}@'%' IDENTIFIED BY 'secret'")
    try:
        mysql_shop.run(f"GRANT SELECT ON {name}.* TO {user}@'%'")
        options = {**mysql_shop.database.options(), "user": user}
        spec = SystemSpec("mysql", "shop", options, Secret("secret"))
        with closing(MysqlColumnCapture(spec, GrowingColumn("version"))) as capture:
            (problem,) = capture.problems(ORDERS, ("id",))
            assert f"GRANT TRIGGER ON `{name}`.`orders` TO 'follower'@'%'" in problem.description
            with pytest.raises(FailedPrecondition, match="TRIGGER command denied"):
                capture.block(ORDERS, NAME)
            mysql_shop.run(f"GRANT TRIGGER ON {name}.orders TO {user}@'%'")
        with closing(MysqlColumnCapture(spec, GrowingColumn("version"))) as capture:
            assert capture.problems(ORDERS, ("id",)) == []
            capture.block(ORDERS, NAME)
            with pytest.raises(pymysql.err.OperationalError, match="is being moved"):
                mysql_shop.run("DELETE FROM orders")
            capture.open(ORDERS, NAME)
        mysql_shop.run("DELETE FROM orders")
    finally:
        mysql_shop.run(f"DROP USER {user}@'%'")
