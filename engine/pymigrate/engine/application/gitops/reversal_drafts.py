"""What is to be undone for a commit that goes back, as a pass asks before it applies it. It follows from what the store holds alone, and
nothing of it is written here."""

from collections.abc import Callable, Collection, Sequence

from pymigrate.engine.application.gitops.applying import Applied
from pymigrate.engine.application.gitops.read_commits import ReadCommit
from pymigrate.engine.application.gitops.reversal_looking import bringing, rewind_for
from pymigrate.engine.application.gitops.reversal_messages import (
    DONE,
    REPORTED,
    ROLLING_BACK,
    asked_of,
    has_begun,
    how_it_stands,
    is_open,
    run_messages,
    settle,
    told_followers,
    told_left_alone,
)
from pymigrate.engine.application.gitops.revision_history import KnownHashes
from pymigrate.engine.application.policies import policy_of
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.reversals import Progress, reverted_commits
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.repository import Commit, Repository
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import environment_pb2, git_source_pb2

COMMITS_MAX = 1_000
_LEFT_ALONE = (environment_pb2.REVERT_POLICY_UNSPECIFIED, environment_pb2.REVERT_POLICY_REPORT)


class ReversalDrafts:
    """For commits of all sources. `note` is told of a source whose reversal is to be gone on with."""

    def __init__(self, store: Store, clock: Clock, note: Callable[[str], None]) -> None:
        self._store = store
        self._clock = clock
        self._note = note
        self._hashes = KnownHashes()

    async def reverted(
        self, source: git_source_pb2.GitSource, declared: Collection[str], between: Sequence[Commit], copy: Repository
    ) -> frozenset[int]:
        """The numbers of the revisions that brought plans which are declared no longer, by a commit which one of these says it reverts."""
        # Read here, where nobody waits for it, so that nothing of it is left for the transaction that applies the commit.
        await self._store.read(lambda unit: self._hashes.of(unit, source.uid))
        said = tuple({sha for commit in between for sha in reverted_commits(commit.message)})
        if not said:
            return frozenset()
        found = set()
        for before, revision in await self._store.read(lambda unit: bringing(unit, source.uid, declared)):
            if not await copy.has(revision.commit) or (before and not await copy.has(before)):
                continue  # it was pushed away since: nobody can revert what is not there
            commits = await copy.between(before, revision.commit, COMMITS_MAX)
            if any(commit.sha.startswith(said) for commit in commits):
                found.add(revision.number)
        return frozenset(found)

    def look(self, unit: Unit, commit: ReadCommit, staged: Applied) -> git_source_pb2.Reversal | None:
        """What is undone for a commit, or would be; None: nothing. It writes nothing."""
        looked, sha = commit.looked, commit.target.sha
        known = looked.status.reversal
        if known.state == ROLLING_BACK and known.commit != sha:
            return known  # it comes to its end first
        same = known if known.commit == sha else git_source_pb2.Reversal()
        plans = {each.plan: each.plan_hash for each in staged.plans if each.plan_hash}
        found = rewind_for(unit, looked.source.uid, sha, commit.target.tree, plans, commit.reverted, self._hashes)
        if found is None:
            return _without_any(same)
        fresh = git_source_pb2.Reversal(commit=sha, reverted_commits=found.rewind.commits)
        if same.HasField("create_time"):
            fresh.create_time.CopyFrom(same.create_time)
        else:
            fresh.create_time.FromDatetime(self._clock.now())
        policies = {
            environment: policy_of(unit, environment)
            for environment in {environment_of(run.plan) for run in found.rewind.runs}
        }
        undone = [
            run for run in found.rewind.runs if policies[environment_of(run.plan)].revert_policy not in _LEFT_ALONE
        ]
        if not undone:
            fresh.state = REPORTED
            fresh.runs.extend(run_messages(found.rewind.runs))
            fresh.message = how_it_stands(fresh) + told_followers(found.rewind)
            return fresh
        asked = asked_of(same)
        fresh.runs.extend(_with_known(same.runs, run_messages(undone, asked)))
        asking = [each for each in policies.values() if each.revert_policy == environment_pb2.REVERT_POLICY_APPROVE]
        fresh.approvals_min = max((max(each.approvals_min, 1) for each in asking), default=0)
        fresh.approved_by.extend(same.approved_by)
        step = Progress(undone, asked, found.dependencies).next_step()
        settle(fresh, step, is_begun=has_begun(same))
        fresh.message += told_left_alone(len(found.rewind.runs) - len(undone)) + told_followers(found.rewind)
        return fresh

    def note(self, name: str) -> None:
        """A source has a reversal that is to be gone on with."""
        self._note(name)


def _with_known(
    known: Sequence[git_source_pb2.ReversedRun], fresh: Sequence[git_source_pb2.ReversedRun]
) -> list[git_source_pb2.ReversedRun]:
    """Runs that have come since first, then those that were known, with the phases and rows that they had then."""
    now = {each.run: each for each in fresh}
    kept = []
    for each in known:
        run = git_source_pb2.ReversedRun()
        run.CopyFrom(each)
        if each.run in now:
            run.state, run.is_undone = now[each.run].state, now[each.run].is_undone
            del run.sealed_phases[:]
            run.sealed_phases.extend(now[each.run].sealed_phases)
        kept.append(run)
    before = {each.run for each in known}
    return [*(each for each in fresh if each.run not in before), *kept]


def _without_any(same: git_source_pb2.Reversal) -> git_source_pb2.Reversal | None:
    """What becomes of a reversal where nothing holds data any more: what was undone by hand is settled like the rest."""
    if same.state == DONE:
        return same
    if not is_open(same):
        return None
    found = git_source_pb2.Reversal()
    found.CopyFrom(same)
    found.state = ROLLING_BACK
    found.message = how_it_stands(found)
    return found
