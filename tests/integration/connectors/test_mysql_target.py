"""MySQL databases as targets, on a real MariaDB: the contract, and what is MySQL's own."""

from collections.abc import Iterator, Sequence

import pytest

from pymigrate.engine.adapters.connectors.mysql_publication import Renaming
from pymigrate.engine.adapters.connectors.mysql_target import MysqlTarget
from pymigrate.engine.domain.errors import (
    DataRefused,
    InvalidDefinition,
    SystemUnavailable,
    VerificationFailed,
)
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.staging import Checkpoint, Staging
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
from tests.integration.connectors.target_types_contract import DAYS, FLOATS64, MOMENTS, TypeContract
from tests.proxies import Proxy
from tests.servers import MariadbDatabase

NO_NUMBERS = frozenset({"nan", "a nan with a payload", "infinity", "minus infinity", "minus zero"})
FAR = ("year 0", "year 10000", "year 294246", "int64", "int32")


class MysqlHarness:
    """A database of its own; somebody else acts in it through connections of their own."""

    def __init__(self, database: MariadbDatabase) -> None:
        self.database = database
        self.system = SystemSpec("mysql", "warehouse", database.options())
        self.opened: list[Target] = []

    def open(self, kind: type[MysqlTarget] = MysqlTarget, **options: str) -> Target:
        target = kind(SystemSpec("mysql", "warehouse", {**self.database.options(), **options}))
        self.opened.append(target)
        return target

    def run(self, statement: str) -> list[tuple[object, ...]]:
        """With names in double quotes, as every other system takes them."""
        with self.database.cluster.connect(self.database.name) as connection, connection.cursor() as cursor:
            cursor.execute("SET sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES'")
            cursor.execute(statement)
            return list(cursor.fetchall())

    def make(self, relation: str, rows: Sequence[tuple[int, str | None]]) -> None:
        self.database.run(f"CREATE TABLE `{relation}` (id BIGINT NOT NULL, name TEXT)")
        for row in rows:
            self.append(relation, row)

    def append(self, relation: str, row: tuple[int, str | None]) -> None:
        self.database.run(f"INSERT INTO `{relation}` VALUES (%s, %s)", row)

    def change(self, relation: str, id: int, name: str) -> None:
        self.database.run(f"UPDATE `{relation}` SET name = %s WHERE id = %s", (name, id))

    def change_one(self, relation: str, id: int, name: str) -> None:
        self.database.run(f"UPDATE `{relation}` SET name = %s WHERE id = %s LIMIT 1", (name, id))

    def read_conflicts(self, relation: str, staging: Staging) -> list[tuple[str, int, str | None]]:
        return self.database.run(f"SELECT side, id, name FROM `{relation}__pymigrate_conflicts_{staging.id}`")  # type: ignore[return-value]  # its columns

    def drop(self, relation: str) -> None:
        self.database.run(f"DROP TABLE `{relation}`")

    def make_view(self, view: str, relation: str) -> None:
        self.database.run(f"CREATE VIEW `{view}` AS SELECT * FROM `{relation}`")

    def read(self, relation: str) -> list[tuple[int, str | None]]:
        return self.database.run(f"SELECT id, name FROM `{relation}` ORDER BY id")  # type: ignore[return-value]  # its columns


@pytest.fixture
def harness(mariadb_database: MariadbDatabase) -> Iterator[MysqlHarness]:
    harness = MysqlHarness(mariadb_database)
    yield harness
    for target in harness.opened:
        target.close()


class TestMysqlLanes(LaneContract):
    """See the contract."""


class TestMysqlStaging(StagingContract):
    """See the contract."""


class TestMysqlPublication(PublicationContract, ViewContract):
    """See the contract."""


class TestMysqlQuarantine(QuarantineContract):
    """Rows that are refused."""


class TestMysqlMerge(MergeContract, ConflictTablesContract, SealContract):
    """Merging, and what can't be undone any more."""


class TestMysqlAppend(AppendContract, RepairContract):
    """Appending, and exchanging rows of a staging."""


class TestMysqlCrashes(CrashContract, AppendCrashContract):
    """See the contract."""


class TestMysqlTypes(TypeContract):
    """See the contract."""

    refuses = frozenset(
        {
            *((kind, label) for kind in ("float32", "float64") for label in FLOATS64 if label in NO_NUMBERS),
            *((kind, label) for kind in ("timestamp", "timestamptz") for label in MOMENTS if label.endswith(FAR)),
            *(("date", label) for label in DAYS if label.endswith(FAR)),
            ("time", "24:00"),
            ("time", "negative"),
        }
    )


class Dies(BaseException):
    """The host is gone at this very place."""


class DiesBefore(MysqlTarget):
    """A host that dies before the renaming."""

    def _rename_all(self, renamings: Sequence[Renaming]) -> None:
        raise Dies


class DiesAfter(MysqlTarget):
    """A host that dies right after it."""

    def _rename_all(self, renamings: Sequence[Renaming]) -> None:
        super()._rename_all(renamings)
        raise Dies


