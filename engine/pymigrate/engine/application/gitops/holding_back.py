"""Who looks whether a commit goes back behind what ran, as a pass asks for it."""

from collections.abc import Collection, Sequence
from typing import Protocol

from pymigrate.engine.application.gitops.applying import Applied
from pymigrate.engine.application.gitops.conditions import ConditionType
from pymigrate.engine.application.gitops.pass_drafts import Draft
from pymigrate.engine.application.gitops.read_commits import ReadCommit
from pymigrate.engine.ports.repository import Commit, Repository
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import git_source_pb2


class Reversals(Protocol):
    """Who decides what becomes of runs whose plans a commit goes back behind."""

    async def reverted(
        self, source: git_source_pb2.GitSource, declared: Collection[str], between: Sequence[Commit], copy: Repository
    ) -> Collection[int]:
        """The revisions that brought plans which are declared no longer, by what one of these commits says it reverts."""
        ...

    def look(self, unit: Unit, commit: ReadCommit, staged: Applied) -> git_source_pb2.Reversal | None:
        """What is, or would be, undone for a commit; None: nothing. In any state but `done` and `reported` it is held back. Called in the
        transaction that would apply the commit, before anything of it is stored, and by checks in one that only reads; it writes
        nothing."""
        ...

    def note(self, name: str) -> None:
        """What `look` said of a source is kept: it is to be gone on with."""
        ...


class NoReversals:
    """Where nothing is ever undone."""

    async def reverted(
        self, source: git_source_pb2.GitSource, declared: Collection[str], between: Sequence[Commit], copy: Repository
    ) -> Collection[int]:
        """None."""
        del source, declared, between, copy
        return ()

    def look(self, unit: Unit, commit: ReadCommit, staged: Applied) -> git_source_pb2.Reversal | None:
        """Nothing."""
        del unit, commit, staged
        return None

    def note(self, name: str) -> None:
        """Nothing."""


GOES_ON = frozenset({git_source_pb2.REVERSAL_STATE_DONE, git_source_pb2.REVERSAL_STATE_REPORTED})


def is_held_back(reversal: git_source_pb2.Reversal | None) -> bool:
    """Whether a commit waits for what is undone for it."""
    return reversal is not None and reversal.state not in GOES_ON


def drop_reversal(draft: Draft) -> None:
    """What a commit asked to be undone that is applied now, or that another one has replaced. What is under way comes to its end first."""
    reversal, is_same = draft.status.reversal, draft.status.seen_commit == draft.looked.status.applied_commit
    has_one, is_told = draft.status.HasField("reversal"), ConditionType.REVERSED in draft.findings.found
    if not has_one and not is_same and not is_told:
        draft.findings.meet(ConditionType.REVERSED, "NOTHING_TO_REVERSE", "no commit asks for runs to be undone")
    if not has_one or (is_same and reversal.state == git_source_pb2.REVERSAL_STATE_ROLLING_BACK):
        return
    if not is_told:
        said = f"another commit has taken the place of {reversal.commit}, which asked for runs to be undone"
        if reversal.state == git_source_pb2.REVERSAL_STATE_DONE:
            said = (
                f"runs were undone for commit {reversal.commit}, and another has taken its place: run the plans again"
            )
        draft.findings.meet(ConditionType.REVERSED, "REPLACED", said)
    draft.status.ClearField("reversal")
