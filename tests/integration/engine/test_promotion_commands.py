"""`pymigrate promote` and `pymigrate approve-reversal` against a served engine: what they print, and what is refused."""

import pytest

from pymigrate.engine.entrypoints.cli import promotion_commands
from pymigrate.engine.testing.repositories import MemoryHosted
from pymigrate.v1 import git_source_pb2, run_pb2
from tests.e2e.engines import ended, wait_until
from tests.integration.engine.command_line import CommandLine
from tests.integration.engine.served import ServedEngine, ask
from tests.unit.application.gitops.reversed_source import plan
from tests.unit.application.gitops.sourced import SYSTEMS, URL, department

RUN = "environments/e/plans/p/runs/r1"


def environments() -> str:
    """Both in one file; production is let back only with approval."""
    return "---\n".join(
        f"apiVersion: pymigrate.io/v1alpha1\nkind: Environment\nmetadata: {{name: {name}}}\n"
        "spec: {policy: {revertPolicy: approve}}\n"
        for name in ("e", "prod")
    )


class Scene:
    """Two sources of one branch, of which the second is pinned to what succeeded in the first."""

    def __init__(self, served: ServedEngine) -> None:
        self.hosted = served.repositories.hosted[URL] = MemoryHosted()
        self.client = served.client()
        self.line = CommandLine(served.home, promotion_commands)
        self.first = self.hosted.commit(
            {"envs.yaml": environments(), "systems.yaml": SYSTEMS, "d.yaml": department("sales"), "p.yaml": plan("A")}
        )
        promotion = git_source_pb2.GitPromotion(
            promoted_from="staging", delivery=git_source_pb2.PROMOTION_DELIVERY_COMMIT, pin_file="pins/prod"
        )
        for name, environment, said in (("staging", "e", None), ("prod", "prod", promotion)):
            source = git_source_pb2.GitSource(url=URL, environment=environment, branch="main", promotion=said)
            request = git_source_pb2.CreateGitSourceRequest(git_source_id=name, git_source=source)
            ask(self.client, self.client.git_sources.CreateGitSource, request)
        self.sync("staging")

    def sync(self, name: str) -> git_source_pb2.GitRevision:
        request = git_source_pb2.SyncGitSourceRequest(name=f"gitSources/{name}")
        return ask(self.client, self.client.git_sources.SyncGitSource, request)

    def status(self, name: str) -> git_source_pb2.GitSourceStatus:
        request = git_source_pb2.GetGitSourceRequest(name=f"gitSources/{name}")
        return ask(self.client, self.client.git_sources.GetGitSource, request).status

    def run(self, run_id: str) -> None:
        """A run in the first environment, to its end."""
        wanted = run_pb2.Run(triggers={"id": run_id})
        request = run_pb2.StartRunRequest(parent="environments/e/plans/p", run_id=run_id, run=wanted)
        run = ask(self.client, self.client.runs.StartRun, request)
        assert ended(self.client, run.name).state == run_pb2.RUN_STATE_SUCCEEDED


@pytest.fixture
def scene(served: ServedEngine) -> Scene:
    return Scene(served)


def test_what_succeeded_is_promoted_once_and_what_did_not_is_refused(scene: Scene) -> None:
    refused = scene.line("promote", "prod", code=1)
    assert "NO_RUN: environments/e/plans/p has no run of the hash" in refused
    scene.run("r1")
    dry = scene.line("promote", "gitSources/prod", "--dry-run").splitlines()
    assert dry[1:] == [f"{RUN} succeeded", f"{scene.first} would be pushed to `main`"]
    assert dry[0].startswith("environments/prod/plans/p  declared ")
    assert scene.hosted.branches["main"] == scene.first
    said = scene.line("promote", "prod", "--commit", scene.first).splitlines()[-1]
    assert said == f"{scene.first} was pushed to `main` as {scene.hosted.branches['main']}"
    assert scene.line("promote", "prod").splitlines()[-1] == f"gitSources/prod is at {scene.first} already"
    assert scene.line.json("promote", "prod")["isUnchanged"]
    wait_until(lambda: scene.status("prod").applied_commit == scene.first)


def test_a_reversal_is_approved_by_its_commit(scene: Scene) -> None:
    scene.run("r1")
    second = scene.hosted.commit({"p.yaml": plan("B")}, "Read B")
    scene.sync("staging")
    scene.run("r2")
    third = scene.hosted.commit({"p.yaml": plan("A")}, f"Revert\n\nThis reverts commit {second}.")
    assert scene.sync("staging").state == git_source_pb2.GIT_REVISION_STATE_REVERSING
    assert f"commit {third} of gitSources/staging waits for approval, and not {second}" in scene.line(
        "approve-reversal", "staging", second, code=1
    )
    said = scene.line("approve-reversal", "staging", third).splitlines()
    assert said[0].startswith("gitSources/staging rolling_back, approved by ")
    assert said[1].startswith("environments/e/plans/p/runs/r2 ")
    wait_until(lambda: scene.status("staging").applied_commit == third)
