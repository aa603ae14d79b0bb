"""A pull request is answered with what it would change and cost, by its newest head, with nothing stored and no system looked at."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf import json_format

from pymigrate.engine.application.gitops.git_source_kinds import GIT_SOURCES
from pymigrate.engine.application.gitops.host_accounts import HostAccounts
from pymigrate.engine.application.gitops.pull_requests import PullRequests
from pymigrate.engine.application.gitops.webhook_events import PullRequest, PullRequestAction
from pymigrate.engine.domain.errors import GitHostUnavailable, RepositoryRefused, RepositoryUnavailable
from pymigrate.engine.ports.git_hosts import StatusState
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secrets import Secret
from pymigrate.engine.testing.git_hosts import MemoryGitHosts
from pymigrate.engine.testing.repositories import MemoryHosted, MemoryRepositories
from pymigrate.v1 import git_source_pb2 as pb
from tests.git_hosts.sources import SecretsOfSources
from tests.unit.application.analyzed import Analyzed
from tests.unit.application.engines import ME, PLAN, phase
from tests.unit.application.gitops.sourced import URL, PlayedRuns, SourceParts

MARKER = "<!-- pymigrate:warehouse -->"
HEAD = "refs/pull/7/head"


def plan(*relations: str, policy: str = "offline") -> str:
    """The plan as a file declares it."""
    datasets = "\n".join(
        f"        {name}: {{source: {{connection: legacy, relation: {name}}}, target: {{connection: warehouse, relation: {name}}}}}"
        for name in relations
    )
    return f"""apiVersion: pymigrate.io/v1alpha1
kind: Plan
metadata: {{name: p}}
spec:
  phases:
    a:
      department: sales
      downtimePolicy: {policy}
      datasets:
{datasets}
"""


class Scene:
    """An engine whose plan was measured, a source that may take it over, and a repository with a pull request."""

    def __init__(self, provider: str = "GITHUB") -> None:
        self.analyzed = Analyzed()
        engine = self.engine = self.analyzed.engine
        self.redactor, self.hosted, self.hosts = Redactor(), MemoryHosted(), MemoryGitHosts()
        repositories = MemoryRepositories()
        repositories.hosted[URL] = self.hosted
        parts = SourceParts(
            engine.store, engine.surroundings, engine.catalog, repositories, PlayedRuns(), self.redactor
        )
        self.passes = parts.passes
        accounts = HostAccounts(self.hosts, SecretsOfSources(), self.redactor.clean)
        self.pull_requests = PullRequests(
            engine.store, parts.passes, engine.impacts, accounts, engine.clock, random.Random(1)
        )
        self.provider = provider
        self.source = pb.GitSource()

    async def declare(self, **fields: Any) -> None:
        """The plan, measured, and the source."""
        await self.analyzed.declare({"a": phase("orders")})
        await self.analyzed.analyze(probe_seconds_max=30)
        host = {
            "provider": f"GIT_PROVIDER_{self.provider}",
            "repository": "acme/definitions",
            "token": "env://TOKEN",
            "reportsPullRequests": True,
        }
        said = {"url": URL, "environment": "e", "takenOverSides": ["api"], "host": host, **fields}
        source = json_format.ParseDict(said, pb.GitSource())
        self.source = await self.engine.store.transact(
            lambda unit: self.engine.catalog.create(unit, GIT_SOURCES, "", "warehouse", source, ME)
        )

    def push(self, text: str, reference: str = HEAD, branch: str = "change") -> str:
        """Pushes to the branch of the pull request."""
        sha = self.hosted.commit({"p.yaml": text}, "Change the plan", branch)
        self.hosted.names[reference] = sha
        return sha

    def ask(self, action: PullRequestAction = PullRequestAction.OPENED, **changed: Any) -> None:
        """The host tells of the pull request."""
        given: dict[str, Any] = {"head": "f" * 40, "source_branch": "change", "target_branch": "main", **changed}
        self.pull_requests.asked(self.source, PullRequest("acme/definitions", action, 7, **given))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The loop that answers."""
        loop = asyncio.create_task(self.pull_requests.run_loop())
        yield
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)

    async def answered(self, count: int = 1) -> str:
        """The comment, after so many were made."""
        for _ in range(2_000):
            if self.hosts.told_count >= count and not len(self.pull_requests):
                break
            await self.engine.clock.run_for(0.1)
            await asyncio.sleep(0.001)  # threads read files and tell figures
        assert self.hosts.told_count == count
        return self.hosts.comments.get((7, MARKER), "")

    def statuses(self) -> list[tuple[str, StatusState, str]]:
        """What was told of which commit."""
        return [(each.commit, each.state, each.description) for each in self.hosts.statuses]


async def test_a_pull_request_is_told_what_it_would_change_and_cost() -> None:
    scene = Scene()
    await scene.declare()
    sha = scene.push(plan("orders", policy="read_only"))
    async with scene.running():
        scene.ask()
        text = await scene.answered()
    assert f"| update | `{PLAN}` |" in text
    assert "`phases.a.downtime_policy`" in text
    assert f"**`{PLAN}`**" in text
    assert "| duration | 1 min 40 s (P90 1 min 58 s) | 1 min 40 s (P90 1 min 58 s) |" in text
    assert "| downtime | 1 min 40 s (P90 1 min 58 s) | 0.0 s |" in text
    assert "| rows | 1,000,000 | 1,000,000 |" in text
    assert "| `sales` | 1 min 40 s (P90 1 min 58 s) | 0.0 s |" in text
    assert scene.statuses() == [(sha, StatusState.SUCCESS, "1 would change, 0 problems")]


