"""DuckDB files as targets: the contract, and what is DuckDB's own."""

import itertools
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from pymigrate.engine.adapters.connectors.duckdb import DuckdbConnector
from pymigrate.engine.adapters.connectors.duckdb_target import DuckdbTarget
from pymigrate.engine.adapters.connectors.target_statements import Table, advance_parameters
from pymigrate.engine.domain.errors import InvalidDefinition, SystemUnavailable
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.staging import Checkpoint, MergePolicy, Staging, StagingId
from pymigrate.engine.ports.target import Target
from tests.integration.connectors.target_append_contract import AppendContract
from tests.integration.connectors.target_contract import LaneContract, StagingContract
from tests.integration.connectors.target_crashes import AppendCrashContract, CrashContract, hosts  # noqa: F401  # the contract's fixture
from tests.integration.connectors.target_harness import a_staging, after, numbered, published, staged
from tests.integration.connectors.target_merge_contract import ConflictTablesContract, MergeContract, SealContract
from tests.integration.connectors.target_publication_contract import PublicationContract, ViewContract
from tests.integration.connectors.target_quarantine_contract import QuarantineContract
from tests.integration.connectors.target_repair_contract import RepairContract
from tests.integration.connectors.target_types_contract import TypeContract


class DuckdbHarness:
    """A file; somebody else acts in it through a cursor of the same handle, since DuckDB admits one process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.system = SystemSpec("duckdb", "warehouse", {"path": str(path)})
        self.connector = DuckdbConnector(memory_bytes_max=512 << 20)
        self.opened: list[Target] = []

    def open(self) -> Target:
        target = self.connector.open_target(self.system)
        self.opened.append(target)
        return target

    def run(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with duckdb.connect(self.path, config=self.connector._configuration) as connection:
            return connection.execute(statement, list(parameters)).fetchall()

    def make(self, relation: str, rows: Sequence[tuple[int, str | None]]) -> None:
        self.run(f'CREATE TABLE "{relation}" (id BIGINT NOT NULL, name VARCHAR)')
        for row in rows:
            self.append(relation, row)

    def append(self, relation: str, row: tuple[int, str | None]) -> None:
        self.run(f'INSERT INTO "{relation}" VALUES (?, ?)', row)

    def change(self, relation: str, id: int, name: str) -> None:
        self.run(f'UPDATE "{relation}" SET name = ? WHERE id = ?', (name, id))

    def change_one(self, relation: str, id: int, name: str) -> None:
        last = f'SELECT max(rowid) FROM "{relation}" WHERE id = ?'
        self.run(f'UPDATE "{relation}" SET name = ? WHERE rowid = ({last})', (name, id))

    def read_conflicts(self, relation: str, staging: Staging) -> list[tuple[str, int, str | None]]:
        return self.run(f'SELECT side, id, name FROM "{relation}__pymigrate_conflicts_{staging.id}"')  # type: ignore[return-value]  # its columns

    def drop(self, relation: str) -> None:
        self.run(f'DROP TABLE "{relation}"')

    def make_view(self, view: str, relation: str) -> None:
        self.run(f'CREATE VIEW "{view}" AS SELECT * FROM "{relation}"')

    def read(self, relation: str) -> list[tuple[int, str | None]]:
        return self.run(f'SELECT id, name FROM "{relation}" ORDER BY id')  # type: ignore[return-value]  # its columns


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[DuckdbHarness]:
    harness = DuckdbHarness(tmp_path / "warehouse.duckdb")
    yield harness
    for target in harness.opened:
        target.close()


class TestDuckdbLanes(LaneContract):
    """See the contract."""


class TestDuckdbStaging(StagingContract):
    """See the contract."""


class TestDuckdbQuarantine(QuarantineContract):
    """Rows that are refused."""


class TestDuckdbPublication(PublicationContract, ViewContract):
    """See the contract."""


class TestDuckdbMerge(MergeContract, ConflictTablesContract, SealContract):
    """Merging, and what can't be undone any more."""


class TestDuckdbAppend(AppendContract, RepairContract):
    """Appending, and exchanging rows of a staging."""


