"""Merging into live tables of MySQL and appending to them, on a real MariaDB: types, collations and columns of MySQL's own, somebody
else at the same time, and a death between any two steps."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pymysql
import pytest

from pymigrate.engine.adapters.connectors.mysql_target import MysqlTarget
from pymigrate.engine.domain.errors import (
    CannotUndo,
    DataRefused,
    InvalidDefinition,
    MergeConflict,
    VerificationFailed,
)
from pymigrate.engine.domain.schema import ForeignKey, TableSchema
from pymigrate.engine.domain.types import ColumnInfo, ColumnType, parse_type
from pymigrate.engine.ports.staging import MergePolicy, Staging
from pymigrate.engine.ports.target import Target
from tests.integration.connectors.target_harness import (
    ID,
    NAME,
    LaneWriter,
    a_staging,
    after,
    numbered,
    published,
    rows_of,
    staged,
)
from tests.integration.connectors.target_merge_contract import merging
from tests.integration.connectors.test_mysql_target import Dies, DiesAfter, MysqlHarness
from tests.servers import MariadbDatabase

CODE = ColumnInfo("code", ColumnType("string"), is_required=True)
WIDE = (
    CODE,
    ColumnInfo("amount", ColumnType("decimal", 10, 2)),
    ColumnInfo("at", ColumnType("timestamptz")),
    ColumnInfo("flag", ColumnType("bool")),
    ColumnInfo("uuid", ColumnType("uuid")),
    ColumnInfo("ratio", ColumnType("float32")),
)
WIDE_TABLE = (
    "CREATE TABLE orders (code VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci PRIMARY KEY, amount DECIMAL(12,3), "
    "at DATETIME(6), flag TINYINT(1), uuid CHAR(36), ratio DOUBLE, note TEXT DEFAULT 'here', "
    "touched TIMESTAMP NULL DEFAULT '2001-02-03 04:05:06' ON UPDATE CURRENT_TIMESTAMP)"
)
U = "00000000-0000-0000-0000-00000000000"
NOON = datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=UTC)
Row = Sequence[object]


@pytest.fixture
def harness(mariadb_database: MariadbDatabase) -> Iterator[MysqlHarness]:
    harness = MysqlHarness(mariadb_database)
    yield harness
    for target in harness.opened:
        target.close()


def copied(target: Target, staging: Staging, rows: Sequence[Row]) -> Staging:
    """Rows of any columns, staged."""
    target.prepare(staging)
    lane = LaneWriter(target, staging).claim()
    target.commit(
        staging, "lane", 1, lane.at, after(lane.at, len(rows)), [rows_of(staging.columns, rows)] if rows else []
    )
    return staging


def tables(harness: MysqlHarness) -> set[str]:
    """Everything in the database but PyMigrate's own three."""
    return {str(name) for (name,) in harness.database.run("SHOW TABLES") if not str(name).startswith("_pymigrate")}


def everything(harness: MysqlHarness) -> list[tuple[object, ...]]:
    return sorted(harness.database.run("SELECT * FROM orders"), key=repr)