async def test_nothing_is_stored_and_no_host_is_asked_to_look() -> None:
    scene = Scene()
    await scene.declare()
    scene.push(plan("orders", "items"))
    looked = list(scene.analyzed.looked)
    before = await scene.engine.store.read(lambda unit: unit.resources.within("environments/e"))
    async with scene.running():
        scene.ask()
        text = await scene.answered()
    assert await scene.engine.store.read(lambda unit: unit.resources.within("environments/e")) == before
    assert scene.analyzed.looked == looked
    assert not scene.engine.inquiries.demand()
    assert "- not known: `Of a/items: it was not measured as it is proposed.`" in text
    assert "| rows | 1,000,000 | not all known |" in text


async def test_problems_are_told_with_their_place_and_fail_the_commit() -> None:
    scene = Scene()
    await scene.declare()
    sha = scene.push(plan("orders").replace("department: sales", "department: nobody"))
    async with scene.running():
        scene.ask()
        text = await scene.answered()
    assert "**1 problem: this would not be applied.**" in text
    assert "| `p.yaml:" in text
    assert "#### Impact" not in text
    ((commit, state, description),) = scene.statuses()
    assert (commit, state) == (sha, StatusState.FAILURE)
    assert description.startswith("p.yaml:")


async def test_of_a_burst_only_the_newest_head_counts() -> None:
    scene = Scene()
    await scene.declare()
    sha = ""
    async with scene.running():
        for number in range(5):
            sha = scene.push(plan("orders").replace("spec:", f"spec:\n  lanesMax: {number + 1}"))
            scene.ask(PullRequestAction.UPDATED, head=f"{number}" * 40)
            await scene.engine.clock.run_for(0.1)
        await scene.answered()
    assert [commit for commit, _, _ in scene.statuses()] == [sha]


async def test_the_next_head_replaces_the_comment() -> None:
    scene = Scene()
    await scene.declare()
    async with scene.running():
        scene.push(plan("orders", policy="offline"))
        scene.ask()
        await scene.answered()
        scene.push(plan("orders", policy="read_only"))
        scene.ask(PullRequestAction.UPDATED)
        text = await scene.answered(2)
    assert "read_only" in text
    assert len(scene.hosts.comments) == 1


async def test_a_closed_one_is_not_answered() -> None:
    scene = Scene()
    await scene.declare()
    scene.push(plan("orders"))
    async with scene.running():
        scene.ask()
        scene.ask(PullRequestAction.CLOSED)
        await scene.engine.clock.run_for(5)
        await scene.answered(0)


async def test_a_fork_on_bitbucket_is_told_as_not_checked() -> None:
    scene = Scene("BITBUCKET")
    await scene.declare()
    async with scene.running():
        scene.ask(is_fork=True, head="abcdef012345")
        text = await scene.answered()
    assert "**Not checked** (`FORK`). Commit `abcdef012345`." in text
    assert scene.statuses() == []


async def test_bitbuckets_head_is_its_branch_and_gitlabs_a_reference_of_its_own() -> None:
    for provider, reference in (("BITBUCKET", ""), ("GITLAB", "refs/merge-requests/7/head")):
        scene = Scene(provider)
        await scene.declare()
        sha = scene.push(plan("orders", policy="offline"), reference)
        async with scene.running():
            scene.ask()
            await scene.answered()
        assert [commit for commit, _, _ in scene.statuses()] == [sha]


async def test_a_head_that_is_refused_is_told_with_the_reason() -> None:
    scene = Scene()
    await scene.declare()
    sha = scene.push(plan("orders"))
    scene.hosted.unsound[sha] = RepositoryRefused("LINK_REFUSED", "is a link", path="p.yaml")
    async with scene.running():
        scene.ask(head=sha)
        text = await scene.answered()
    assert "**Not checked** (`LINK_REFUSED`)" in text
    assert "`p.yaml: is a link`" in text
    assert scene.statuses() == [(sha, StatusState.FAILURE, "LINK_REFUSED: p.yaml: is a link")]


async def test_a_repository_or_host_that_is_away_is_tried_again() -> None:
    scene = Scene()
    await scene.declare()
    sha = scene.push(plan("orders", policy="offline"))
    scene.hosted.failure = RepositoryUnavailable("away")
    scene.hosts.failures = [GitHostUnavailable("away")]
    async with scene.running():
        scene.ask()
        for _ in range(50):
            await scene.engine.clock.run_for(0.1)
            await asyncio.sleep(0.001)
        scene.hosted.failure = None
        await scene.answered()
    assert [commit for commit, _, _ in scene.statuses()] == [sha]


async def test_no_secret_comes_into_a_comment() -> None:
    scene = Scene()
    await scene.declare()
    scene.redactor.note(Secret("hunter22-hunter22"))
    scene.push(plan("orders").replace("spec:", "spec:\n  description: the key is hunter22-hunter22"))
    async with scene.running():
        scene.ask()
        text = await scene.answered()
    assert "`description`" in text
    assert "hunter22" not in text
