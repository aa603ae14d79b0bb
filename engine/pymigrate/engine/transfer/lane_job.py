"""What an attempt at a lane is asked to copy, and how far it got."""

from dataclasses import dataclass

from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.staging import Checkpoint, Staging
from pymigrate.engine.transfer.transforms.quarantine import Quarantine


@dataclass(frozen=True, slots=True)
class LaneJob:
    """What to copy, as whom. `source_state` is the state that the run froze, empty where the source has none. `is_alone`: no other lane
    has rows in the staging, so that it may be emptied. `is_followed`: what changes in the source is brought in afterwards, so that what is
    committed stays whatever has become of it."""

    dataset: str
    relation: SourceRelation
    staging: Staging
    lane: str
    fence: int
    source_state: str = ""
    is_alone: bool = True
    is_followed: bool = False
    quarantine: Quarantine | None = None


@dataclass(frozen=True, slots=True)
class CopyOutcome:
    """How far the lane got in the target. `is_drained`: it was asked to stop, and there may be more to copy."""

    checkpoint: Checkpoint
    is_drained: bool
