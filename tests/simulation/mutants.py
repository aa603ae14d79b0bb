"""Worlds in which one part is wrong. The simulation is worth its time only as long as it notices every one of them.

Each mutant takes one guard away. Where that guard is doubled by another one, which is what makes the whole safe, the mutant that would
go unnoticed is not here: what a lease protects on the host's side, for one, the fence protects in the target once more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pymigrate.engine.domain.types import ColumnInfo
from pymigrate.engine.ports.ranges import Position
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.source import SourceChunk
from pymigrate.engine.testing.simulated_systems import SimulatedSource
from pymigrate.engine.testing.weather import Spell, Trouble
from pymigrate.engine.transfer.attempt import copy_lane
from pymigrate.engine.transfer.lane_job import CopyOutcome, LaneJob
from tests.simulation.core_mutants import (
    CoreOfOneFence,
    CoreThatLosesTasks,
    CoreThatTriesForEver,
    CoreThatUndoesInAnyOrder,
    CoreThatUndoesNoData,
    CoreThatUndoesNoSteps,
    CoreWithoutCleaning,
    CoreWithoutDependencies,
    CoreWithoutDrain,
    CoreWithoutGates,
    CoreWithoutRetries,
    CoreWithoutVerification,
)
from tests.simulation.engine_mutants import (
    BoardOfTwoTransactions,
    BoardThatTellsFirst,
    BoardThatTrustsItsMemory,
    FollowupsWithoutLateCommits,
    RunnerWithoutVerification,
    SupervisorWithoutSweep,
    tells_afterwards,
    without_audit,
    without_comparing,
    without_outbox_row,
)
from tests.simulation.online_mutants import (
    CaptureThatForgets,
    CaptureThatLetsIn,
    CaptureThatReadsFirst,
    CaptureThatStays,
    CoreThatReadsBeforeItKeeps,
    RunnerThatLetsNobodyIn,
)
from tests.simulation.parts import REAL, Parts, VirtualLease
from tests.simulation.scenarios import (
    CHANGES_AMID_CRASHES,
    CHANGING_SOURCES,
    LATE_BEGINNINGS,
    LATE_COMMITS,
    LOCKED_TARGETS,
    LOST_COMMITS,
)
from tests.simulation.system_mutants import (
    SourceThatClaimsToStandStill,
    TargetOfTwoTransactions,
    TargetThatEmptiesItsStaging,
    TargetThatForgetsWhatWasThere,
    TargetThatIsHopeful,
    TargetThatPublishesOnce,
    TargetThatWritesAgain,
    TargetWithoutCheckpoint,
    TargetWithoutFence,
    TargetWithoutFenceColumn,
    TargetWithoutTombstone,
)

ALL = tuple(Trouble)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A world with one part wrong, the trouble that shows it soonest, and the seed that did so when this was written: others do too,
    and looking begins there to save time. `online_share` is how likely one of its phases is online: what is wrong with captures is seen in
    such phases alone, and what is wrong elsewhere is looked for in worlds that do not change with them. `scenario` is trouble that is
    arranged, where what is drawn shows it too seldom."""

    parts: Parts
    kinds: Sequence[Trouble] = ALL
    seen_at: int = 0
    online_share: float = 0.0
    scenario: Sequence[Spell] = ()


# The lane --------------------------------------------------------------------------------------------------------------------------


def without_frozen_state(job: LaneJob, *others: Any) -> CopyOutcome:
    """What the run knew of the source when it began is not compared with what it is now."""
    return copy_lane(replace(job, source_state=""), *others)


class LeaseWithoutDrain(VirtualLease):
    """A host that is asked to stop goes on."""

    def is_draining(self) -> bool:
        return False


class LeaseOfNoTime(VirtualLease):
    """A host whose clock stands still: its lease ends only when the engine tells it. This alone does no harm, for the fence keeps it out;
    where the fence is what is wrong, nothing else keeps it out either."""

    def is_lost(self) -> bool:
        return self._is_lost


class SourceThatSkips(SimulatedSource):
    """What is read after a position begins one chunk too late."""

    def chunks(
        self, relation: SourceRelation, columns: Sequence[ColumnInfo], after: Position | None
    ) -> Iterator[SourceChunk]:
        found = super().chunks(relation, columns, after)
        if after is not None:
            next(found, None)
        yield from found


HOSTS = (Trouble.HOST_CRASH, Trouble.HOST_STOPPED, Trouble.ENGINE_PARTITION, Trouble.ANSWERS_LOST)
TARGETS = (Trouble.COMMIT_UNKNOWN, Trouble.TARGET_PARTITION, Trouble.HOST_CRASH, Trouble.LOCK_CONFLICT)
CHANGES = (Trouble.SOURCE_CHANGED, Trouble.HOST_CRASH, Trouble.SOURCE_SLOW)
ENGINES = (Trouble.ENGINE_STOPPED, Trouble.ENGINE_CRASH, Trouble.STORE_FAILING, Trouble.ANSWERS_LOST)

