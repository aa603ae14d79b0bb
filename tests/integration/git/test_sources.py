"""Sources over real repositories, served over https and ssh, into a real store: whatever somebody pushes, what was good goes on serving,
and a condition says what is the matter and where."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.git.repositories import GitRepositories
from pymigrate.engine.adapters.store.sqlite import SqliteStore
from pymigrate.engine.application.caller import Caller, Surroundings, random_id
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.gitops.git_source_kinds import GIT_SOURCES
from pymigrate.engine.application.gitops.pass_outcomes import Outcome
from pymigrate.engine.application.gitops.suspension import is_suspended
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import git_source_pb2
from tests.git_hosting import HttpsHost, SshHost
from tests.git_works import Work
from tests.unit.application.gitops.sourced import ENVIRONMENT, PlayedRuns, SourceParts, department

NAME = "gitSources/warehouse"
MEGABYTE = 1024 * 1024
GOOD = ["departments/crm", "departments/sales"]
FIRST = {"prod/env.yaml": ENVIRONMENT, "prod/a.yaml": department("crm"), "prod/b.yaml": department("sales")}
Push = Callable[..., str]


class Scene:
    """One engine's sources, on a store of its own."""

    def __init__(self, store: SqliteStore, repositories: GitRepositories, redactor: Redactor) -> None:
        self.store, self.redactor = store, redactor
        surroundings = Surroundings(SystemClock(), random_id)
        self.catalog = Catalog(surroundings, is_suspended)
        self.parts = SourceParts(store, surroundings, self.catalog, repositories, PlayedRuns(), redactor)

    async def declare(self, **fields: Any) -> None:
        """Declares the source, of the folder `prod` unless something else is said."""
        said = {"path": "prod", "environment": "prod", **fields}
        source = json_format.ParseDict(said, git_source_pb2.GitSource())
        caller = Caller("me")
        await self.store.transact(lambda unit: self.catalog.create(unit, GIT_SOURCES, "", "warehouse", source, caller))

    async def declare_at(self, host: HttpsHost, **fields: Any) -> None:
        """Declares it at a host over HTTPS, with the login that lets one in."""
        self.parts.places.put("TOKEN", host.token)
        login = {"username": host.username, "token": "env://TOKEN", "caCertificates": host.authority.pem}
        await self.declare(url=host.url("defs"), https=login, **fields)

    async def passed(self) -> Outcome:
        """One pass."""
        return await self.parts.passes.run(NAME)

    async def source(self) -> git_source_pb2.GitSource:
        """The source with where it stands."""
        return await self.parts.sources.with_status(
            await self.store.read(lambda unit: self.catalog.get(unit, GIT_SOURCES, NAME))
        )

    async def unmet(self) -> dict[str, str]:
        """The reasons of the conditions that do not hold, but for the one over all and what follows from another."""
        conditions = (await self.source()).status.conditions
        return {
            each.type: each.reason for each in conditions if not each.is_met and each.type not in ("Ready", "Applied")
        }

    async def names(self) -> list[str]:
        """What is stored in the environment."""

        def read(unit: Unit) -> list[str]:
            return [each.name.removeprefix("environments/prod/") for each in unit.resources.within("environments/prod")]

        return await self.store.read(read)


@pytest.fixture
async def scene(tmp_path: Path, repositories: GitRepositories, redactor: Redactor) -> AsyncIterator[Scene]:
    """Nothing is declared yet."""
    store = await SqliteStore.open(tmp_path / "store", SystemClock())
    yield Scene(store, repositories, redactor)
    await store.close()


@pytest.fixture
async def serving(scene: Scene, https_host: HttpsHost, pushed: Push) -> Scene:
    """The first commit is applied."""
    pushed(FIRST)
    await scene.declare_at(https_host)
    assert (await scene.passed()).result == "applied"
    return scene


async def test_a_push_is_applied_and_the_same_commit_again_is_nothing(serving: Scene, pushed: Push) -> None:
    sha = pushed({"prod/c.yaml": department("hr")})
    outcome = await serving.passed()
    assert [each.file for each in outcome.revision.changes] == ["prod/c.yaml"]
    source = await serving.source()
    assert (source.status.applied_commit, source.status.object_count) == (sha, 4)
    assert await serving.names() == ["departments/crm", "departments/hr", "departments/sales"]
    assert (await serving.passed()).result == "unchanged"
    assert (await serving.store.read(lambda unit: unit.git_records.status(source.uid)) or (0, b""))[0] == 2


async def test_a_source_is_reached_over_ssh(scene: Scene, ssh_host: SshHost, work: Work) -> None:
    work.commit(FIRST)
    work.push(ssh_host.create("defs"))
    scene.parts.places.put("KEY", ssh_host.login().private_key.reveal())
    await scene.declare(url=ssh_host.url("defs"), ssh={"privateKey": "env://KEY", "knownHosts": ssh_host.known_hosts})
    assert (await scene.passed()).result == "applied"
    assert await scene.names() == GOOD


async def test_a_repository_that_is_away_leaves_what_is_applied(
    serving: Scene, https_host: HttpsHost, pushed: Push
) -> None:
    https_host.take_down()
    assert not (await serving.passed()).is_well
    assert await serving.unmet() == {"Available": "REPOSITORY_UNAVAILABLE"}
    assert await serving.names() == GOOD
    https_host.bring_up()
    pushed({"prod/c.yaml": department("hr")})
    assert (await serving.passed()).result == "applied"
    assert await serving.unmet() == {}


