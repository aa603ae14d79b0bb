"""PostgreSQL databases as targets: the contract on every version at hand, and what is PostgreSQL's own."""

import threading
from collections.abc import Iterator, Sequence

import psycopg
import pyarrow as pa
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from pymigrate.engine.adapters.connectors.postgres_target import PostgresTarget
from pymigrate.engine.domain.errors import (
    CannotUndo,
    DataRefused,
    FailedPrecondition,
    FenceLost,
    InvalidDefinition,
    MergeConflict,
    SystemUnavailable,
    TargetOccupied,
    VerificationFailed,
)
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.staging import Checkpoint, MergePolicy, ReferenceCheck, Staging
from pymigrate.engine.ports.target import Target
from tests.integration.connectors.target_append_contract import AppendContract
from tests.integration.connectors.target_contract import LaneContract, StagingContract
from tests.integration.connectors.target_crashes import AppendCrashContract, CrashContract, hosts  # noqa: F401  # the contract's fixture
from tests.integration.connectors.target_harness import (
    ID,
    LaneWriter,
    a_batch,
    a_staging,
    after,
    numbered,
    pairs,
    published,
    staged,
)
from tests.integration.connectors.target_merge_contract import ConflictTablesContract, MergeContract, SealContract
from tests.integration.connectors.target_publication_contract import PublicationContract, ViewContract
from tests.integration.connectors.target_quarantine_contract import QuarantineContract
from tests.integration.connectors.target_repair_contract import RepairContract
from tests.integration.connectors.target_types_contract import TypeContract


class PostgresHarness:
    """A database of its own; somebody else acts in it through a connection of their own."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        parts = conninfo_to_dict(dsn)
        options = {
            "host": parts["host"],
            "port": parts["port"],
            "database": parts["dbname"],
            "user": parts["user"],
            "ssl_mode": "disable",
        }
        self.system = SystemSpec("postgres", "warehouse", {name: str(value) for name, value in options.items()})
        self.opened: list[Target] = []

    def open(self) -> Target:
        target = PostgresTarget(self.system)
        self.opened.append(target)
        return target

    def impatient(self) -> PostgresTarget:
        """A target that does not wait for locks."""
        target = PostgresTarget(self.system, lock_seconds=0.001)
        self.opened.append(target)
        return target

    def run(self, statement: str, parameters: Sequence[object] | None = None) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def make(self, relation: str, rows: Sequence[tuple[int, str | None]]) -> None:
        self.run(f'CREATE TABLE "{relation}" (id BIGINT NOT NULL, name TEXT)')
        for row in rows:
            self.append(relation, row)

    def append(self, relation: str, row: tuple[int, str | None]) -> None:
        self.run(f'INSERT INTO "{relation}" VALUES (%s, %s)', row)

    def change(self, relation: str, id: int, name: str) -> None:
        self.run(f'UPDATE "{relation}" SET name = %s WHERE id = %s', (name, id))

    def change_one(self, relation: str, id: int, name: str) -> None:
        last = f'SELECT max(ctid) FROM "{relation}" WHERE id = %s'
        self.run(f'UPDATE "{relation}" SET name = %s WHERE ctid = ({last})', (name, id))

    def read_conflicts(self, relation: str, staging: Staging) -> list[tuple[str, int, str | None]]:
        return self.run(f'SELECT side, id, name FROM "{relation}__pymigrate_conflicts_{staging.id}"')  # type: ignore[return-value]  # its columns

    def drop(self, relation: str) -> None:
        self.run(f'DROP TABLE "{relation}"')

    def make_view(self, view: str, relation: str) -> None:
        self.run(f'CREATE VIEW "{view}" AS SELECT * FROM "{relation}"')

    def read(self, relation: str) -> list[tuple[int, str | None]]:
        return self.run(f'SELECT id, name FROM "{relation}" ORDER BY id')  # type: ignore[return-value]  # its columns


@pytest.fixture
def harness(postgres_database: str) -> Iterator[PostgresHarness]:
    harness = PostgresHarness(postgres_database)
    yield harness
    for target in harness.opened:
        target.close()


class TestPostgresLanes(LaneContract):
    """See the contract."""


class TestPostgresStaging(StagingContract):
    """See the contract."""


class TestPostgresQuarantine(QuarantineContract):
    """Rows that are refused."""


class TestPostgresPublication(PublicationContract, ViewContract):
    """See the contract."""


class TestPostgresMerge(MergeContract, ConflictTablesContract, SealContract):
    """Merging, and what can't be undone any more."""