class TestForeignTables:
    """Tables as somebody else made them."""

    def test_rows_of_other_types_and_collations_are_merged_and_restored_exactly(self, harness: MysqlHarness) -> None:
        harness.database.run(WIDE_TABLE)
        for code, amount, flag in (("a", 1, 0), ("ä", 2, 1), ("same", 3, 1)):
            harness.database.run(
                "INSERT INTO orders (code, amount, at, flag, uuid, ratio) VALUES (%s, %s, %s, %s, %s, 0.5)",
                (code, amount, NOON.replace(tzinfo=None), flag, f"{U}{amount}"),
            )
        before = everything(harness)
        target, staging = harness.open(), a_staging(columns=WIDE, key=("code",), merge=MergePolicy.OVERWRITE)
        target.check(staging)
        came: list[Row] = [
            ("a", Decimal("9.99"), NOON, True, f"{U}9", 0.1),
            ("ä", Decimal("2.00"), NOON, True, f"{U}2", None),
            ("same", Decimal("3.00"), NOON, True, f"{U}3", 0.5),
            ("new", None, None, None, None, None),
        ]
        copied(target, staging, came)
        target.publish([staging])
        assert target.conflicts(staging) == 2
        found = {row[0]: row[1:] for row in everything(harness)}
        assert found["a"][:4] == (Decimal("9.990"), NOON.replace(tzinfo=None), 1, f"{U}9")
        assert (found["ä"][4], found["new"][5]) == (None, "here")
        assert {str(row[6]) for row in found.values()} == {"2001-02-03 04:05:06"}
        assert len(harness.database.run(f"SELECT * FROM orders__pymigrate_conflicts_{staging.id}")) == 4
        harness.open().rollback([staging])
        assert everything(harness) == before
        assert tables(harness) == {"orders"}

    def test_a_key_that_the_table_takes_for_another_spelling_of_one_of_its_own_writes_nothing(
        self, harness: MysqlHarness
    ) -> None:
        harness.database.run("CREATE TABLE orders (name VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, id INT)")
        harness.database.run("INSERT INTO orders VALUES ('Key', 1)")
        columns = (replace(NAME, is_required=True), ColumnInfo("id", ColumnType("int32")))
        target, staging = harness.open(), a_staging(columns=columns, key=("name",), merge=MergePolicy.OVERWRITE)
        target.check(staging)
        copied(target, staging, [("key", 2), ("other", 3)])
        with pytest.raises(DataRefused, match=r"can't be merged in: .*Duplicate"):
            target.publish([staging])
        assert everything(harness) == [("Key", 1)]
        target.rollback([staging])
        assert tables(harness) == {"orders"}

    def test_thousands_of_rows_with_the_same_long_text_keys_are_settled(self, harness: MysqlHarness) -> None:
        columns = (ID, replace(NAME, is_required=True))
        target, staging = harness.open(), a_staging(columns=columns, key=("name",), merge=MergePolicy.QUARANTINE)
        copied(target, staging, [*numbered(1, 6_000), *numbered(1, 3_000), (-1, "name 1"), (-2, "name 6000")])
        assert target.duplicate_keys(staging) == (0, ())
        target.publish([staging])
        assert (target.conflicts(staging), target.rows("orders")) == (2, 5_998)
        kept = harness.database.run(f"SELECT id FROM orders__pymigrate_conflicts_{staging.id} ORDER BY id")
        assert kept == [(-2,), (-1,), (1,), (1,), (6_000,)]
        target.rollback([staging])
        assert target.rows("orders") is None

    def test_appended_rows_get_counted_numbers_defaults_and_computed_columns_and_go_again_alone(
        self, harness: MysqlHarness
    ) -> None:
        harness.database.run(
            "CREATE TABLE orders (number INT AUTO_INCREMENT PRIMARY KEY, id BIGINT, name TEXT, note VARCHAR(9) DEFAULT 'here', "
            "twice BIGINT AS (id * 2) STORED)"
        )
        harness.database.run("INSERT INTO orders (number, id, name) VALUES (7, 1, 'same')")
        before = everything(harness)
        target, staging = harness.open(), a_staging(is_append=True)
        target.check(staging)
        published(target, staging, [(1, "same"), (1, "same"), (2, None)])
        assert sorted(row[:2] for row in everything(harness)) == [(7, 1), (8, 1), (9, 1), (10, 2)]
        harness.database.run("INSERT INTO orders (id, name) VALUES (1, 'same')")
        later = harness.database.run("SELECT * FROM orders WHERE number > 10")
        target.rollback([staging])
        assert everything(harness) == sorted([*before, *later], key=repr)

    def test_rows_with_random_defaults_and_numbers_of_their_own_are_told_from_others(
        self, harness: MysqlHarness
    ) -> None:
        harness.database.run(
            "CREATE TABLE orders (id BIGINT AUTO_INCREMENT, name TEXT, code VARCHAR(36) DEFAULT (uuid()), INDEX (id))"
        )
        harness.database.run("INSERT INTO orders (id, name) VALUES (5, 'same')")
        before = everything(harness)
        target, staging = harness.open(), a_staging(is_append=True)
        published(target, staging, [(0, "zero"), (5, "same"), (-3, None)])
        assert {row[:2] for row in everything(harness)} == {(0, "zero"), (5, "same"), (-3, None)}
        target.rollback([staging])
        assert everything(harness) == before
        columns = (replace(ID, is_required=False), NAME)
        unnumbered = copied(target, a_staging(columns=columns, is_append=True), [(None, "no number")])
        with pytest.raises(DataRefused, match="NULL in `id`"):
            target.publish([unnumbered])
        assert everything(harness) == before

    def test_a_trigger_that_changes_appended_rows_is_noticed_and_nothing_is_added(self, harness: MysqlHarness) -> None:
        harness.make("orders", [(1, "SAME")])
        harness.database.run("CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW SET NEW.name = upper(NEW.name)")
        target, staging = harness.open(), a_staging(is_append=True)
        staged(target, staging, [(1, "same")])
        with pytest.raises(DataRefused, match="a trigger of the relation"):
            target.publish([staging])
        assert everything(harness) == [(1, "SAME")]

    @pytest.mark.parametrize(
        "rule",
        [
            "ALTER TABLE orders ADD CHECK (id < 100)",
            "CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW BEGIN IF NEW.id > 99 THEN SIGNAL SQLSTATE '45000'; END IF; END",
            "ALTER TABLE orders DROP COLUMN name, ADD COLUMN name VARCHAR(9) AS ('x') STORED",
        ],
    )
    @pytest.mark.parametrize("staging", [a_staging(is_append=True), merging()])
    def test_a_row_that_a_rule_of_the_table_forbids_is_refused_and_none_is_added(
        self, harness: MysqlHarness, rule: str, staging: Staging
    ) -> None:
        harness.database.run("CREATE TABLE orders (id BIGINT PRIMARY KEY, name VARCHAR(9))")
        harness.database.run(rule)
        target, staging = harness.open(), replace(staging, id=a_staging().id)
        staged(target, staging, [(1, "x"), (500, "x")])
        with pytest.raises(DataRefused, match="orders: a row can't be"):
            target.publish([staging])
        assert everything(harness) == []
        target.rollback([staging])
        assert tables(harness) == {"orders"}

    @pytest.mark.parametrize(
        ("native", "kind", "said"),
        [
            ("DATETIME", "timestamp", "no digits of a second"),
            ("DATETIME(3)", "timestamptz", "rounds to 3 digits"),
            ("TIME(2)", "time", "rounds to 2 digits"),
            ("CHAR(9)", "string", "does not keep every string"),
            ("ENUM('a', 'b')", "string", "does not keep every string"),
            ("BINARY(9)", "bytes", "does not keep every bytes"),
            ("FLOAT(7,2)", "float32", "rounds"),
            ("FLOAT", "float64", "rounded"),
            ("BIT(1)", "bool", "values of the one"),
            ("DATETIME(6)", "date", "values of the one"),
        ],
    )
    def test_a_column_that_would_change_values_in_silence_is_refused_before_a_row_is_copied(
        self, harness: MysqlHarness, native: str, kind: str, said: str
    ) -> None:
        harness.database.run(f"CREATE TABLE orders (id BIGINT PRIMARY KEY, v {native})")
        columns = (ID, ColumnInfo("v", parse_type(kind)))
        for staging in (a_staging(columns=columns, is_append=True), replace(merging(), columns=columns)):
            with pytest.raises(InvalidDefinition, match=said) as refused:
                harness.open().check(staging)
            assert {problem.field for problem in refused.value.problems} == {"source.columns.v"}

    def test_a_table_without_transactions_is_refused(self, harness: MysqlHarness) -> None:
        harness.database.run("CREATE TABLE orders (id BIGINT NOT NULL, name TEXT) ENGINE=MyISAM")
        for staging in (a_staging(is_append=True), merging()):
            with pytest.raises(InvalidDefinition, match="myisam, which has no transactions") as refused:
                harness.open().check(staging)
            assert refused.value.field == "target.relation"

    def test_a_large_table_without_an_index_on_the_key_is_refused_and_a_small_one_is_not(
        self, harness: MysqlHarness
    ) -> None:
        harness.database.run(
            "CREATE TABLE orders AS SELECT CAST(seq AS SIGNED) AS id, CAST('x' AS CHAR(20)) AS name FROM seq_1_to_1000"
        )
        harness.open().check(merging())
        harness.append("orders", (0, "one more"))
        for staging in (merging(), a_staging(key=("id",), is_append=True)):
            with pytest.raises(InvalidDefinition, match=r"begins with a column of \(id\)") as refused:
                harness.open().check(staging)
            assert refused.value.field == "key"
        harness.open().check(a_staging(is_append=True))
        harness.database.run("CREATE INDEX some ON orders (id, name)")
        harness.open().check(merging())

    def test_what_pymigrate_made_is_merged_into_and_appended_to(self, harness: MysqlHarness) -> None:
        target, first = harness.open(), a_staging(columns=WIDE, key=("code",))
        row: Row = ("a", Decimal("1.00"), NOON, True, f"{U}1", 0.1)
        copied(target, first, [row])
        target.publish([first])
        before = everything(harness)
        for options in ({"merge": MergePolicy.FAIL}, {"is_append": True}):
            more = a_staging(columns=WIDE, key=("code",), **options)
            target.check(more)
            copied(target, more, [row, ("b", *row[1:])] if "merge" in options else [("b", *row[1:])])
            target.publish([more])
            assert len(everything(harness)) == 2
            target.rollback([more])
            assert everything(harness) == before

    def test_equal_rows_that_others_may_refer_to_are_not_put_back_in_place_of_themselves(
        self, harness: MysqlHarness
    ) -> None:
        harness.database.run("CREATE TABLE orders (id BIGINT NOT NULL, name TEXT, INDEX (id))")
        harness.database.run("CREATE TABLE items (o BIGINT, FOREIGN KEY (o) REFERENCES orders (id) ON DELETE CASCADE)")
        harness.append("orders", (1, "same"))
        harness.database.run("INSERT INTO items VALUES (1)")
        target, staging = harness.open(), a_staging(is_append=True)
        published(target, staging, [(1, "same")])
        with pytest.raises(CannotUndo, match="items may refer to them"):
            target.rollback([staging])
        assert harness.database.run("SELECT * FROM items") == [(1,)]
        assert len(everything(harness)) == 2