class TestDuckdbCrashes(CrashContract, AppendCrashContract):
    """See the contract."""


class TestDuckdbTypes(TypeContract):
    """See the contract."""

    refuses = frozenset({("json", label) for label in ("not json", "empty", "a lone surrogate")})


@dataclass
class Lane:
    """The two statements that meet, and what they leave behind."""

    claim: str = DuckdbTarget.statements.claim
    advance: str = DuckdbTarget.statements.advance

    def play(self, order: Sequence[str]) -> tuple[bool, bool, int, int, int | None]:
        """A zombie under fence 1 commits its first chunk while a claim takes fence 2, statement by statement in this order.

        Whether the zombie committed, whether the claim did, the rows and chunks in the end, and how far the claim says the lane got.
        """
        with duckdb.connect() as database:
            database.execute("CREATE SCHEMA pymigrate; CREATE TABLE rows (id BIGINT)")
            for statement in DuckdbTarget.statements.create:
                database.execute(statement)
            # As it lies in the file after a checkpoint: DuckDB compares what an update writes with that, and drops what is the same.
            database.execute("INSERT INTO pymigrate.checkpoint VALUES ('staging', 'lane', 1, 0, 0, 0, NULL, '', '', 1)")
            zombie, claimant = database.cursor(), database.cursor()
            step = advance_parameters(StagingId("staging"), "lane", 1, Checkpoint(), after(Checkpoint(), 1))
            seen: list[int] = []

            def changed(cursor: duckdb.DuckDBPyConnection, statement: str, parameters: Sequence[object]) -> None:
                if cursor.execute(statement, list(parameters)).fetchall() != [(1,)]:
                    raise duckdb.Error("no row")

            def look() -> None:
                read = claimant.execute(DuckdbTarget.statements.read, ["staging", "lane"]).fetchall()
                seen.append(read[0][0])

            steps = {
                "zombie": [
                    zombie.begin,
                    lambda: zombie.execute("INSERT INTO rows VALUES (1)"),
                    lambda: changed(zombie, self.advance, step[: self.advance.count("?")]),
                    zombie.commit,
                ],
                "claim": [
                    claimant.begin,
                    lambda: changed(claimant, self.claim, [2, "staging", "lane", 2]),
                    look,
                    claimant.commit,
                ],
            }
            lost: set[str] = set()
            for actor in order:
                act = steps[actor].pop(0)
                if actor not in lost:
                    try:
                        act()
                    except duckdb.Error:
                        lost.add(actor)
                        if steps[actor]:
                            {"zombie": zombie, "claim": claimant}[actor].rollback()
            [(rows,)] = database.execute("SELECT count(*) FROM rows").fetchall()
            [(chunks,)] = database.execute("SELECT chunks FROM pymigrate.checkpoint").fetchall()
            zombie.close()
            claimant.close()
        return "zombie" not in lost, "claim" not in lost, rows, chunks, seen[-1] if "claim" not in lost else None

    def outcomes(self) -> Counter[str]:
        """Of every interleaving: `torn` where the claim was told less than what was committed in the end."""
        counted: Counter[str] = Counter()
        for order in sorted(set(itertools.permutations(["zombie"] * 4 + ["claim"] * 4))):
            zombie, claim, rows, chunks, told = self.play(order)
            assert rows == chunks == int(zombie)
            assert zombie or claim
            counted["torn" if claim and told != chunks else "whole"] += 1
        return counted