async def test_a_token_that_was_rotated_is_read_again(serving: Scene, https_host: HttpsHost) -> None:
    serving.parts.places.is_stale = True
    await serving.passed()
    https_host.token = "another-token-of-the-host"
    serving.parts.places.put("TOKEN", https_host.token)
    assert (await serving.passed()).is_well
    https_host.token = "a-third-token-of-the-host"
    await serving.passed()
    assert await serving.unmet() == {"Available": "CREDENTIALS_REFUSED"}
    assert "token-of-the-host" not in str(await serving.source())


async def test_a_force_push_is_applied_and_told(serving: Scene, https_host: HttpsHost, work: Work) -> None:
    work.git("checkout", "--quiet", "--orphan", "other")
    work.commit({"prod/c.yaml": department("hr")}, "From the beginning")
    work.push(https_host.folder / "defs.git", "HEAD:refs/heads/main", is_forced=True)
    assert (await serving.passed()).result == "applied"
    conditions = {each.type: each.reason for each in (await serving.source()).status.conditions}
    assert conditions["Applied"] == "HISTORY_REWRITTEN"
    assert "departments/hr" in await serving.names()


async def test_a_branch_that_is_deleted_leaves_what_is_applied(
    scene: Scene, https_host: HttpsHost, work: Work, pushed: Push
) -> None:
    pushed(FIRST)
    work.push(https_host.folder / "defs.git", "HEAD:refs/heads/release")
    await scene.declare_at(https_host, branch="release")
    await scene.passed()
    work.push(https_host.folder / "defs.git", ":refs/heads/release")
    await scene.passed()
    assert await scene.unmet() == {"Available": "REFERENCE_MISSING"}
    assert await scene.names() == GOOD


CONFLICT = "kind: Department\n<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> other\n"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
SECRET = department("hr", "ghp_1234567890abcdefghijklmnopqrstuvwxyz")
FILES: dict[str, tuple[str | bytes, int]] = {
    "broken YAML": (department("hr") + "  x: [\n", 5),
    "a conflict": (CONFLICT, 2),
    "a bomb": (BOMB, 1),
    "nesting without end": ("[" * 100_000, 1),
    "no text": (b"kind: \xff\xfe\n", 1),
    "a secret": (SECRET, 4),
    "no kind": ("a: 1\n", 1),
}


@pytest.mark.parametrize(("content", "line"), FILES.values(), ids=FILES)
async def test_a_broken_file_after_a_good_commit_is_told_with_its_line(
    serving: Scene, pushed: Push, content: str | bytes, line: int
) -> None:
    good = (await serving.source()).status.applied_commit
    sha = pushed({"prod/broken.yaml": content, "prod/c.yaml": department("it")})
    assert (await serving.passed()).result == "refused"
    status = (await serving.source()).status
    assert await serving.unmet() == {"Valid": "DEFINITIONS_INVALID"}
    assert (status.applied_commit, status.seen_commit) == (good, sha)
    assert (status.problems[0].file, status.problems[0].line) == ("prod/broken.yaml", line)
    assert "ghp_" not in str(status)
    assert await serving.names() == GOOD


async def test_a_file_of_100_megabytes_is_refused_by_its_name(serving: Scene, pushed: Push) -> None:
    pushed({"prod/big.yaml": b"#" * (100 * MEGABYTE)})
    assert not (await serving.passed()).is_well
    assert await serving.unmet() == {"Valid": "FILE_TOO_LARGE"}
    assert (await serving.source()).status.problems[0].file == "prod/big.yaml"
    assert await serving.names() == GOOD


async def test_links_out_of_the_tree_are_refused(serving: Scene, https_host: HttpsHost, work: Work) -> None:
    (work.folder / "prod" / "link.yaml").symlink_to("/etc/passwd")
    work.commit({})
    work.push(https_host.folder / "defs.git")
    assert not (await serving.passed()).is_well
    assert await serving.unmet() == {"Valid": "LINK_REFUSED"}
    assert (await serving.source()).status.problems[0].file == "prod/link.yaml"
    assert await serving.names() == GOOD


async def test_submodules_are_refused_and_not_fetched(serving: Scene, https_host: HttpsHost, work: Work) -> None:
    work.git("update-index", "--add", "--cacheinfo", f"160000,{work.head},prod/vendor")
    work.commit_staged("Add a submodule")
    work.push(https_host.folder / "defs.git")
    await serving.passed()
    assert await serving.unmet() == {"Valid": "SUBMODULE_REFUSED"}
    assert await serving.names() == GOOD


async def test_a_hook_that_comes_along_never_runs(
    serving: Scene, https_host: HttpsHost, pushed: Push, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    hook = f"#!/bin/sh\ntouch {ran}\n"
    for name in ("post-upload-pack", "pre-auto-gc", "reference-transaction", "post-checkout"):
        https_host.add_hook("defs", name, hook)
    pushed(
        {"prod/c.yaml": department("hr"), ".githooks/post-checkout": hook, "prod/.gitattributes": "*.yaml filter=x\n"}
    )
    ran.unlink(missing_ok=True)
    assert (await serving.passed()).result == "applied"
    assert not ran.exists()


async def test_the_folder_may_be_gone(serving: Scene, pushed: Push) -> None:
    pushed(dict.fromkeys(FIRST))
    await serving.passed()
    assert await serving.unmet() == {"Valid": "FOLDER_MISSING"}
    assert await serving.names() == GOOD


async def test_a_copy_that_is_damaged_is_fetched_again(serving: Scene, tmp_path: Path, pushed: Push) -> None:
    for pack in (tmp_path / "repositories").rglob("*.pack"):
        pack.chmod(0o600)
        pack.write_bytes(b"broken")
    pushed({"prod/c.yaml": department("hr")})
    for _ in range(3):
        if (await serving.passed()).result == "applied":
            break
    assert "departments/hr" in await serving.names()
