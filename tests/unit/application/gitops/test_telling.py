"""Hosts are told what came of commits: once for each state, by the source as it is declared, and without a secret."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pymigrate.engine.application.gitops.host_accounts import HostAccounts
from pymigrate.engine.application.gitops.telling import Telling, status_of
from pymigrate.engine.domain.errors import GitHostRefused, GitHostUnavailable
from pymigrate.engine.ports.git_hosts import StatusState
from pymigrate.engine.ports.secrets import Secret
from pymigrate.engine.testing.git_hosts import MemoryGitHosts
from pymigrate.v1 import definition_pb2
from pymigrate.v1 import git_source_pb2 as pb
from tests.git_hosts.sources import SecretsOfSources
from tests.unit.application.gitops.sourced import ENVIRONMENT, NAME, Sourced, department

HOST = {
    "provider": "GIT_PROVIDER_GITHUB",
    "repository": "team/definitions",
    "token": "env://TOKEN",
    "reportsCommits": True,
}
FIRST = {"env.yaml": ENVIRONMENT, "a.yaml": department("crm"), "b.yaml": department("sales")}


class Scene:
    """A source that tells its host, and the host."""

    def __init__(self, sourced: Sourced | None = None) -> None:
        self.sourced = sourced or Sourced()
        self.hosts = MemoryGitHosts()
        store, clock = self.sourced.store, self.sourced.clock
        self.sourced.places.put("TOKEN", "the-token-itself")
        accounts = HostAccounts(self.hosts, SecretsOfSources(self.sourced.places), self.sourced.redactor.clean)
        self.telling = Telling(store, accounts, clock, random.Random(1))
        self.sourced.passes.follow(self.telling.heard)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The loop that tells."""
        loop = asyncio.create_task(self.telling.run_loop())
        yield
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)

    async def passed(self, seconds: float = 0) -> None:
        """One pass, and time for telling."""
        await self.sourced.passed()
        await self.sourced.clock.run_for(seconds)

    @property
    def told(self) -> list[tuple[str, StatusState, str]]:
        """What was told of which commit."""
        return [(each.commit, each.state, each.description) for each in self.hosts.statuses]


async def test_an_applied_commit_is_a_success_with_what_it_changed() -> None:
    scene = Scene()
    await scene.sourced.declare(host=HOST)
    async with scene.running():
        sha = scene.sourced.push(FIRST)
        await scene.passed()
    assert scene.told == [(sha, StatusState.SUCCESS, "3 changed, 0 problems")]
    assert [each.context for each in scene.hosts.statuses] == ["pymigrate/warehouse"]
    assert scene.hosts.tokens == ["the-token-itself"]


async def test_a_pass_that_finds_nothing_tells_nothing() -> None:
    scene = Scene()
    await scene.sourced.declare(host=HOST)
    async with scene.running():
        scene.sourced.push(FIRST)
        for _ in range(3):
            await scene.passed()
    assert len(scene.told) == 1


async def test_a_broken_commit_is_a_failure_with_the_first_problems_place() -> None:
    scene = Scene()
    await scene.sourced.declare(host=HOST)
    async with scene.running():
        sha = scene.sourced.push({**FIRST, "c.yaml": "a: 1\nb: [\n"})
        await scene.passed()
    ((commit, state, description),) = scene.told
    assert (commit, state) == (sha, StatusState.FAILURE)
    assert description.startswith("c.yaml:3: ")


async def test_a_source_that_reports_nothing_tells_nothing() -> None:
    scene = Scene()
    await scene.sourced.declare(host={**HOST, "reportsCommits": False})
    async with scene.running():
        scene.sourced.push(FIRST)
        await scene.passed()
    assert scene.told == []


async def test_a_host_that_is_away_delays_no_pass_and_is_told_in_the_end() -> None:
    scene = Scene()
    await scene.sourced.declare(host=HOST)
    scene.hosts.failures = [GitHostUnavailable("away")] * 3
    async with scene.running():
        sha = scene.sourced.push(FIRST)
        await scene.passed()
        assert (await scene.sourced.status()).applied_commit == sha
        assert scene.told == []
        await scene.sourced.clock.run_for(60)
    assert [commit for commit, _, _ in scene.told] == [sha]