class TestDuckdbFence:
    """Claim and commit at once: DuckDB has no lock to wait for, so that the two statements must meet in a conflict."""

    def test_in_every_interleaving_the_claim_knows_all_that_is_ever_committed(self) -> None:
        assert Lane().outcomes() == Counter(whole=70)

    def test_the_harness_catches_an_advance_that_does_not_write_the_fence(self) -> None:
        advance = DuckdbTarget.statements.advance
        mutant = advance.replace("fence = ?, ", "", 1).replace(", writes = writes + 1", "")
        mutant = mutant.replace("chunks = ? AND fence = ?", "chunks = 0 AND fence = 1").replace(
            "chunks = ?,", "chunks = 1,"
        )
        mutant = mutant.replace(
            "row_count = ?, byte_count = ?, position = ?, checksum = ?, source_state = ?", "row_count = 1"
        )
        mutant = mutant.replace("staging = ? AND lane = ?", "staging = 'staging' AND lane = 'lane'")
        assert Lane(advance=mutant).outcomes()["torn"] > 0

    def test_the_harness_catches_a_fence_that_is_written_without_being_changed(self) -> None:
        statements = DuckdbTarget.statements
        mutant = Lane(
            statements.claim.replace(", writes = writes + 1", ""),
            statements.advance.replace(", writes = writes + 1", ""),
        )
        assert mutant.outcomes()["torn"] > 0


