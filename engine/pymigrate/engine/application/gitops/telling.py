"""The hosts of repositories are told what came of each commit: once for each state, in the background, never holding up a pass."""

import random

from pymigrate.engine.application.gitops.git_source_kinds import GIT_SOURCES, sources_in
from pymigrate.engine.application.gitops.host_accounts import HostAccounts
from pymigrate.engine.application.gitops.newest import Newest
from pymigrate.engine.application.gitops.pass_drafts import told_first
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.spelling import spell_count
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.git_hosts import CommitStatus, StatusState
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import definition_pb2
from pymigrate.v1 import git_source_pb2 as pb

CONTEXT = "pymigrate"
Key = tuple[str, str, str]  # the source's name and uid, and the commit
HELD_BACK = {
    pb.REVERSAL_STATE_AWAITING_APPROVAL: (StatusState.PENDING, "waits for approval to undo"),
    pb.REVERSAL_STATE_ROLLING_BACK: (StatusState.PENDING, "undoes"),
    pb.REVERSAL_STATE_BLOCKED: (StatusState.ERROR, "can't undo"),
}


class Telling:
    """Follows passes."""

    def __init__(self, store: Store, accounts: HostAccounts, clock: Clock, rng: random.Random) -> None:
        self._store = store
        self._accounts = accounts
        self._newest: Newest[Key, CommitStatus] = Newest("status", self._tell, clock, rng, clean=accounts.clean)

    def heard(self, source: pb.GitSource, revision: pb.GitRevision) -> None:
        """A pass has kept a revision. Returns at once."""
        if source.host.reports_commits and revision.commit:
            status = status_of(source, revision)
            self._newest.put((source.name, source.uid, revision.commit), status)

    async def restore(self) -> None:
        """What an engine that died may have left untold is told again; hosts leave alone what says the same."""

        def work(unit: Unit) -> list[tuple[pb.GitSource, pb.GitRevision]]:
            told = []
            for source in sources_in(unit):
                if source.host.reports_commits:
                    told += [
                        (source, pb.GitRevision.FromString(body))
                        for _, body in unit.git_records.revisions(source.uid, 0, 1)
                    ]
            return told

        for source, revision in await self._store.read(work):
            self.heard(source, revision)

    async def run_loop(self) -> None:
        """Tells, until it is cancelled."""
        await self._newest.run_loop()

    async def _tell(self, key: Key, status: CommitStatus) -> None:
        name, uid, _ = key
        source = await self._store.read(lambda unit: declared(unit, name, uid))
        if source is None or not source.host.reports_commits:
            return
        await self._accounts.tell_commit(source, status)


def declared(unit: Unit, name: str, uid: str) -> pb.GitSource | None:
    """A source as it is declared now; None where it is gone."""
    resource = unit.resources.get(name)
    return GIT_SOURCES.read(resource) if resource is not None and resource.uid == uid else None


def context_of(source: pb.GitSource) -> str:
    """What the statuses of a source are known by."""
    return f"{CONTEXT}/{last_segment(source.name)}"


def status_of(source: pb.GitSource, revision: pb.GitRevision) -> CommitStatus:
    """What is said of a commit that a pass came to."""
    state, description = _said(revision)
    return CommitStatus(revision.commit, context_of(source), state, description)


def _said(revision: pb.GitRevision) -> tuple[StatusState, str]:
    if revision.problems:
        return StatusState.FAILURE, told_first(revision.problems)
    count = revision.change_count
    match revision.state:
        case pb.GIT_REVISION_STATE_REFUSED:
            return StatusState.FAILURE, "refused"
        case pb.GIT_REVISION_STATE_REVERSING:
            runs = spell_count(len(revision.reversal.runs), "run")
            state, verb = HELD_BACK.get(revision.reversal.state, (StatusState.PENDING, "is to undo"))
            why = f": {revision.reversal.message}" if state is StatusState.ERROR and revision.reversal.message else ""
            return state, f"{verb} {runs}{why}"
        case pb.GIT_REVISION_STATE_CHECKED:
            return StatusState.SUCCESS, f"{count:,} would change, 0 problems"
        case pb.GIT_REVISION_STATE_CORRECTED:
            return StatusState.SUCCESS, f"{count:,} corrected, 0 problems"
        case _:
            kept = sum(each.action == definition_pb2.CHANGE_ACTION_KEEP for each in revision.changes)
            more = f", {kept:,} kept" if kept else ""
            return StatusState.SUCCESS, f"{count - kept:,} changed{more}, 0 problems"
