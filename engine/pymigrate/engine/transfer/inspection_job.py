"""What an inspection is asked to look at, and what it finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.paths import Choice, choose
from pymigrate.engine.domain.schema import SchemaPart
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import SourceRange
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation
from pymigrate.engine.ports.staging import Delivery, MergePolicy, StagingId, TableDdl
from pymigrate.engine.transfer.transforms.quarantine import Quarantine

ARROW = choose({}, {})
NOTHING = TableDdl()


@dataclass(frozen=True, slots=True)
class InspectJob:
    """What to look at. `references` are the referring columns by the reference's name. `lanes_max` is how many lanes the dataset may be
    split into; 0: one for each LANE_BYTES of a source that tells whether it has changed, at most LANES_AUTOMATIC_MAX. `is_unverified`:
    nothing is to be read back. `relations` are where the plan's datasets of the same source and target go, by source relation; `omit` is
    what the target is spared. `is_followed`: what changes in the source is to be brought in. `ending` is that of a files target's parts."""

    relation: SourceRelation
    staging_id: StagingId
    target_relation: str
    is_replace: bool
    source_system: SystemSpec
    target_system: SystemSpec
    references: Mapping[str, Sequence[str]] = field(default_factory=dict)
    merge: MergePolicy | None = None
    is_append: bool = False
    order_column: str = ""
    is_unverified: bool = False
    lanes_max: int = 1
    is_transformed: bool = False
    relations: Mapping[str, str] = field(default_factory=dict)
    omit: frozenset[SchemaPart] = frozenset()
    is_followed: bool = False
    quarantine: Quarantine | None = None
    ending: str = ""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found. `source` is None when it could not be described; fields of `problems` are relative to the dataset. `ranges` are
    what its lanes copy; empty: one lane copies everything. `ddl` is what would be declared, and
    `delivery` what the target guarantees."""

    source: RelationInfo | None
    source_state: str
    is_target_present: bool
    target_rows: int
    problems: tuple[Problem, ...]
    choice: Choice = ARROW
    ranges: tuple[SourceRange, ...] = ()
    ddl: TableDdl = NOTHING
    delivery: Delivery = Delivery.AT_LEAST_ONCE