async def test_a_token_that_was_rotated_is_read_again_at_once() -> None:
    scene = Scene()
    await scene.sourced.declare(host=HOST)
    scene.sourced.places.is_stale = True
    async with scene.running():
        scene.sourced.push(FIRST)
        await scene.passed()
        scene.sourced.places.put("TOKEN", "the-next-token")
        scene.hosts.failures = [GitHostRefused("401")]
        scene.sourced.push({"a.yaml": department("crm", "Customers")})
        await scene.passed()
    assert scene.hosts.tokens == ["the-token-itself", "the-token-itself", "the-next-token"]
    assert len(scene.told) == 2


async def test_a_deleted_source_tells_nothing_more() -> None:
    scene = Scene()
    await scene.sourced.declare(host=HOST)
    scene.hosts.failures = [GitHostUnavailable("away")]
    async with scene.running():
        scene.sourced.push(FIRST)
        await scene.passed()
        await scene.sourced.change("host", host={**HOST, "reportsCommits": False})
        await scene.sourced.clock.run_for(60)
    assert scene.told == []


async def test_an_engine_that_died_before_it_told_tells_after_its_restart() -> None:
    dying = Scene()
    await dying.sourced.declare(host=HOST)
    sha = dying.sourced.push(FIRST)
    await dying.passed()
    assert dying.told == []
    scene = Scene(dying.sourced.again())
    async with scene.running():
        await scene.telling.restore()
        await scene.sourced.clock.run_for(0)
    assert [commit for commit, _, _ in scene.told] == [sha]


async def test_no_secret_is_told() -> None:
    scene = Scene()
    source = await scene.sourced.declare(host=HOST)
    scene.sourced.redactor.note(Secret("hunter22-hunter22"))
    problem = definition_pb2.DefinitionProblem(file="a.yaml", line=3, description="`hunter22-hunter22` is no number")
    async with scene.running():
        scene.telling.heard(source, pb.GitRevision(commit="ab", problems=[problem]))
        await scene.sourced.clock.run_for(0)
    assert scene.told == [("ab", StatusState.FAILURE, "a.yaml:3: `***` is no number")]


PROBLEMS = [
    definition_pb2.DefinitionProblem(file="a.yaml", description="is empty"),
    definition_pb2.DefinitionProblem(description="other"),
]
KEPT = definition_pb2.DefinitionChange(action=definition_pb2.CHANGE_ACTION_KEEP)
RUNS = [pb.ReversedRun(run="r1"), pb.ReversedRun(run="r2")]
REVERSING = pb.GIT_REVISION_STATE_REVERSING


@pytest.mark.parametrize(
    ("revision", "state", "description"),
    [
        (
            {"state": pb.GIT_REVISION_STATE_REFUSED, "problems": PROBLEMS},
            StatusState.FAILURE,
            "a.yaml: is empty (and 1 more)",
        ),
        ({"state": pb.GIT_REVISION_STATE_REFUSED}, StatusState.FAILURE, "refused"),
        ({"state": pb.GIT_REVISION_STATE_APPLIED}, StatusState.SUCCESS, "0 changed, 0 problems"),
        (
            {"state": pb.GIT_REVISION_STATE_APPLIED, "change_count": 3, "changes": [KEPT]},
            StatusState.SUCCESS,
            "2 changed, 1 kept, 0 problems",
        ),
        (
            {"state": pb.GIT_REVISION_STATE_CORRECTED, "change_count": 2},
            StatusState.SUCCESS,
            "2 corrected, 0 problems",
        ),
        (
            {"state": pb.GIT_REVISION_STATE_CHECKED, "change_count": 2},
            StatusState.SUCCESS,
            "2 would change, 0 problems",
        ),
        (
            {"state": REVERSING, "reversal": pb.Reversal(state=pb.REVERSAL_STATE_AWAITING_APPROVAL, runs=RUNS)},
            StatusState.PENDING,
            "waits for approval to undo 2 runs",
        ),
        (
            {"state": REVERSING, "reversal": pb.Reversal(state=pb.REVERSAL_STATE_ROLLING_BACK, runs=RUNS[:1])},
            StatusState.PENDING,
            "undoes 1 run",
        ),
        (
            {"state": REVERSING, "reversal": pb.Reversal(state=pb.REVERSAL_STATE_BLOCKED, runs=RUNS, message="sealed")},
            StatusState.ERROR,
            "can't undo 2 runs: sealed",
        ),
    ],
)
def test_every_state_of_a_revision_has_its_status(
    revision: dict[str, Any], state: StatusState, description: str
) -> None:
    source = pb.GitSource(name=NAME)
    told = status_of(source, pb.GitRevision(commit="ab", **revision))
    assert (told.commit, told.context, told.state, told.description) == (
        "ab",
        "pymigrate/warehouse",
        state,
        description,
    )
