"""From dev over staging to prod, in the three layouts of a repository: what succeeded is what runs next, with the same declared hash."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import git_source_pb2
from tests.e2e.engines import EngineProcess
from tests.e2e.gitted import Gitted, Target, documents, legacy_file, plan, systems
from tests.git_hosting import HttpsHost

ENVIRONMENTS = ("dev", "staging", "prod")
BEFORE = {"staging": "dev", "prod": "staging"}
DELIVERIES = {
    "staging": git_source_pb2.PROMOTION_DELIVERY_BRANCH,
    "prod": git_source_pb2.PROMOTION_DELIVERY_COMMIT,
}
UPPER = {"derive": {"columns": {"name": {"expression": "upper(name)", "type": "string"}}}}


class Stages:
    """Three sources of one repository, each with a target of its own."""

    def __init__(self, client: Client, host: HttpsHost, folder: Path, layout: str) -> None:
        self.scene = Gitted(client, host, folder)
        self.layout = layout
        self.targets = {name: Target.sqlite(folder / f"{name}.db") for name in ENVIRONMENTS}
        self.paths = {name: str(folder / f"{name}.db") for name in ENVIRONMENTS}
        self.legacy = legacy_file(folder / "legacy.db")

    def begin(self) -> None:
        """Lays the repository out, and declares the sources."""
        match self.layout:
            case "overlays":
                shared = [*systems(self.legacy, Target({"sqlite": {"path": "${warehouse}"}}))]
                own = {f"environments/{name}.yaml": documents(self._environment(name)) for name in ENVIRONMENTS}
                self.scene.push({"systems.yaml": documents(*shared), **own, "sales.yaml": documents(plan())}, "Begin")
            case "branches":
                for name in reversed(ENVIRONMENTS):
                    if name != "prod":
                        self.scene.work.switch(name, "HEAD")
                    else:
                        self.scene.work.git("switch", "--quiet", "--orphan", name)
                    self.scene.push({f"{name}/warehouse": self.paths[name], **self._own(name)}, f"Lay out {name}")
                self.scene.push({"definitions/sales.yaml": documents(plan())}, "Begin")
            case _:
                own = {}
                for name in ENVIRONMENTS:
                    shared = [self._environment(name), *systems(self.legacy, self.targets[name])]
                    own[f"{name}/systems.yaml"] = documents(*shared)
                self.scene.push({**own, "dev/plans/sales.yaml": documents(plan())}, "Begin")
        for name in ENVIRONMENTS:
            self.scene.declare(name, name, **self._place(name))

    def _own(self, name: str) -> dict[str, str]:
        """In every branch lie the same definitions: only `prod` is laid out anew."""
        if name != "prod":
            return {}
        shared = [*systems(self.legacy, Target({"sqlite": {"path": "${warehouse}"}}))]
        environments = {f"definitions/{each}.yaml": documents(self._environment(each)) for each in ENVIRONMENTS}
        return {"definitions/systems.yaml": documents(*shared), **environments}

    def _environment(self, name: str) -> tuple[str, str, dict[str, Any]]:
        parameters = {"warehouse": {"type": "string", "defaultValue": self.paths[name]}}
        return "Environment", name, {"parameters": parameters}

    def _place(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = {
            "overlays": {"branch": "main"},
            "branches": {"branch": name, "path": "definitions"},
            "folders": {"branch": "main", "path": name},
        }[self.layout]
        if name in BEFORE:
            pin = f"pins/{name}" if self.layout == "overlays" else ""
            found["promotion"] = git_source_pb2.GitPromotion(
                promoted_from=BEFORE[name], delivery=DELIVERIES[name], pin_file=pin
            )
        return found

    def change(self, files: dict[str, str], message: str) -> str:
        """A commit of the plan where dev reads it."""
        work, where = self.scene.work, {"overlays": "", "branches": "definitions/", "folders": "dev/plans/"}
        branch = "dev" if self.layout == "branches" else "main"
        work.git("fetch", "--quiet", str(self.scene.bare), branch)
        work.git("switch", "--quiet", branch)
        work.git("reset", "--quiet", "--hard", "FETCH_HEAD")
        return self.scene.push({f"{where[self.layout]}{path}": text for path, text in files.items()}, message)

    def promote(self, name: str, *, is_dry: bool = False) -> git_source_pb2.Promotion:
        """Promotes to a source."""
        request = git_source_pb2.PromoteGitSourceRequest(name=f"gitSources/{name}", validate_only=is_dry)
        client = self.scene.client
        found: git_source_pb2.Promotion = client.git_sources.PromoteGitSource(request, **client.options)
        return found

    def merge(self, name: str, promoted: git_source_pb2.Promotion) -> None:
        """What a person does with the branch that was pushed: a merge into the branch of the source."""
        work, branch = self.scene.work, name if self.layout == "branches" else "main"
        work.git(
            "fetch",
            "--quiet",
            str(self.scene.bare),
            f"{branch}:refs/merged/into",
            f"{promoted.branch}:refs/merged/of",
            "--force",
        )
        work.git("switch", "--quiet", "--detach", "refs/merged/into")
        work.git("merge", "--quiet", "--no-ff", "--message", f"Merge {promoted.branch}", "refs/merged/of")
        work.git("push", "--quiet", str(self.scene.bare), f"HEAD:refs/heads/{branch}")

    def declared(self, name: str) -> list[str]:
        """The declared hashes of what a source has applied."""
        request = git_source_pb2.ListGitRevisionsRequest(parent=f"gitSources/{name}")
        client = self.scene.client
        answer = client.git_sources.ListGitRevisions(request, **client.options)
        applied = (git_source_pb2.GIT_REVISION_STATE_APPLIED, git_source_pb2.GIT_REVISION_STATE_CORRECTED)
        newest = next(each for each in answer.revisions if each.state in applied)
        return [each.declared_hash for each in newest.plans]


@pytest.mark.parametrize("layout", ["overlays", "branches", "folders"])
def test_what_ran_in_dev_runs_in_staging_and_then_in_prod(
    engine: EngineProcess, https_host: HttpsHost, tmp_path: Path, layout: str
) -> None:
    with engine.client() as client:
        stages = Stages(client, https_host, tmp_path, layout)
        stages.begin()
        scene = stages.scene
        scene.sync("dev")
        with pytest.raises(grpc.RpcError, match="NO_RUN"):
            stages.promote("staging")
        first = scene.run("dev")
        assert not any(stages.targets["staging"].content().values())
        promoted = stages.promote("staging")
        assert promoted.branch.startswith("promote/staging/")
        assert list(promoted.runs) == [first.name]
        assert stages.promote("staging") == promoted, "asking again gives the same answer"
        stages.merge("staging", promoted)
        scene.sync("staging")
        second = scene.run("staging")
        dry = stages.promote("prod", is_dry=True)
        assert (dry.pushed_commit, list(dry.runs)) == ("", [second.name])
        released = stages.promote("prod")
        assert released.branch == ("prod" if layout == "branches" else "main")
        scene.sync("prod")
        scene.run("prod")
        contents = [stages.targets[name].content() for name in ENVIRONMENTS]
        assert contents[0] == contents[1] == contents[2]
        assert stages.declared("dev") == stages.declared("staging") == stages.declared("prod")
        assert stages.promote("prod").is_unchanged
        # Another change stays in dev until it has run there, and prod stays what it is.
        stages.change({"sales.yaml": documents(plan(UPPER))}, "Shout")
        scene.sync("dev")
        with pytest.raises(grpc.RpcError, match="NO_RUN"):
            stages.promote("staging")
        assert stages.promote("prod").is_unchanged
        scene.sync("prod")
        assert stages.declared("prod") == stages.declared("staging") != stages.declared("dev")
