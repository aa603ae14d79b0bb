"""Who looks whether a commit goes back behind what ran, as a pass asks for it."""

from collections.abc import Sequence
from typing import Protocol

from pymigrate.engine.application.gitops.applying import Applied
from pymigrate.engine.application.gitops.pass_drafts import Looked
from pymigrate.engine.ports.repository import Commit
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import git_source_pb2


class Reversals(Protocol):
    """Who decides what becomes of runs whose plans a commit goes back behind."""

    def look(
        self,
        unit: Unit,
        looked: Looked,
        commit: Commit,
        tree: str,
        commits_between: Sequence[Commit],
        staged: Applied,
    ) -> git_source_pb2.Reversal | None:
        """What is, or would be, undone for a commit; None: nothing. In any state but `done` and `reported` it is held back. Called in the
        transaction that would apply the commit, before anything of it is stored, and by checks in one that only reads; it writes
        nothing."""
        ...


class NoReversals:
    """Where nothing is ever undone."""

    def look(
        self,
        unit: Unit,
        looked: Looked,
        commit: Commit,
        tree: str,
        commits_between: Sequence[Commit],
        staged: Applied,
    ) -> git_source_pb2.Reversal | None:
        """Nothing."""
        del unit, looked, commit, tree, commits_between, staged
        return None


GOES_ON = frozenset({git_source_pb2.REVERSAL_STATE_DONE, git_source_pb2.REVERSAL_STATE_REPORTED})


def is_held_back(reversal: git_source_pb2.Reversal | None) -> bool:
    """Whether a commit waits for what is undone for it."""
    return reversal is not None and reversal.state not in GOES_ON