class TestPostgresAppend(AppendContract, RepairContract):
    """Appending, and exchanging rows of a staging."""


class TestPostgresCrashes(CrashContract, AppendCrashContract):
    """See the contract."""


class TestPostgresTypes(TypeContract):
    """See the contract."""

    refuses = frozenset(
        {
            ("string", "NUL"),
            ("string", "NUL alone"),
            ("json", "not json"),
            ("json", "empty"),
            ("date", "the lowest int32"),
            ("date", "the highest int32"),
            ("time", "negative"),
            ("timestamp", "the lowest int64"),
            ("timestamptz", "the lowest int64"),
        }
    )


class TestPostgresOwn:
    """Names, keys, locks and lost connections."""

    def test_the_key_becomes_the_primary_key_and_survives_a_swap_and_its_way_back(
        self, harness: PostgresHarness
    ) -> None:
        target, first, second = harness.open(), a_staging(key=("id",)), a_staging(key=("id",), is_replace=True)
        published(target, first, numbered(1, 3))
        published(target, second, numbered(1, 4))
        with pytest.raises(psycopg.errors.UniqueViolation):
            harness.append("orders", (4, "again"))
        target.rollback([second])
        with pytest.raises(psycopg.errors.UniqueViolation):
            harness.append("orders", (3, "again"))
        assert harness.read("orders") == numbered(1, 3)

    def test_a_key_that_does_not_hold_is_never_published(self, harness: PostgresHarness) -> None:
        target, staging = harness.open(), a_staging(key=("name",))
        staged(target, staging, [(1, "a"), (2, "a")])
        with pytest.raises(VerificationFailed, match="orders: the key does not hold"):
            target.publish([staging])
        assert target.rows("orders") is None
        assert target.count_staging(staging) == 2

    def test_a_view_on_the_table_stops_its_replacement(self, harness: PostgresHarness) -> None:
        harness.make("orders", [])
        harness.make_view("report", "orders")
        target, staging = harness.open(), a_staging("orders")
        staged(target, staging, numbered(1, 1))
        with pytest.raises(InvalidDefinition, match="the view report") as refused:
            target.check(staging)
        assert refused.value.field == "target.relation"
        with pytest.raises(InvalidDefinition, match="the view report"):
            target.publish([staging])
        assert target.rows("orders") == 0

    def test_foreign_keys_of_others_move_to_the_new_table_and_back(self, harness: PostgresHarness) -> None:
        harness.make("orders", [(1, "mine"), (2, "mine")])
        harness.run("ALTER TABLE orders ADD PRIMARY KEY (id)")
        harness.run("CREATE TABLE items (order_id BIGINT CONSTRAINT of_order REFERENCES orders)")
        harness.run("INSERT INTO items VALUES (2)")
        target, staging = harness.open(), a_staging(key=("id",), is_replace=True)
        published(target, staging, numbered(1, 3))
        referred = "SELECT confrelid::regclass::text, convalidated FROM pg_constraint WHERE conname = 'of_order'"
        assert harness.run(referred) == [("orders", True)]
        harness.run("INSERT INTO items VALUES (3)")
        harness.run("DELETE FROM items WHERE order_id = 3")
        target.rollback([staging])
        assert harness.run(referred) == [("orders", True)]
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            harness.run("INSERT INTO items VALUES (3)")

    def test_what_no_longer_refers_to_anything_is_declared_unvalidated_and_told(self, harness: PostgresHarness) -> None:
        harness.make("orders", [(9, "mine")])
        harness.run("ALTER TABLE orders ADD PRIMARY KEY (id)")
        harness.run("CREATE TABLE items (order_id BIGINT CONSTRAINT of_order REFERENCES orders)")
        harness.run("INSERT INTO items VALUES (9)")
        target, staging = PostgresTarget(harness.system), a_staging(key=("id",), is_replace=True)
        published(target, staging, numbered(1, 3))
        [note] = target.schema_notes(staging)
        target.close()
        assert "NOT VALID" in note
        assert "of_order" in note
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            harness.run("INSERT INTO items VALUES (8)")

    def test_what_others_built_on_a_publication_keeps_it(self, harness: PostgresHarness) -> None:
        target, staging = harness.open(), a_staging()
        published(target, staging, numbered(1, 3))
        harness.make_view("report", "orders")
        with pytest.raises(CannotUndo, match="report"):
            target.rollback([staging])
        assert harness.read("orders") == numbered(1, 3)

    def test_names_are_as_long_as_postgresql_takes_and_staging_names_fit(self, harness: PostgresHarness) -> None:
        longest = "é" * 31 + "x"
        target, staging = (
            harness.open(),
            a_staging(longest, (ColumnInfo(longest, ColumnType("int64")),), id="i" * 40, key=(longest,)),
        )
        target.check(staging)
        target.prepare(staging)
        target.publish([staging])
        assert target.rows(longest) == 0
        for column, relation in ((longest, longest + "x"), (longest + "x", longest)):
            with pytest.raises(InvalidDefinition, match="63 bytes"):
                target.check(a_staging(relation, (ColumnInfo(column, ColumnType("int64")),)))

    def test_names_and_keys_that_postgresql_cannot_have_are_refused(self, harness: PostgresHarness) -> None:
        target = harness.open()
        number, document = ColumnType("int64"), ColumnType("json")
        cases = {
            "target.relation": a_staging("pg_catalog.orders"),
            "source.columns.xmin": a_staging(columns=(ColumnInfo("xmin", number),)),
            "key": a_staging(columns=(ColumnInfo("document", document),), key=("document",)),
            "source.columns": a_staging(columns=[ColumnInfo(f"c{at}", number) for at in range(1601)]),
        }
        for field, staging in cases.items():
            with pytest.raises(InvalidDefinition) as refused:
                target.check(staging)
            assert refused.value.field == field

    def test_a_schema_is_made_for_a_relation_in_one_and_case_counts(self, harness: PostgresHarness) -> None:
        target, staging = harness.open(), a_staging("Sales.2024.Orders")
        published(target, staging, numbered(1, 2))
        assert harness.run('SELECT count(*) FROM "Sales"."2024.Orders"') == [(2,)]
        assert target.rows("sales.2024.orders") is None
        assert [info.relation for info in target.relations("Sales.*", 10)] == ["Sales.2024.Orders"]

    def test_a_refused_json_names_its_row(self, harness: PostgresHarness) -> None:
        columns = (ID, ColumnInfo('do"c', ColumnType("json")))
        target, staging = harness.open(), a_staging(columns=columns)
        target.prepare(staging)
        target.claim(staging, "lane", 1)
        batch = pa.record_batch([[1, 2, 3], ["{}", None, "{"]], names=["id", 'do"c'])
        with pytest.raises(DataRefused, match=r'column `do"c`, row 3: .*json'):
            target.commit(staging, "lane", 1, Checkpoint(), after(Checkpoint(), 3), [batch])

    def test_a_reference_between_types_that_do_not_compare_is_a_mistake_in_the_definition(
        self, harness: PostgresHarness
    ) -> None:
        target, staging = harness.open(), a_staging()
        harness.make("parents", [(1, "a")])
        staged(target, staging, numbered(1, 1))
        with pytest.raises(InvalidDefinition, match="can't be compared") as refused:
            target.dangling(staging, ReferenceCheck(("name",), "parents", ("id",)))
        assert refused.value.field == "references"

    def test_a_publication_that_gets_no_lock_gives_up_and_can_be_tried_again(self, harness: PostgresHarness) -> None:
        harness.make("orders", [(9, "mine")])
        target, staging = harness.impatient(), a_staging(is_replace=True)
        staged(target, staging, numbered(1, 3))
        with psycopg.connect(harness.dsn) as reader:
            reader.execute("SELECT * FROM orders")
            with pytest.raises(SystemUnavailable, match="lock timeout"):
                target.publish([staging])
        assert harness.read("orders") == [(9, "mine")]
        target.publish([staging])
        assert harness.read("orders") == numbered(1, 3)

    def test_a_claim_waits_for_a_commit_under_way_and_then_knows_it(self, harness: PostgresHarness) -> None:
        old, new, staging = harness.open(), harness.open(), a_staging()
        old.prepare(staging)
        zombie = LaneWriter(old, staging, fence=1).claim()
        with psycopg.connect(harness.dsn) as blocker:
            # Holds the zombie's commit between its rows and its checkpoint, where it has everything but the row's lock.
            blocker.execute("SELECT * FROM pymigrate.checkpoint FOR UPDATE")
            committing = threading.Thread(target=lambda: zombie.commit(numbered(1, 2)))
            committing.start()
            self.await_waiters(blocker, 1)
            found: list[Checkpoint] = []
            claiming = threading.Thread(target=lambda: found.append(new.claim(staging, "lane", 2)))
            claiming.start()
            self.await_waiters(blocker, 2)
            blocker.rollback()
        committing.join()
        claiming.join()
        assert found == [zombie.at]
        assert new.checkpoint(staging, "lane") == (zombie.at, 2)
        assert new.count_staging(staging) == zombie.at.rows == 2

    def test_a_commit_that_a_claim_overtakes_writes_nothing(self, harness: PostgresHarness) -> None:
        old, staging = harness.open(), a_staging()
        old.prepare(staging)
        zombie = LaneWriter(old, staging, fence=1).claim()
        lost: list[type[Exception]] = []

        def commit() -> None:
            try:
                zombie.commit(numbered(1, 2))
            except FenceLost as error:
                lost.append(type(error))

        with psycopg.connect(harness.dsn) as claimant:
            claimant.execute(PostgresTarget.statements.claim.replace("?", "%s").encode(), (2, staging.id, "lane", 2))
            committing = threading.Thread(target=commit)
            committing.start()
            self.await_waiters(claimant, 1)
            claimant.commit()
        committing.join()
        assert lost == [FenceLost]
        assert old.checkpoint(staging, "lane") == (Checkpoint(), 2)
        assert old.count_staging(staging) == 0

    @staticmethod
    def await_waiters(connection: "psycopg.Connection[tuple[object, ...]]", number: int) -> None:
        """Until so many backends of this database wait for a lock."""
        for _ in range(10_000):
            found = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ).fetchone()
            connection.execute("SELECT pg_stat_clear_snapshot()")
            if found == (number,):
                return
        raise AssertionError("nobody waits")

    def test_a_lost_connection_is_unavailable_and_the_next_call_reads_the_truth(self, harness: PostgresHarness) -> None:
        target, staging = harness.open(), a_staging()
        target.prepare(staging)
        lane = LaneWriter(target, staging).claim()
        lane.commit(numbered(1, 2))
        harness.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with pytest.raises(SystemUnavailable):
            lane.commit(numbered(3, 4))
        assert target.checkpoint(staging, "lane") == (lane.at, 1)
        lane.commit(numbered(3, 4))
        assert target.count_staging(staging) == 4

    def test_a_commit_whose_answer_is_lost_is_unavailable_and_its_checkpoint_tells(
        self, harness: PostgresHarness
    ) -> None:
        """A trigger that fires at COMMIT ends the session: the client can't know how it went."""
        target, staging = harness.open(), a_staging()
        target.prepare(staging)
        lane = LaneWriter(target, staging).claim()
        harness.run(
            "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
        )
        harness.run(
            "CREATE CONSTRAINT TRIGGER die AFTER UPDATE ON pymigrate.checkpoint DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION die()"
        )
        with pytest.raises(SystemUnavailable):
            lane.commit(numbered(1, 2))
        harness.run("DROP TRIGGER die ON pymigrate.checkpoint")
        assert target.checkpoint(staging, "lane") == (Checkpoint(), 1)
        assert target.count_staging(staging) == 0
        lane.commit(numbered(1, 2))

    def test_a_role_without_rights_is_told_so(self, harness: PostgresHarness) -> None:
        name = f"reader_{harness.system.options['database']}"
        with psycopg.connect(harness.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        options = {**harness.system.options, "user": name}
        target = PostgresTarget(SystemSpec("postgres", "warehouse", options))
        try:
            with pytest.raises(FailedPrecondition, match="permission denied"):
                target.prepare(a_staging())
        finally:
            target.close()
            with psycopg.connect(harness.dsn, autocommit=True) as connection:
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))

    def test_a_commit_after_somebody_dropped_the_staging_is_lost(self, harness: PostgresHarness) -> None:
        target, staging = harness.open(), a_staging()
        target.prepare(staging)
        lane = LaneWriter(target, staging).claim()
        harness.drop(f"orders__pymigrate_{staging.id}")
        with pytest.raises(FenceLost):
            target.commit(staging, "lane", 1, lane.at, after(lane.at, 1), [a_batch([(1, "a")])])
        assert target.checkpoint(staging, "lane") == (lane.at, 1)

    def test_a_database_in_another_encoding_holds_the_same_text_or_refuses_it(self, harness: PostgresHarness) -> None:
        name = f"{harness.system.options['database']}_latin"
        identifier = sql.Identifier(name)
        with psycopg.connect(harness.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} ENCODING LATIN1 TEMPLATE template0").format(identifier))
        target = PostgresTarget(SystemSpec("postgres", "latin", {**harness.system.options, "database": name}))
        try:
            staging = staged(target, a_staging(), [(1, "é"), (2, "ÿ")])
            assert pairs(target.read_staging(staging)) == [(1, "é"), (2, "ÿ")]
            with pytest.raises(DataRefused, match="row 2"):
                staged(target, a_staging("other"), [(1, "a"), (2, "€")])
        finally:
            target.close()
            with psycopg.connect(harness.dsn, autocommit=True) as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


