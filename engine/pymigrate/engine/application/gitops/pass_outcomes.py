"""What is asked of passes, what comes of them, and what is known of a source between two of them."""

import asyncio
from dataclasses import dataclass, field

from pymigrate.engine.application.gitops.applying import Applied
from pymigrate.engine.application.gitops.holding_back import is_held_back
from pymigrate.engine.application.gitops.pass_drafts import GIT_ACTOR, Looked
from pymigrate.engine.application.gitops.source_reading import Target
from pymigrate.engine.domain.errors import FailedPrecondition, PyMigrateError
from pymigrate.engine.ports.clock import Clock
from pymigrate.v1 import definition_pb2, git_source_pb2

KEPT_AGAIN_SECONDS = 300.0  # after which what is kept against a commit is tried again


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks of the next pass besides that it comes: to apply although the source only looks by itself, in whose name; or that
    they were told of a push."""

    actor: str = GIT_ACTOR
    applies: bool = False
    is_pushed: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a pass. `result` is a word for metrics; `revision` what is kept of a commit since, empty where nothing is new;
    `error` what ended the pass, if anything."""

    result: str
    is_well: bool
    revision: git_source_pb2.GitRevision = field(default_factory=git_source_pb2.GitRevision)
    error: PyMigrateError | None = None
    source: git_source_pb2.GitSource = field(default_factory=git_source_pb2.GitSource)
    status: git_source_pb2.GitSourceStatus = field(default_factory=git_source_pb2.GitSourceStatus)


@dataclass(slots=True)
class Known:
    """What is known of a source in memory alone. `settled`: with this head, digest and version of it there was nothing to do;
    `kept_as`: and with this applied commit, while another one can't be applied."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    settled: tuple[str, str, int] | None = None
    kept_since: float = 0.0
    kept_as: tuple[str, str, int] | None = None
    fetched: float = 0.0
    applied: float = 0.0
    status: git_source_pb2.GitSourceStatus = field(default_factory=git_source_pb2.GitSourceStatus)

    def settle(self, looked: Looked, target: Target, staged: Applied, digest: str, clock: Clock) -> None:
        """There is nothing more to do for this commit while the digest stays. What is kept against the commit is tried again later."""
        self.settled = (target.head, digest, looked.version)
        has_kept = any(each.action == definition_pb2.CHANGE_ACTION_KEEP for each in staged.changes)
        self.kept_since = clock.monotonic() if has_kept else 0.0

    def is_settled(self, looked: Looked, head: str, clock: Clock) -> bool:
        """Whether there is nothing to do: as this engine found already, or as the one before has kept it."""
        if looked.status.HasField("reversal") and is_held_back(looked.status.reversal):
            return False
        if self.settled == (head, looked.digest, looked.version):
            return not self.kept_since or clock.monotonic() - self.kept_since < KEPT_AGAIN_SECONDS
        status = looked.status
        return (
            self.settled is None
            and not looked.source.promotion.pin_file
            and head == status.applied_commit == status.seen_commit
            and looked.digest == status.objects_digest
            and not status.problems
            and not status.drift
            and not status.is_suspended
        )


def refuse_suspended(status: git_source_pb2.GitSourceStatus, name: str) -> None:
    """Raises FailedPrecondition where a source is suspended."""
    if status.is_suspended:
        why = f" ({status.suspend_reason})" if status.suspend_reason else ""
        raise FailedPrecondition(f"{name} is suspended by {status.suspended_by}{why}: resume it first, or only check")
