"""What every repository keeps to: the one in memory that tests are given, and git's over real https."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pytest

from pymigrate.engine.adapters.git.repositories import GitRepositories
from pymigrate.engine.domain.errors import RepositoryRefused
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.repository import Reference, ReferenceKind, Remote, Repositories
from pymigrate.engine.testing.repositories import MemoryHosted, MemoryRepositories
from tests.git_hosting import Authority, HttpsHost
from tests.git_works import Work

BRANCH = Reference(ReferenceKind.BRANCH, "main")
AUTHOR = "PyMigrate <pymigrate@localhost>"
TIME = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
UNKNOWN = "0123456789" * 4
URL = "https://host.test/defs.git"


class Place(Protocol):
    """Where somebody pushes to, and the copies of it."""

    @property
    def repositories(self) -> Repositories: ...

    @property
    def remote(self) -> Remote: ...

    def commit(self, files: Mapping[str, str | None], message: str = "Change") -> str: ...

    def head(self, branch: str) -> str: ...


class MemoryPlace:
    def __init__(self) -> None:
        self.hosted = MemoryHosted()
        self.repositories = MemoryRepositories({URL: self.hosted})
        self.remote = Remote(URL)

    def commit(self, files: Mapping[str, str | None], message: str = "Change") -> str:
        return self.hosted.commit(files, message)

    def head(self, branch: str) -> str:
        return self.hosted.branches.get(branch, "")


class GitPlace:
    def __init__(self, folder: Path, authority: Authority) -> None:
        self.host = HttpsHost(folder / "host", authority)
        self.bare = self.host.create("defs")
        self.work = Work(folder / "work")
        self.repositories = GitRepositories(folder / "copies", Redactor())

    @property
    def remote(self) -> Remote:
        return self.host.remote("defs")

    def commit(self, files: Mapping[str, str | None], message: str = "Change") -> str:
        sha = self.work.commit(files, message)
        self.work.push(self.bare)
        return sha

    def head(self, branch: str) -> str:
        return self.host.head_of("defs", branch)


@pytest.fixture(params=["memory", "git"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "memory":
        yield MemoryPlace()
        return
    place = GitPlace(tmp_path, request.getfixturevalue("git_authority"))
    yield place
    place.host.close()


async def test_a_branch_leads_to_its_newest_commit(place: Place) -> None:
    repository = place.repositories.of("one")
    first = place.commit({"a.yaml": "x"})
    assert await repository.find(place.remote, BRANCH) == first
    second = place.commit({"a.yaml": "y"})
    assert await repository.find(place.remote, BRANCH) == second
    assert await repository.find(place.remote, Reference()) == second


async def test_what_is_fetched_is_here_with_its_history(place: Place) -> None:
    repository = place.repositories.of("one")
    first, second = place.commit({"a.yaml": "x"}, "First"), place.commit({"a.yaml": "y"}, "Second\n\nWhy")
    assert not await repository.has(second)
    await repository.fetch(place.remote, BRANCH, second)
    await repository.fetch(place.remote, BRANCH, second)
    assert await repository.has(first)
    commit = await repository.commit(second)
    assert (commit.parents, commit.subject, commit.message) == ((first,), "Second", "Second\n\nWhy")
    assert await repository.is_ancestor(first, second)
    assert not await repository.is_ancestor(second, first)
    assert [each.sha for each in await repository.between(first, second, 9)] == [second]
    assert [each.sha for each in await repository.between("", second, 9)] == [second, first]
    assert [each.sha for each in await repository.between("", second, 1)] == [second]
    assert await repository.between(UNKNOWN, second, 9) == []
    assert not await repository.is_ancestor(UNKNOWN, second)
    assert not await repository.has(UNKNOWN)


async def test_only_definitions_in_the_folder_are_told(place: Place) -> None:
    repository = place.repositories.of("one")
    sha = place.commit({"d/b.yml": "b", "d/sub/a.json": "{}", "d/read.me": "x", "e/c.yaml": "c"})
    await repository.fetch(place.remote, BRANCH, sha)
    tree = await repository.tree(sha, "d")
    assert [(blob.path, blob.size) for blob in tree.blobs] == [("b.yml", 1), ("sub/a.json", 2)]
    contents = await repository.read([blob.oid for blob in tree.blobs])
    assert [contents[blob.oid] for blob in tree.blobs] == [b"b", b"{}"]
    assert await repository.read_file(sha, "d/read.me") == b"x"
    assert await repository.read_file(sha, "d/none") is None


async def test_the_digest_of_a_folder_is_that_of_what_it_holds(place: Place) -> None:
    repository = place.repositories.of("one")
    sha = place.commit({"d/a.yaml": "x", "e/a.yaml": "x", "f/a.yaml": "y"})
    await repository.fetch(place.remote, BRANCH, sha)
    d, e, f = [(await repository.tree(sha, path)).oid for path in "def"]
    assert d == e
    assert d != f


async def test_what_is_missing_is_told_by_its_reason(place: Place) -> None:
    repository = place.repositories.of("one")
    sha = place.commit({"a.yaml": "x"})
    with pytest.raises(RepositoryRefused) as refused:
        await repository.find(place.remote, Reference(ReferenceKind.BRANCH, "none"))
    assert refused.value.reason == "REFERENCE_MISSING"
    with pytest.raises(RepositoryRefused) as refused:
        await repository.commit(sha)
    assert refused.value.reason == "COMMIT_MISSING"
    await repository.fetch(place.remote, BRANCH, sha)
    with pytest.raises(RepositoryRefused) as refused:
        await repository.tree(sha, "none")
    assert (refused.value.reason, refused.value.path) == ("FOLDER_MISSING", "none")


async def test_what_is_written_is_pushed_where_nobody_was_faster(place: Place) -> None:
    repository = place.repositories.of("one")
    base = place.commit({"a.yaml": "x", "gone.yaml": "x"})
    await repository.fetch(place.remote, BRANCH, base)
    files = {"pin": b"1", "gone.yaml": None}
    made = await repository.write(base, files, "Promote", AUTHOR, TIME)
    assert await repository.write(base, files, "Promote", AUTHOR, TIME) == made
    assert (await repository.commit(made)).parents == (base,)
    assert [blob.path for blob in (await repository.tree(made, "")).blobs] == ["a.yaml"]

    await repository.push(place.remote, made, "promote/x", "")
    assert place.head("promote/x") == made
    await repository.push(place.remote, made, "promote/x", "")  # as whoever did not hear that it was done
    with pytest.raises(RepositoryRefused) as refused:
        await repository.push(place.remote, base, "promote/x", "")
    assert refused.value.reason == "PUSH_REFUSED"
    await repository.push(place.remote, made, "main", base)
    assert place.head("main") == made


async def test_a_dropped_copy_is_empty(place: Place) -> None:
    sha = place.commit({"a.yaml": "x"})
    await place.repositories.of("one").fetch(place.remote, BRANCH, sha)
    await place.repositories.drop("one")
    assert not await place.repositories.of("one").has(sha)