# Publications that are prepared first ------------------------------------------------------------------------------------------------


def prepared(harness: PostgresHarness) -> int:
    """How many transactions stand prepared in the test's database."""
    [(count,)] = harness.run("SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()")
    return int(str(count))


def test_a_prepared_publication_is_seen_by_nobody_until_it_is_committed(harness: PostgresHarness) -> None:
    harness.make("orders", numbered(1, 1))
    target, staging = harness.open(), a_staging(is_replace=True)
    staged(target, staging, numbered(5, 9))
    assert target.prepare_publication([staging], "k1")
    assert harness.open().prepare_publication([staging], "k1"), "a second time it is prepared already"
    assert prepared(harness) == 1
    target.close()
    later = harness.open()
    later.commit_publication([staging], "k1")
    later.commit_publication([staging], "k1")
    assert harness.read("orders") == numbered(5, 9)
    assert prepared(harness) == 0
    assert later.prepare_publication([staging], "k1"), "what is published needs no preparing"
    later.rollback([staging])
    assert harness.read("orders") == numbered(1, 1)


def test_a_prepared_publication_is_given_up_and_then_rolled_back(harness: PostgresHarness) -> None:
    harness.make("orders", numbered(1, 1))
    target, staging = harness.open(), a_staging(is_replace=True)
    staged(target, staging, numbered(5, 9))
    target.prepare_publication([staging], "k1")
    target.abort_publication("k1")
    target.abort_publication("k1")
    with pytest.raises(FailedPrecondition, match="no publication prepared"):
        target.commit_publication([staging], "k1")
    target.rollback([staging])
    assert harness.read("orders") == numbered(1, 1)
    with pytest.raises(FailedPrecondition, match="no staging"):
        target.prepare_publication([staging], "k1")