class WritesMeanwhile(MysqlTarget):
    """Somebody else writes as soon as the relation is locked."""

    harness: MysqlHarness
    said: str = ""

    def _lock_for_merge(self, table: object) -> None:
        super()._lock_for_merge(table)  # type: ignore[arg-type]  # what it is given
        other = self.harness.database.cluster.connect(self.harness.database.name)
        with other, other.cursor() as cursor:
            cursor.execute("SET innodb_lock_wait_timeout = 1")
            try:
                cursor.execute("INSERT INTO orders VALUES (3, 'theirs')")
            except pymysql.err.OperationalError as error:
                self.said = str(error.args[-1])


@pytest.mark.parametrize("staging", [a_staging(is_append=True), merging(MergePolicy.OVERWRITE)])
def test_nobody_writes_into_a_relation_while_rows_are_added_to_it(harness: MysqlHarness, staging: Staging) -> None:
    harness.make("orders", numbered(1, 2))
    target = harness.open(WritesMeanwhile)
    assert isinstance(target, WritesMeanwhile)
    target.harness = harness
    published(target, staging, numbered(3, 4))
    assert "Lock wait timeout" in target.said
    assert harness.read("orders") == numbered(1, 4)


class DiesWithRoom(MysqlTarget):
    """A host that dies when every table is made."""

    def _add_all(self, stagings: Sequence[Staging]) -> list[Staging]:
        raise Dies