class TestDuckdbFiles:
    """Who holds the file."""

    def test_the_file_is_free_for_others_once_the_last_target_is_closed(self, harness: DuckdbHarness) -> None:
        one, two = harness.open(), harness.open()
        reading = one.read_staging(staged(one, a_staging(), numbered(1, 100_000)))
        next(reading)
        one.close()
        assert "held" in connect_elsewhere(harness.path)
        two.close()
        assert connect_elsewhere(harness.path) == ""

    def test_a_file_that_another_process_holds_is_unavailable_and_says_who_has_it(self, harness: DuckdbHarness) -> None:
        holding = (
            f"import duckdb, sys; held = duckdb.connect({str(harness.path)!r}); print(flush=True); sys.stdin.read()"
        )
        with subprocess.Popen([sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdin is not None
            assert holder.stdout is not None
            holder.stdout.readline()
            with pytest.raises(SystemUnavailable) as away:
                harness.open()
            holder.stdin.close()
        assert str(harness.path) in away.value.message
        assert f"process {holder.pid}" in away.value.message
        target = harness.open()
        assert target.relations("*", 1) == []

    def test_paths_that_cannot_be_a_duckdb_file_are_refused(self, tmp_path: Path) -> None:
        text = tmp_path / "notes.txt"
        text.write_text("not a database" * 1000)
        for path in ("", str(tmp_path), str(tmp_path / "nowhere" / "x.duckdb"), str(text)):
            with pytest.raises(InvalidDefinition) as refused:
                DuckdbConnector().open_target(SystemSpec("duckdb", "warehouse", {"path": path}))
            assert refused.value.field == "path"

    def test_a_schema_is_made_for_a_relation_in_one(self, harness: DuckdbHarness) -> None:
        target, staging = harness.open(), a_staging("Sales.2024.orders")
        published(target, staging, numbered(1, 2))
        assert harness.run('SELECT count(*) FROM "Sales"."2024.orders"') == [(2,)]
        assert [info.relation for info in target.relations("*", 10)] == ["Sales.2024.orders"]
        assert target.rows("sales.2024.ORDERS") == 2
        target.rollback([staging])
        for schema in ("information_schema.x", "pymigrate.x"):
            with pytest.raises(InvalidDefinition):
                target.check(a_staging(schema))

    def test_a_table_is_put_back_under_the_case_that_it_had(self, harness: DuckdbHarness) -> None:
        harness.make("Orders", [(1, "mine")])
        target, staging = harness.open(), a_staging("orders", is_replace=True)
        published(target, staging, numbered(1, 2))
        target.rollback([staging])
        assert [info.relation for info in target.relations("*", 10)] == ["Orders"]

    def test_a_table_with_an_index_is_replaced_and_has_it_again_after_a_rollback(self, harness: DuckdbHarness) -> None:
        harness.make("orders", [(1, "mine")])
        harness.run("CREATE INDEX by_name ON orders (name)")
        target, staging = harness.open(), a_staging(is_replace=True)
        published(target, staging, numbered(1, 2))
        assert harness.run("SELECT index_name FROM duckdb_indexes()") == []
        target.rollback([staging])
        assert harness.run("SELECT index_name, table_name FROM duckdb_indexes()") == [("by_name", "orders")]
        assert harness.read("orders") == [(1, "mine")]


class EndOf(threading.Condition):
    """Whoever waits for the end of a transaction has it end."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        super().__init__()
        self._connection = connection

    def wait(self, timeout: float | None = None) -> bool:
        del timeout
        self._connection.commit()
        return True


class TestLooksWhileAnotherPublishes:
    def test_a_look_that_meets_the_middle_of_a_swap_is_made_again_when_that_has_ended(
        self, harness: DuckdbHarness
    ) -> None:
        published(harness.open(), a_staging(key=("id",)), [(1, "a")])
        handle = harness.connector._opened(harness.path, is_read_only=False)[0]
        other = handle.cursor()
        [(index,)] = other.execute("SELECT index_name FROM duckdb_indexes()").fetchall()
        other.begin()
        other.execute(f'DROP INDEX "{index}"')
        other.execute("ALTER TABLE orders RENAME TO orders__pymigrate_kept_other")
        other.execute("CREATE TABLE orders (id BIGINT, name VARCHAR)")
        looking = DuckdbTarget(handle, EndOf(other), lambda: harness.connector._release(harness.path))

        found = looking.ddl(a_staging(key=("id",), is_replace=True))

        assert any("CREATE UNIQUE INDEX" in statement for statement in found.statements)
        looking.close()

    def test_rows_are_counted_of_a_relation_that_another_drops_meanwhile(self, harness: DuckdbHarness) -> None:
        harness.make("orders", [(1, "a"), (2, "b")])
        looking = harness.open()

        class Dropping(DuckdbTarget):
            def _count(self, table: Table) -> int:
                harness.drop("orders")
                return super()._count(table)

        cursor, file = harness.connector._opened(harness.path, is_read_only=False)
        dropping = Dropping(cursor, file.ended, lambda: harness.connector._release(harness.path))

        assert dropping.rows("orders") == 2
        assert looking.rows("orders") is None
        dropping.close()


def connect_elsewhere(path: Path) -> str:
    """What another process hears when it opens the file."""
    opening = [sys.executable, "-c", f"import duckdb; duckdb.connect({str(path)!r})"]
    return subprocess.run(opening, capture_output=True, text=True, check=False).stderr


def memory_limit(connector: DuckdbConnector, path: Path) -> str:
    """As DuckDB says it of a file that is open."""
    [(found,)] = (
        connector._files[path.resolve()].connection.execute("SELECT current_setting('memory_limit')").fetchall()
    )
    return str(found)


def test_files_that_are_open_share_the_memory_that_the_host_has_for_them(tmp_path: Path) -> None:
    connector = DuckdbConnector(memory_bytes_max=800_000_000)
    paths = [tmp_path / "one.duckdb", tmp_path / "other.duckdb"]
    targets = [connector.open_target(SystemSpec("duckdb", "w", {"path": str(paths[0])}))]
    assert memory_limit(connector, paths[0]) == "762.9 MiB"
    targets.append(connector.open_target(SystemSpec("duckdb", "w", {"path": str(paths[1])})))
    assert {memory_limit(connector, path) for path in paths} == {"381.4 MiB"}
    connector.limit_memory(400_000_000)
    assert {memory_limit(connector, path) for path in paths} == {"190.7 MiB"}
    connector.limit_memory(1)
    assert {memory_limit(connector, path) for path in paths} == {"61.0 MiB"}
    for target in targets:
        target.close()


@pytest.mark.parametrize("is_append", [True, False])
def test_rows_are_added_to_a_table_with_an_index_and_taken_out_again(harness: DuckdbHarness, is_append: bool) -> None:
    harness.run("CREATE TABLE orders (id BIGINT PRIMARY KEY, name VARCHAR)")
    for row in numbered(1, 3):
        harness.append("orders", row)
    policy = None if is_append else MergePolicy.OVERWRITE
    target, staging = harness.open(), a_staging(key=("id",), is_append=is_append, merge=policy)
    target.check(staging)
    published(target, staging, numbered(4, 6) if is_append else [(3, "new"), (4, "name 4")])
    assert target.rows("orders") == (6 if is_append else 4)
    target.rollback([staging])
    assert harness.read("orders") == numbered(1, 3)
