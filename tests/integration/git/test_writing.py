"""Commits that are made here and pushed, over real https and ssh."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pymigrate.engine.adapters.git.repositories import GitRepositories
from pymigrate.engine.adapters.git.repository import GitRepository
from pymigrate.engine.domain.errors import RepositoryRefused
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.repository import Reference, ReferenceKind
from tests.git_hosting import HttpsHost, SshHost
from tests.git_works import Work, run_git

Push = Callable[..., str]
BRANCH = Reference(ReferenceKind.BRANCH, "main")
PLAN = "kind: Plan\n"
AUTHOR = "PyMigrate <pymigrate@localhost>"
TIME = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture
async def base(https_host: HttpsHost, repository: GitRepository, pushed: Push) -> str:
    """A commit that is here."""
    sha = pushed({"a/plan.yaml": PLAN, "a/gone.yaml": PLAN, "pins/prod": "old\n"})
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    return sha


async def test_a_commit_is_made_of_another_and_some_files(repository: GitRepository, base: str) -> None:
    files = {"pins/prod": b"new\n", "b/c/x.yaml": b"\0bytes\n", "a/gone.yaml": None, "never/there": None}
    made = await repository.write(base, files, "Promote\n\nWith a reason.\n", AUTHOR, TIME)

    commit = await repository.commit(made)
    assert (commit.parents, commit.author, commit.time) == ((base,), AUTHOR, TIME)
    assert commit.message == "Promote\n\nWith a reason."
    assert await repository.read_file(made, "pins/prod") == b"new\n"
    assert await repository.read_file(made, "b/c/x.yaml") == b"\0bytes\n"
    assert [blob.path for blob in (await repository.tree(made, "")).blobs] == ["a/plan.yaml", "b/c/x.yaml"]
    assert run_git(repository.folder, "fsck", "--strict", "--no-dangling") == ""
    assert await repository.has(made)


async def test_the_same_arguments_make_the_same_commit(
    https_host: HttpsHost, repository: GitRepository, base: str, tmp_path: Path
) -> None:
    files = {"pins/prod": b"new\n"}
    made = await repository.write(base, files, "Promote", AUTHOR, TIME)
    assert await repository.write(base, dict(files), "Promote", AUTHOR, TIME) == made
    other = GitRepositories(tmp_path / "elsewhere", Redactor()).of("two")
    await other.fetch(https_host.remote("defs"), BRANCH, base)
    assert await other.write(base, files, "Promote", AUTHOR, TIME) == made
    assert await other.write(base, files, "Promote!", AUTHOR, TIME) != made


async def test_a_commit_may_have_more_parents(
    repository: GitRepository, work: Work, base: str, https_host: HttpsHost
) -> None:
    work.switch("side", base)
    side = work.commit({"side.yaml": PLAN})
    work.push(https_host.folder / "defs.git")
    await repository.fetch(https_host.remote("defs"), Reference(ReferenceKind.BRANCH, "side"), side)
    made = await repository.write(base, {}, "Merge", AUTHOR, TIME, (side,))
    assert (await repository.commit(made)).parents == (base, side)
    assert (await repository.tree(made, "")).oid == (await repository.tree(base, "")).oid
    assert await repository.is_ancestor(side, made)


@pytest.mark.parametrize(
    "path",
    ["", "/x", "../x", "a/../x", "a//x", ".git/config", "a/.GIT/x", ".gitmodules", "a\nM 100644 x", '"a"', "a\\b", "."],
)
async def test_no_file_is_written_where_none_may_be(repository: GitRepository, base: str, path: str) -> None:
    with pytest.raises(RepositoryRefused) as caught:
        await repository.write(base, {path: b"x"}, "Odd", AUTHOR, TIME)
    assert (caught.value.reason, caught.value.path) == ("PUSH_REFUSED", path)


@pytest.mark.parametrize("author", ["", "name", "A <a@b>\ncommitter x", "A <<a>", "<>"])
async def test_no_author_is_taken_who_could_say_more(repository: GitRepository, base: str, author: str) -> None:
    with pytest.raises(RepositoryRefused) as caught:
        await repository.write(base, {"x": b"x"}, "Odd", author, TIME)
    assert caught.value.reason == "PUSH_REFUSED"


@pytest.mark.parametrize("message", ["data 3\nM 100644 inline x", "ü\0\n\n", "", "x" * 100_000])
async def test_a_message_is_only_a_message(repository: GitRepository, base: str, message: str) -> None:
    made = await repository.write(base, {"x": b"M 100644 inline y\ndata 1\n"}, message, AUTHOR, TIME)
    assert (await repository.commit(made)).message == message.replace("\0", "").removesuffix("\n")
    assert await repository.read_file(made, "x") == b"M 100644 inline y\ndata 1\n"
    assert await repository.read_file(made, "y") is None


async def test_names_with_spaces_and_letters_of_all_kinds_are_written(repository: GitRepository, base: str) -> None:
    made = await repository.write(base, {"über uns/a b.yaml": b"x", " lead": b"y"}, "Names", AUTHOR, TIME)
    assert await repository.read_file(made, "über uns/a b.yaml") == b"x"
    assert await repository.read_file(made, " lead") == b"y"


async def test_a_commit_that_is_not_here_is_no_base(repository: GitRepository, base: str) -> None:
    with pytest.raises(RepositoryRefused):
        await repository.write("0123456789" * 4, {"x": b"x"}, "Odd", AUTHOR, TIME)
    assert await repository.has(base)


@pytest.mark.parametrize("kind", ["https", "ssh"])
async def test_a_branch_is_made_moved_and_pushed_again_without_a_change(
    request: pytest.FixtureRequest, repository: GitRepository, work: Work, kind: str
) -> None:
    host: HttpsHost | SshHost = request.getfixturevalue(f"{kind}_host")
    base = work.commit({"plan.yaml": PLAN})
    work.push(host.create("defs"))
    remote = host.remote("defs")
    await repository.fetch(remote, BRANCH, base)
    made = await repository.write(base, {"pin": b"1"}, "One", AUTHOR, TIME)
    await repository.push(remote, made, "promote/prod/1", "")
    assert host.head_of("defs", "promote/prod/1") == made
    await repository.push(remote, made, "promote/prod/1", "")
    await repository.push(remote, made, "main", base)
    assert host.head_of("defs") == made
    assert await repository.find(remote, BRANCH) == made
    assert await repository.has(made)


async def test_a_branch_that_moved_meanwhile_is_left_alone(
    https_host: HttpsHost, repository: GitRepository, pushed: Push, base: str
) -> None:
    moved = pushed({"a/plan.yaml": PLAN * 2})
    made = await repository.write(base, {"pin": b"1"}, "One", AUTHOR, TIME)
    for branch, expected in (("main", base), ("main", ""), ("other", base)):
        with pytest.raises(RepositoryRefused) as caught:
            await repository.push(https_host.remote("defs"), made, branch, expected)
        assert caught.value.reason == "PUSH_REFUSED"
    assert https_host.head_of("defs") == moved
    assert https_host.head_of("defs", "other") == ""


async def test_a_branch_is_moved_to_what_does_not_follow_if_it_is_where_it_is_expected(
    https_host: HttpsHost, repository: GitRepository, pushed: Push, base: str
) -> None:
    newer = pushed({"a/plan.yaml": PLAN * 2})
    await repository.push(https_host.remote("defs"), base, "main", newer)
    assert https_host.head_of("defs") == base


async def test_what_a_host_declines_is_told_with_its_words(
    https_host: HttpsHost, repository: GitRepository, base: str
) -> None:
    https_host.add_hook("defs", "pre-receive", "#!/bin/sh\necho main is protected >&2\nexit 1\n")
    made = await repository.write(base, {"pin": b"1"}, "One", AUTHOR, TIME)
    with pytest.raises(RepositoryRefused, match="main is protected") as caught:
        await repository.push(https_host.remote("defs"), made, "main", base)
    assert caught.value.reason == "PUSH_REFUSED"
    assert https_host.head_of("defs") == base


async def test_a_host_that_lets_one_read_only_is_told(
    https_host: HttpsHost, repository: GitRepository, base: str
) -> None:
    run_git(https_host.folder / "defs.git", "config", "http.receivepack", "false")
    made = await repository.write(base, {"pin": b"1"}, "One", AUTHOR, TIME)
    with pytest.raises(RepositoryRefused) as caught:
        await repository.push(https_host.remote("defs"), made, "main", base)
    assert caught.value.reason == "CREDENTIALS_REFUSED"


@pytest.mark.parametrize("branch", ["--force", "+main", "a:b", "", "a..b", "refs/heads/../x"])
async def test_a_branch_is_never_an_option(
    https_host: HttpsHost, repository: GitRepository, base: str, branch: str
) -> None:
    before = run_git(https_host.folder / "defs.git", "for-each-ref")
    if branch == "+main":  # a name that git allows
        await repository.push(https_host.remote("defs"), base, branch, "")
        assert https_host.head_of("defs", branch) == base
        return
    with pytest.raises(RepositoryRefused):
        await repository.push(https_host.remote("defs"), base, branch, "")
    assert run_git(https_host.folder / "defs.git", "for-each-ref") == before