class DiesAdding(MysqlTarget):
    """A host that dies before its transaction commits."""

    def _add_all(self, stagings: Sequence[Staging]) -> list[Staging]:
        super()._add_all(stagings)
        raise Dies


class DiesAdded(MysqlTarget):
    """A host that dies after it."""

    def _end_adding(self, stagings: Sequence[Staging]) -> None:
        raise Dies


class DiesUndone(MysqlTarget):
    """A host that dies when everything is taken back but for tables."""

    def _drop_after_undoing(self, staging: Staging, row: object) -> None:
        raise Dies


def three() -> list[Staging]:
    """A replacement, a merge and an append, in one publication; the last makes its relation."""
    return [
        a_staging("orders", key=("id",), is_replace=True),
        replace(merging(MergePolicy.OVERWRITE, "people"), order_column=""),
        a_staging("events", is_append=True),
    ]


class TestSteps:
    """Between any two steps of a publication that swaps, merges and appends, and of its way back."""

    def begin(self, harness: MysqlHarness) -> list[Staging]:
        harness.make("orders", [(9, "mine")])
        harness.make("people", [(1, "mine"), (8, "mine")])
        stagings = three()
        for staging in stagings:
            staged(harness.open(), staging, numbered(1, 3))
        return stagings

    def is_as_before(self, harness: MysqlHarness) -> bool:
        return (
            harness.read("orders") == [(9, "mine")]
            and harness.read("people") == [(1, "mine"), (8, "mine")]
            and "events" not in tables(harness)
        )

    @pytest.mark.parametrize("kind", [DiesWithRoom, DiesAdding, DiesAdded, DiesAfter])
    @pytest.mark.parametrize("next_step", ["publish", "rollback"])
    def test_a_publication_that_was_broken_off_is_ended_or_taken_back(
        self, harness: MysqlHarness, kind: type[MysqlTarget], next_step: str
    ) -> None:
        stagings = self.begin(harness)
        dying = harness.open(kind)
        with pytest.raises(Dies):
            dying.publish(stagings)
        dying.close()
        heir = harness.open()
        assert [heir.count_staging(staging) for staging in stagings] == [3, 3, 3]
        for _ in range(2):
            getattr(heir, next_step)(stagings)
        if next_step == "publish":
            assert harness.read("orders") == harness.read("events") == numbered(1, 3)
            assert harness.read("people") == [*numbered(1, 3), (8, "mine")]
            heir.rollback(stagings)
        assert self.is_as_before(harness)
        assert tables(harness) == {"orders", "people"}

    def test_a_way_back_that_was_broken_off_leaves_no_table_behind(self, harness: MysqlHarness) -> None:
        stagings = self.begin(harness)
        harness.open().publish(stagings)
        dying = harness.open(DiesUndone)
        with pytest.raises(Dies):
            dying.rollback(stagings)
        dying.close()
        harness.open().rollback(stagings)
        assert self.is_as_before(harness)
        assert tables(harness) == {"orders", "people"}

    def test_a_merge_that_conflicts_takes_back_what_was_swapped_in_before_it(self, harness: MysqlHarness) -> None:
        stagings = self.begin(harness)
        stagings[1] = replace(stagings[1], merge=MergePolicy.FAIL)
        target = harness.open()
        for _ in range(2):
            with pytest.raises(MergeConflict, match="such as 1"):
                target.publish(stagings)
            assert self.is_as_before(harness)
        assert len(harness.read_conflicts("people", stagings[1])) == 2
        assert [target.count_staging(staging) for staging in stagings] == [3, 3, 3]
        harness.change("people", 1, "name 1")
        target.publish(stagings)
        assert harness.read("people") == [*numbered(1, 3), (8, "mine")]

    def test_nothing_of_it_is_taken_back_when_one_of_them_was_changed(self, harness: MysqlHarness) -> None:
        stagings = self.begin(harness)
        target = harness.open()
        target.publish(stagings)
        harness.change("people", 2, "changed since")
        with pytest.raises(CannotUndo, match="keys 2 "):
            target.rollback(stagings)
        assert harness.read("orders") == harness.read("events") == numbered(1, 3)
        harness.change("people", 2, "name 2")
        target.rollback(stagings)
        assert self.is_as_before(harness)

    def test_a_seal_leaves_nothing_of_its_own_also_after_a_crash(self, harness: MysqlHarness) -> None:
        stagings = self.begin(harness)
        dying = harness.open(DiesAdded)
        with pytest.raises(Dies):
            dying.publish(stagings)
        dying.close()
        for _ in range(2):
            harness.open().seal(stagings)
        assert tables(harness) == {"orders", "people", "events"}


