"""What the engine keeps of estimates: what was measured of each dataset, what was estimated for each run, and how far both lay off.

Bodies are messages as the contract encodes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pymigrate.engine.domain.calibration import Sample


@dataclass(frozen=True, slots=True)
class KeptEstimate:
    """What was estimated for a run when it was created. `attempt` is the run's attempt that it was last settled at, which is when what
    happened was put beside it; 0: not yet."""

    run: str
    plan: str
    create_time: datetime
    body: bytes
    attempt: int = 0


class Measures(Protocol):
    """What was measured of datasets. A place is `phase/dataset`."""

    def get(self, plan: str, place: str) -> bytes | None:
        """The newest measurement of a dataset."""
        ...

    def put(self, plan: str, place: str, body: bytes) -> None:
        """Keeps it in place of an earlier one."""
        ...

    def list(self, plan: str) -> Mapping[str, bytes]:
        """All measurements of a plan by place, in order."""
        ...


class Estimates(Protocol):
    """What was estimated for runs."""

    def get(self, run: str) -> KeptEstimate | None:
        """The estimate of a run."""
        ...

    def insert(self, estimate: KeptEstimate) -> None:
        """Raises AlreadyExists: the first one stays."""
        ...

    def list(self, plan: str, limit: int) -> Sequence[KeptEstimate]:
        """At most `limit` estimates of a plan, the newest first."""
        ...

    def unsettled(self, limit: int) -> Sequence[str]:
        """Names of at most `limit` runs that have ended and whose estimate was not settled at their present attempt, ordered by name."""
        ...

    def settle(self, run: str, attempt: int, body: bytes) -> bool:
        """Puts what happened beside the estimate. False: it was settled at this attempt or a later one already, or there is none."""
        ...


class Samples(Protocol):
    """How far estimates lay off: one sample for each key, run and place."""

    def add(self, environment: str, samples: Mapping[str, Sequence[Sample]]) -> None:
        """Keeps those by key that are not there yet; what is there stays as it is."""
        ...

    def newest(self, environment: str, key: str, limit: int) -> Sequence[Sample]:
        """At most `limit` samples of a key, the newest first."""
        ...

    def newest_below(self, environment: str, prefix: str, limit: int) -> Mapping[str, Sequence[Sample]]:
        """At most `limit` samples of each key that begins with `prefix`, which ends in `/`, by key; the newest first."""
        ...