MUTANTS: dict[str, Mutant] = {
    "core of one fence": Mutant(replace(REAL, core=CoreOfOneFence), HOSTS, seen_at=2),
    "core without dependencies": Mutant(replace(REAL, core=CoreWithoutDependencies), seen_at=2),
    "core without gates": Mutant(replace(REAL, core=CoreWithoutGates), seen_at=4),
    "core without verification": Mutant(replace(REAL, core=CoreWithoutVerification)),
    "core without retries": Mutant(replace(REAL, core=CoreWithoutRetries), seen_at=2),
    "core that tries for ever": Mutant(replace(REAL, core=CoreThatTriesForEver), CHANGES, seen_at=1),
    "core without drain": Mutant(
        replace(REAL, core=CoreWithoutDrain), (Trouble.SOURCE_SLOW, Trouble.HOST_SLOW), seen_at=36
    ),
    "core without cleaning": Mutant(replace(REAL, core=CoreWithoutCleaning), seen_at=11),
    "core that undoes no data": Mutant(replace(REAL, core=CoreThatUndoesNoData), seen_at=11),
    "core that undoes no steps": Mutant(replace(REAL, core=CoreThatUndoesNoSteps), seen_at=60),
    "core that undoes in any order": Mutant(
        replace(REAL, core=CoreThatUndoesInAnyOrder), (Trouble.NOTIFIER_DOWN,), seen_at=135
    ),
    "core that loses tasks": Mutant(replace(REAL, core=CoreThatLosesTasks), HOSTS, seen_at=2),
    "board that trusts its memory": Mutant(replace(REAL, board=BoardThatTrustsItsMemory), ENGINES, seen_at=21),
    "board that tells first": Mutant(replace(REAL, board=BoardThatTellsFirst), ENGINES, seen_at=117),
    "board of two transactions": Mutant(replace(REAL, board=BoardOfTwoTransactions)),
    "followups without late commits": Mutant(
        replace(REAL, followups=FollowupsWithoutLateCommits), (Trouble.ENGINE_STOPPED,), seen_at=86
    ),
    "supervisor without sweep": Mutant(replace(REAL, supervisor=SupervisorWithoutSweep), HOSTS),
    "runner without verification": Mutant(
        replace(REAL, runner=RunnerWithoutVerification), (), seen_at=112, scenario=CHANGING_SOURCES
    ),
    "notifier that tells afterwards": Mutant(
        replace(REAL, tells_first=tells_afterwards), (Trouble.NOTIFIER_DOWN,), seen_at=15
    ),
    "store without compare-and-set": Mutant(replace(REAL, unit=without_comparing), ENGINES, seen_at=2),
    "store without outbox row": Mutant(replace(REAL, unit=without_outbox_row)),
    "store without audit entry": Mutant(replace(REAL, unit=without_audit)),
    "target without fence": Mutant(replace(REAL, target=TargetWithoutFence), (), seen_at=27, scenario=LATE_COMMITS),
    "target without fence column": Mutant(
        replace(REAL, target=TargetWithoutFenceColumn, lease=LeaseOfNoTime), (Trouble.ENGINE_PARTITION,), seen_at=70
    ),
    "target without checkpoint": Mutant(replace(REAL, target=TargetWithoutCheckpoint), TARGETS, seen_at=5),
    "target of two transactions": Mutant(
        replace(REAL, target=TargetOfTwoTransactions), (Trouble.HOST_CRASH,), seen_at=6
    ),
    "target that is hopeful": Mutant(replace(REAL, target=TargetThatIsHopeful), (), seen_at=3, scenario=LOCKED_TARGETS),
    "target that writes again": Mutant(
        replace(REAL, target=TargetThatWritesAgain), (), seen_at=20, scenario=LOST_COMMITS
    ),
    "target that empties its staging": Mutant(replace(REAL, target=TargetThatEmptiesItsStaging), TARGETS),
    "target without tombstone": Mutant(
        replace(REAL, target=TargetWithoutTombstone), (), seen_at=25, scenario=LATE_BEGINNINGS
    ),
    "target that publishes once": Mutant(
        replace(REAL, target=TargetThatPublishesOnce), (), seen_at=14, scenario=LOST_COMMITS
    ),
    "target that forgets what was there": Mutant(replace(REAL, target=TargetThatForgetsWhatWasThere), (), seen_at=23),
    "source that claims to stand still": Mutant(
        replace(REAL, source=SourceThatClaimsToStandStill), (), seen_at=4, scenario=CHANGES_AMID_CRASHES
    ),
    "source that skips": Mutant(replace(REAL, source=SourceThatSkips), TARGETS, seen_at=15),
    "core that reads before it keeps": Mutant(
        replace(REAL, core=CoreThatReadsBeforeItKeeps), seen_at=1, online_share=1.0
    ),
    "capture that lets in": Mutant(replace(REAL, capture=CaptureThatLetsIn), online_share=1.0),
    "capture that forgets": Mutant(
        replace(REAL, capture=CaptureThatForgets), (), seen_at=248, online_share=1.0, scenario=LOCKED_TARGETS
    ),
    "capture that reads first": Mutant(replace(REAL, capture=CaptureThatReadsFirst), seen_at=5, online_share=1.0),
    "capture that stays": Mutant(replace(REAL, capture=CaptureThatStays), online_share=1.0),
    "runner that lets nobody in": Mutant(
        replace(REAL, runner=RunnerThatLetsNobodyIn), TARGETS, seen_at=159, online_share=1.0
    ),
    "lane without frozen state": Mutant(
        replace(REAL, copy=without_frozen_state), (), seen_at=204, scenario=CHANGING_SOURCES
    ),
    "lease without drain": Mutant(
        replace(REAL, lease=LeaseWithoutDrain), (Trouble.SOURCE_SLOW, Trouble.HOST_SLOW), seen_at=36
    ),
}