class TestForeignKeys:
    """Foreign keys, which are checked when every table has its name."""

    def referring(self, *, is_fatal: bool = True) -> Staging:
        key = ForeignKey("of_customer", ("id",), "c", ("id",), target_relation="customers", is_fatal=is_fatal)
        return a_staging("orders", key=("id",), is_replace=True, schema=TableSchema("mysql", foreign_keys=(key,)))

    def test_one_that_fails_after_the_renaming_takes_all_of_it_back(self, harness: MysqlHarness) -> None:
        harness.make("orders", [(9, "mine")])
        target, orders, customers = harness.open(), self.referring(), a_staging("customers", key=("id",))
        staged(target, orders, numbered(1, 3))
        staged(target, customers, numbered(1, 2))
        for _ in range(2):
            with pytest.raises(VerificationFailed, match=r"of_customer.*1 rows refer by .id. to 1 values.*such as 3"):
                target.publish([orders, customers])
            assert harness.read("orders") == [(9, "mine")]
            assert target.rows("customers") is None
            assert (target.count_staging(orders), target.count_staging(customers)) == (3, 2)
        told = replace(orders, schema=self.referring(is_fatal=False).schema)
        target.publish([told, customers])
        assert harness.read("orders") == numbered(1, 3)
        assert "does not hold: 1 rows refer" in " ".join(target.schema_notes(told))  # type: ignore[attr-defined]  # MySQL's has them
        target.rollback([told, customers])
        assert harness.read("orders") == [(9, "mine")]
        assert tables(harness) == {"orders"}

    @pytest.mark.parametrize("next_step", ["publish", "rollback"])
    def test_one_that_an_heir_finds_failing_takes_back_what_was_renamed(
        self, harness: MysqlHarness, next_step: str
    ) -> None:
        harness.make("orders", [(9, "mine")])
        orders, customers = self.referring(), a_staging("customers", key=("id",))
        staged(harness.open(), orders, numbered(1, 3))
        staged(harness.open(), customers, numbered(1, 2))
        dying = harness.open(DiesAfter)
        with pytest.raises(Dies):
            dying.publish([orders, customers])
        dying.close()
        heir = harness.open()
        if next_step == "publish":
            with pytest.raises(VerificationFailed, match="of_customer"):
                heir.publish([orders, customers])
            assert (heir.count_staging(orders), heir.count_staging(customers)) == (3, 2)
        heir.rollback([orders, customers])
        assert harness.read("orders") == [(9, "mine")]
        assert tables(harness) == {"orders"}
