"""What a verification is asked to compare, and what comparing gave."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pymigrate.engine.domain.sampling import SAMPLED_BYTES_MAX
from pymigrate.engine.ports.ranges import SourceRange
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.staging import ReferenceCheck, Staging
from pymigrate.engine.transfer.transforms.quarantine import Quarantine


class Level(StrEnum):
    """How much is read back and compared."""

    COUNT = "count"
    SAMPLED = "sampled"
    FULL = "full"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class NamedReference:
    """A reference to check. `is_fatal`: what dangles fails the verification rather than being reported."""

    check: ReferenceCheck
    is_fatal: bool = False


@dataclass(frozen=True, slots=True)
class VerifyJob:
    """What to compare. `ranges` are those of the lanes; none where one lane copied everything. A key in `staging` is claimed to be
    unique. A repair is made under `fence`, the task's own. `has_code`: code of
    others made the rows, and is to make them again. `is_transformed`: positions count the source's rows, which may be more than were
    written. A sample is enough for what has more bytes than `sampled_bytes_max`."""

    dataset: str
    relation: SourceRelation
    staging: Staging
    lanes: tuple[str, ...]
    level: Level
    references: Mapping[str, NamedReference] = field(default_factory=dict)
    fence: int = 1
    has_code: bool = False
    is_transformed: bool = False
    quarantine: Quarantine | None = None
    ranges: tuple[SourceRange, ...] = ()
    sampled_bytes_max: int = SAMPLED_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Digests:
    """What reading back gave."""

    source: str = ""
    target: str = ""
    rows: int = 0