def test_what_can_not_be_published_is_not_prepared_either(harness: PostgresHarness) -> None:
    harness.make("orders", numbered(1, 1))
    target, staging = harness.open(), a_staging()
    staged(target, staging, numbered(5, 9))
    with pytest.raises(TargetOccupied):
        target.prepare_publication([staging], "k1")
    merge = a_staging(key=("id",), merge=MergePolicy.FAIL)
    staged(target, merge, [(1, "other")])
    with pytest.raises(MergeConflict):
        target.prepare_publication([merge], "k2")
    assert prepared(harness) == 0
    assert target.version().startswith("PostgreSQL"), "the connection goes on"


def test_a_merge_meets_constraints_of_the_live_table_as_a_persons_matter(harness: PostgresHarness) -> None:
    harness.run("CREATE TABLE orders (id bigint PRIMARY KEY, name text UNIQUE)")
    harness.append("orders", (1, "name 2"))
    target, staging = harness.open(), a_staging(key=("id",), merge=MergePolicy.FAIL)
    staged(target, staging, numbered(2, 3))
    with pytest.raises(DataRefused, match="can't be merged in"):
        target.publish([staging])
    assert harness.read("orders") == [(1, "name 2")]


def test_merged_rows_that_others_refer_to_are_not_taken_back(harness: PostgresHarness) -> None:
    harness.run("CREATE TABLE orders (id bigint PRIMARY KEY, name text)")
    harness.run("CREATE TABLE items (order_id bigint REFERENCES orders (id))")
    target, staging = harness.open(), a_staging(key=("id",), merge=MergePolicy.FAIL)
    published(target, staging, numbered(1, 3))
    harness.run("INSERT INTO items VALUES (2)")
    with pytest.raises(CannotUndo, match="referred to"):
        target.rollback([staging])
    assert harness.read("orders") == numbered(1, 3)