class TestMysqlSteps:
    """Between any two steps of a publication and of the way back."""

    @pytest.mark.parametrize("kind", [DiesBefore, DiesAfter])
    @pytest.mark.parametrize("next_step", ["publish", "rollback", "seal"])
    def test_a_publication_that_was_broken_off_is_ended_or_taken_back(
        self, harness: MysqlHarness, kind: type[MysqlTarget], next_step: str
    ) -> None:
        harness.make("orders", [(9, "mine")])
        one, two = a_staging(is_replace=True), a_staging("other")
        staged(harness.open(), one, numbered(1, 3))
        staged(harness.open(), two, numbered(1, 2))
        dying = harness.open(kind)
        with pytest.raises(Dies):
            dying.publish([one, two])
        dying.close()
        heir = harness.open()
        assert (heir.count_staging(one), heir.count_staging(two)) == (3, 2)
        getattr(heir, next_step)([one, two])
        is_published = next_step == "publish" or (next_step == "seal" and kind is DiesAfter)
        assert harness.read("orders") == (numbered(1, 3) if is_published else [(9, "mine")])
        assert heir.rows("other") == (2 if is_published else None)

    @pytest.mark.parametrize("kind", [DiesBefore, DiesAfter])
    def test_a_way_back_that_was_broken_off_is_gone_to_its_end(
        self, harness: MysqlHarness, kind: type[MysqlTarget]
    ) -> None:
        harness.make("orders", [(9, "mine")])
        staging = published(harness.open(), a_staging(is_replace=True), numbered(1, 3))
        dying = harness.open(kind)
        with pytest.raises(Dies):
            dying.rollback([staging])
        dying.close()
        heir = harness.open()
        heir.rollback([staging])
        assert harness.read("orders") == [(9, "mine")]
        assert [name for (name,) in harness.database.run("SHOW TABLES") if "__pymigrate" in str(name)] == []

    def test_a_lane_that_was_under_way_commits_nothing_after_a_publication_began(self, harness: MysqlHarness) -> None:
        staging = a_staging()
        target = harness.open()
        target.prepare(staging)
        lane = LaneWriter(target, staging).claim()
        lane.commit(numbered(1, 2))
        with pytest.raises(Dies):
            harness.open(DiesBefore).publish([staging])
        with pytest.raises(Exception, match="no longer stands at chunk 1"):
            lane.commit(numbered(3, 4))


class DropsAtCommit(Proxy):
    """Passes everything until a COMMIT comes, which reaches the server where `delivers` says so; the answer never comes back."""

    delivers = True
    armed = dropping = False

    def passes(self, piece: bytes, near: object, *, is_request: bool) -> bool:
        if self.armed and is_request and b"\x03COMMIT" in piece.upper():
            self.armed = False
            self.dropping = self.delivers
            return self.delivers
        if self.dropping and not is_request:
            self.dropping = False
            return False
        return True


class TestMysqlServers:
    """What a server does, and what MySQL's tables can't hold."""

    @pytest.mark.parametrize("delivers", [True, False])
    def test_a_connection_that_is_dropped_at_commit_leaves_the_truth_in_the_target(
        self, harness: MysqlHarness, delivers: bool
    ) -> None:
        proxy = DropsAtCommit(harness.database.cluster.port)
        proxy.delivers = delivers
        try:
            target, staging = harness.open(port=str(proxy.port)), a_staging()
            target.prepare(staging)
            target.claim(staging, "lane", 1)
            proxy.armed = True
            step = after(Checkpoint(), 2)
            with pytest.raises(SystemUnavailable):
                target.commit(staging, "lane", 1, Checkpoint(), step, [a_batch(numbered(1, 2))])
            at, fence = harness.open().checkpoint(staging, "lane")
            assert (at, fence) == (step if delivers else Checkpoint(), 1)
            assert harness.open().count_staging(staging) == at.rows
            assert target.checkpoint(staging, "lane") == (at, 1)
        finally:
            proxy.close()

    def test_a_key_is_declared_and_one_that_does_not_hold_is_refused(self, harness: MysqlHarness) -> None:
        columns = (ColumnInfo("name", ColumnType("string")), ID)
        target = harness.open()
        good = a_staging("good", columns, key=("name", "id"))
        target.prepare(good)
        target.publish([good])
        [(_, definition)] = harness.database.run("SHOW CREATE TABLE good")
        assert "PRIMARY KEY (`name`,`id`)" in str(definition)
        bad = staged(target, a_staging("bad", key=("id",)), [(1, "a"), (1, "b")])
        with pytest.raises(VerificationFailed, match="the key does not hold"):
            target.publish([bad])
        assert target.rows("bad") is None

    def test_a_text_that_is_too_long_for_a_key_is_refused_with_its_row(self, harness: MysqlHarness) -> None:
        target, staging = harness.open(), a_staging(key=("name",))
        with pytest.raises(DataRefused, match=r"orders, column `name`, row 2: Data too long"):
            staged(target, staging, [(1, "a"), (2, "x" * 5_000)])

    def test_texts_that_differ_in_case_or_spaces_are_different_keys(self, harness: MysqlHarness) -> None:
        target, staging = harness.open(), a_staging(key=("name",))
        staged(target, staging, [(1, "a"), (2, "A"), (3, "a "), (4, "ä")])
        assert target.duplicate_keys(staging) == (0, ())
        target.publish([staging])
        assert pairs(target.read_staging(staging)) == [(1, "a"), (2, "A"), (3, "a "), (4, "ä")]

    def test_a_relation_that_foreign_keys_mean_is_not_replaced(self, harness: MysqlHarness) -> None:
        harness.database.run("CREATE TABLE orders (id int PRIMARY KEY)")
        harness.database.run("CREATE TABLE items (o int, FOREIGN KEY (o) REFERENCES orders (id))")
        with pytest.raises(InvalidDefinition, match=r"the foreign keys of .*items would go on to mean the old rows"):
            harness.open().check(a_staging(is_replace=True))

    def test_names_that_mysql_has_not_are_refused(self, harness: MysqlHarness) -> None:
        for relation in ("ends ", "\U0001f600", "mysql.user", "_pymigrate_checkpoint", "x" * 65):
            with pytest.raises(InvalidDefinition) as refused:
                harness.open().check(a_staging(relation))
            assert refused.value.field == "target.relation"
