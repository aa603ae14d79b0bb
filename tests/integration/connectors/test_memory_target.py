"""The fake target holds to the contract of the real ones: what is tested on it holds on them."""

from collections.abc import Sequence

import pytest

from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.staging import Staging
from pymigrate.engine.ports.target import Target
from pymigrate.engine.testing.connectors import MemoryConnector
from tests.integration.connectors.target_append_contract import AppendContract
from tests.integration.connectors.target_contract import LaneContract, StagingContract
from tests.integration.connectors.target_harness import COLUMNS
from tests.integration.connectors.target_merge_contract import MergeContract, SealContract
from tests.integration.connectors.target_publication_contract import PublicationContract
from tests.integration.connectors.target_quarantine_contract import QuarantineContract
from tests.integration.connectors.target_repair_contract import RepairContract


class MemoryHarness:
    """A database of this process."""

    has_views = False

    def __init__(self) -> None:
        self.system = SystemSpec("memory", "warehouse", {})
        self.connector = MemoryConnector()
        self.database = self.connector.databases["warehouse"]

    def open(self) -> Target:
        return self.connector.open_target(self.system)

    def make(self, relation: str, rows: Sequence[tuple[int, str | None]]) -> None:
        self.database.put(relation, COLUMNS, rows)

    def append(self, relation: str, row: tuple[int, str | None]) -> None:
        self.make(relation, [*self.read(relation), row])

    def change(self, relation: str, id: int, name: str) -> None:
        self.make(relation, [(at, name if at == id else text) for at, text in self.read(relation)])

    def change_one(self, relation: str, id: int, name: str) -> None:
        rows = self.database.read(relation)
        last = max(at for at, row in enumerate(rows) if row[0] == id)
        self.make(relation, [*rows[:last], (id, name), *rows[last + 1 :]])  # type: ignore[list-item]  # its columns

    def read_conflicts(self, relation: str, staging: Staging) -> list[tuple[str, int, str | None]]:
        raise AssertionError("there are no tables of conflicts")

    def drop(self, relation: str) -> None:
        del self.database.relations[relation]

    def make_view(self, view: str, relation: str) -> None:
        raise AssertionError("there are no views")

    def read(self, relation: str) -> list[tuple[int, str | None]]:
        return sorted(self.database.read(relation))  # type: ignore[arg-type]  # its columns


@pytest.fixture
def harness() -> MemoryHarness:
    return MemoryHarness()


class TestMemoryLanes(LaneContract):
    """See the contract."""


class TestMemoryStaging(StagingContract):
    """See the contract."""


class TestMemoryQuarantine(QuarantineContract):
    """Rows that are refused."""


class TestMemoryPublication(PublicationContract):
    """See the contract."""


class TestMemoryAppend(AppendContract, RepairContract):
    """Appending, and exchanging rows of a staging."""


class TestMemoryMerge(MergeContract, SealContract):
    """Merging, and what can't be undone any more."""
