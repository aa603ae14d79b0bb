"""What a probe is asked to copy, and what it found."""

from dataclasses import dataclass, field

from pymigrate.engine.ports.relations import UNKNOWN
from pymigrate.engine.transfer.lane_job import LaneJob
from pymigrate.engine.transfer.verification_job import VerifyJob

NOT_DONE = -1.0


@dataclass(frozen=True, slots=True)
class ProbeJob:
    """The lane whose beginning is copied, into a scratch relation, and how much of it: for so many seconds, and so many bytes (0: any
    number). The lane's name is used once. `verify` is how the sample is compared; None: it is neither compared nor published. `notes`
    are told with what is found."""

    lane: LaneJob
    seconds_max: float
    bytes_max: int = 0
    verify: VerifyJob | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProbedChunk:
    """A chunk that was committed: its seconds are those from the end of the one before, and `source_seconds` what it took to be read."""

    rows: int
    bytes: int
    seconds: float
    source_seconds: float = 0.0


@dataclass(slots=True)
class Probed:
    """Seconds of every step, `NOT_DONE` where it was not taken, those of all of it with what lies between, and what went wrong after
    copying. `target_bytes` are UNKNOWN where the target does not tell."""

    open_seconds: float = 0.0
    chunks: list[ProbedChunk] = field(default_factory=list)
    close_seconds: float = 0.0
    is_whole: bool = False
    verify_seconds: float = NOT_DONE
    verified_rows: int = 0
    publish_seconds: float = NOT_DONE
    drop_seconds: float = NOT_DONE
    target_bytes: int = UNKNOWN
    task_seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