def test_appended_rows_are_known_again_after_the_table_was_written_anew(harness: PostgresHarness) -> None:
    harness.run("CREATE TABLE orders (id bigint, name text, n serial, at timestamptz DEFAULT now(), doc json)")
    harness.run("INSERT INTO orders (id, name) SELECT g, 'name ' || g FROM generate_series(1, 3) g")
    target, staging = harness.open(), a_staging(is_append=True)
    target.check(staging)
    published(target, staging, numbered(1, 3))
    harness.run("DELETE FROM orders WHERE n = 2")
    harness.run("VACUUM FULL FREEZE orders")
    target.rollback([staging])
    assert harness.run("SELECT n FROM orders ORDER BY n") == [(1,), (3,)]


def test_an_append_into_a_partitioned_table_comes_out_of_its_parts(harness: PostgresHarness) -> None:
    harness.run("CREATE TABLE orders (id bigint, name text) PARTITION BY RANGE (id)")
    harness.run("CREATE TABLE low PARTITION OF orders FOR VALUES FROM (0) TO (5)")
    harness.run("CREATE TABLE high PARTITION OF orders FOR VALUES FROM (5) TO (100)")
    harness.run("INSERT INTO orders SELECT g, 'name ' || g FROM generate_series(1, 9) g")
    target, staging = harness.open(), a_staging(is_append=True)
    published(target, staging, numbered(3, 7))
    target.rollback([staging])
    assert harness.read("orders") == numbered(1, 9)


def test_a_row_that_a_trigger_keeps_out_fails_the_whole_append(harness: PostgresHarness) -> None:
    harness.make("orders", numbered(1, 1))
    harness.run(
        "CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 4 THEN RETURN NULL; END IF; RETURN NEW; END $$"
    )
    harness.run("CREATE TRIGGER skip BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION skip()")
    target, staging = harness.open(), a_staging(is_append=True)
    staged(target, staging, numbered(2, 5))
    with pytest.raises(DataRefused, match="4 rows were appended and 3 arrived"):
        target.publish([staging])
    assert harness.read("orders") == numbered(1, 1)
