"""Pull requests to a source's branch: their head is checked as a pass would, and what it would change and cost is said in a comment, with a
status on the commit. Nothing is stored, and no system is looked at: whoever proposes something has no say yet in what is connected to."""

import random
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from pymigrate.engine.application.gitops.applying import Applied
from pymigrate.engine.application.gitops.host_accounts import HostAccounts
from pymigrate.engine.application.gitops.newest import Newest
from pymigrate.engine.application.gitops.pull_request_texts import (
    PlanImpact,
    Told,
    comment_of,
    marker_of,
    unchecked_of,
)
from pymigrate.engine.application.gitops.source_staging import Looking
from pymigrate.engine.application.gitops.telling import context_of, declared, status_of
from pymigrate.engine.application.gitops.webhook_events import PullRequest, PullRequestAction
from pymigrate.engine.application.impacts import Impacts, Proposed
from pymigrate.engine.domain.errors import PermanentError, RepositoryRefused
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.git_hosts import CommitStatus, StatusState
from pymigrate.engine.ports.repository import Reference, ReferenceKind
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import definition_pb2
from pymigrate.v1 import git_source_pb2 as pb

log = structlog.get_logger(__name__)
SETTLE_SECONDS = 0.5
PLANS_MAX = 5
DRAWS = 100
COMMIT_CHARACTERS = (40, 64)
Key = tuple[str, str, int]  # the source's name and uid, and the pull request's number
HEADS = {
    pb.GIT_PROVIDER_GITHUB: "refs/pull/{number}/head",
    pb.GIT_PROVIDER_GITLAB: "refs/merge-requests/{number}/head",
}
WRITTEN = (definition_pb2.CHANGE_ACTION_CREATE, definition_pb2.CHANGE_ACTION_UPDATE)
FORK = "FORK"
FORK_SAID = "the commit is in another repository, which is not read: push the branch to this one to have it checked"


class ChecksCommits(Protocol):
    """Tells what a commit would change."""

    async def check(
        self, name: str, reference: Reference | None = None, looking: Looking | None = None
    ) -> pb.GitRevision:
        """What a commit would change; nothing is stored. `looking` is called with a unit in which it is applied, the unit as it is, and
        what differs. Raises what is wrong with the repository."""
        ...


@dataclass(slots=True)
class _Plans:
    """The plans that a commit changes, as it has them and as they are."""

    proposed: list[Proposed] = field(default_factory=list)
    stored: dict[str, Proposed] = field(default_factory=dict)
    left_out_count: int = 0


class PullRequests:
    """Answers pull requests, the newest head of each."""

    def __init__(
        self,
        store: Store,
        passes: ChecksCommits,
        impacts: Impacts,
        accounts: HostAccounts,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._store = store
        self._passes = passes
        self._impacts = impacts
        self._accounts = accounts
        self._newest: Newest[Key, PullRequest] = Newest(
            "pull request", self._answer, clock, rng, SETTLE_SECONDS, accounts.clean
        )

    def __len__(self) -> int:
        """How many are still to be answered."""
        return len(self._newest)

    def asked(self, source: pb.GitSource, event: PullRequest) -> None:
        """Something happened to a pull request. Returns at once."""
        key = (source.name, source.uid, event.number)
        if event.action is PullRequestAction.CLOSED:
            self._newest.drop(key)
        else:
            self._newest.put(key, event)

    async def run_loop(self) -> None:
        """Answers, until it is cancelled."""
        await self._newest.run_loop()

    async def _answer(self, key: Key, event: PullRequest) -> None:
        name, uid, number = key
        source = await self._store.read(lambda unit: declared(unit, name, uid))
        if source is None or not source.host.reports_pull_requests:
            return
        reference = head_of(source, event)
        if reference is None:
            text = unchecked_of(name, event.head, FORK, FORK_SAID)
            await self._accounts.tell_pull_request(source, number, marker_of(name), text)
            return
        try:
            told = await self._told(source, reference)
        except PermanentError as error:
            await self._refuse(source, event, error)
            return
        await self._accounts.tell_pull_request(source, number, marker_of(name), comment_of(told))
        await self._accounts.tell_commit(source, status_of(source, told.revision))
        log.info("pull_request.answered", source=name, number=number, commit=told.revision.commit)

    async def _told(self, source: pb.GitSource, reference: Reference) -> Told:
        plans = _Plans()

        def looking(after: Unit, before: Unit, applied: Applied) -> None:
            """It may be called again."""
            changed = _changed(applied)
            plans.proposed = self._impacts.proposed(after, changed[:PLANS_MAX])
            stored = self._impacts.proposed(before, [each.plan for each in plans.proposed])
            plans.stored = {each.plan: each for each in stored}
            plans.left_out_count = len(changed) - len(plans.proposed)

        revision = await self._passes.check(source.name, reference, looking)
        impacts = [] if revision.problems else [await self._impact(each, plans) for each in plans.proposed]
        return Told(source.name, revision, impacts, plans.left_out_count)

    async def _impact(self, proposed: Proposed, plans: _Plans) -> PlanImpact:
        stored = plans.stored.get(proposed.plan)
        try:
            after = await self._impacts.recall(proposed, DRAWS)
        except PermanentError as error:
            return PlanImpact(proposed.plan, said=error.message)
        try:
            before = await self._impacts.recall(stored, DRAWS) if stored is not None else None
        except PermanentError as error:
            return PlanImpact(proposed.plan, after, said=error.message)
        return PlanImpact(proposed.plan, after, before)

    async def _refuse(self, source: pb.GitSource, event: PullRequest, error: PermanentError) -> None:
        """The head can't be checked: the repository, or what it holds, is not taken."""
        path = f"{error.path}: " if isinstance(error, RepositoryRefused) and error.path else ""
        said = f"{path}{error.message}"
        text = unchecked_of(source.name, event.head, error.reason, said)
        await self._accounts.tell_pull_request(source, event.number, marker_of(source.name), text)
        if len(event.head) in COMMIT_CHARACTERS:
            status = CommitStatus(event.head, context_of(source), StatusState.FAILURE, f"{error.reason}: {said}")
            await self._accounts.tell_commit(source, status)


def head_of(source: pb.GitSource, event: PullRequest) -> Reference | None:
    """Where the newest commit of a pull request is in the source's repository, whatever the event says; None where it is not there."""
    form = HEADS.get(source.host.provider)
    if form is not None:
        return Reference(ReferenceKind.NAME, form.format(number=event.number))
    return None if event.is_fork else Reference(ReferenceKind.BRANCH, event.source_branch)


def _changed(applied: Applied) -> list[str]:
    """The plans that would be others: by their hash, or by what it does not count, such as their lanes."""
    written = {each.name for each in applied.changes if each.action in WRITTEN}
    return [
        each.plan
        for each in applied.plans
        if each.plan_hash and (each.plan_hash != each.plan_hash_before or each.plan in written)
    ]
