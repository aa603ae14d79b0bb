"""Finding, fetching and reading, over real https and ssh."""

from collections.abc import Callable
from datetime import UTC, datetime

from pymigrate.engine.adapters.git.repository import GitRepository
from pymigrate.engine.ports.repository import Reference, ReferenceKind
from tests.git_hosting import HttpsHost, SshHost
from tests.git_works import Work

Push = Callable[..., str]
BRANCH = Reference(ReferenceKind.BRANCH, "main")
PLAN = "kind: Plan\n"


async def test_a_commit_is_found_fetched_and_read_over_https(
    https_host: HttpsHost, repository: GitRepository, pushed: Push
) -> None:
    sha = pushed(
        {"a/plan.yaml": PLAN, "a/b/c.json": "{}", "a/read.me": "no definition", "d.yml": "x: 1\n"}, "First\n\nWhy."
    )
    remote = https_host.remote("defs")

    assert await repository.find(remote, BRANCH) == sha
    assert not await repository.has(sha)
    await repository.fetch(remote, BRANCH, sha)
    assert await repository.has(sha)

    commit = await repository.commit(sha)
    assert (commit.sha, commit.parents, commit.author) == (sha, (), "Ada Author <ada@example.com>")
    assert (commit.time, commit.message, commit.subject) == (
        datetime(2026, 1, 5, 8, 1, tzinfo=UTC),
        "First\n\nWhy.",
        "First",
    )
    tree = await repository.tree(sha, "a")
    assert [(blob.path, blob.size) for blob in tree.blobs] == [("b/c.json", 2), ("plan.yaml", len(PLAN))]
    contents = await repository.read([blob.oid for blob in tree.blobs])
    assert [contents[blob.oid] for blob in tree.blobs] == [b"{}", PLAN.encode()]
    assert [blob.path for blob in (await repository.tree(sha, "")).blobs] == ["a/b/c.json", "a/plan.yaml", "d.yml"]


async def test_a_commit_is_found_and_fetched_over_ssh(ssh_host: SshHost, repository: GitRepository, work: Work) -> None:
    bare = ssh_host.create("defs")
    sha = work.commit({"plan.yaml": PLAN})
    work.push(bare)
    remote = ssh_host.remote("defs")

    assert await repository.find(remote, BRANCH) == sha
    await repository.fetch(remote, BRANCH, sha)
    assert [blob.path for blob in (await repository.tree(sha, "")).blobs] == ["plan.yaml"]
