"""Finding, fetching and reading, over real https and ssh."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pymigrate.engine.adapters.git.repositories import GitRepositories
from pymigrate.engine.adapters.git.repository import GitRepository
from pymigrate.engine.domain.errors import RepositoryRefused
from pymigrate.engine.ports.repository import Reference, ReferenceKind
from tests.git_hosting import HttpsHost, Pushed, SshHost
from tests.git_works import Work, run_git

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


async def test_what_lies_in_a_folder_has_the_digest_that_it_has_anywhere(
    https_host: HttpsHost, repository: GitRepository, pushed: Push
) -> None:
    sha = pushed({"dev/plan.yaml": PLAN, "prod/plan.yaml": PLAN, "other.yaml": "x: 1\n"})
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)

    dev, prod = await repository.tree(sha, "dev"), await repository.tree(sha, "prod")
    assert dev == prod
    assert dev.oid != (await repository.tree(sha, "")).oid


@pytest.mark.parametrize("kind", ["default", "branch", "tag", "annotated tag", "commit", "name"])
async def test_every_kind_of_reference_leads_to_its_commit(
    https_host: HttpsHost, repository: GitRepository, work: Work, pushed: Push, kind: str
) -> None:
    first = pushed({"plan.yaml": PLAN})
    bare = https_host.folder / "defs.git"
    work.git("tag", "light")
    work.git("tag", "--annotate", "--message", "One", "heavy")
    work.git("push", "--quiet", str(bare), "light", "heavy", "HEAD:refs/pull/7/head")
    second = pushed({"plan.yaml": PLAN * 2})
    reference, sha = {
        "default": (Reference(), second),
        "branch": (BRANCH, second),
        "tag": (Reference(ReferenceKind.TAG, "light"), first),
        "annotated tag": (Reference(ReferenceKind.TAG, "heavy"), first),
        "commit": (Reference(ReferenceKind.COMMIT, first.upper()), first),
        "name": (Reference(ReferenceKind.NAME, "refs/pull/7/head"), first),
    }[kind]

    assert await repository.find(https_host.remote("defs"), reference) == sha
    await repository.fetch(https_host.remote("defs"), reference, sha)
    assert (await repository.commit(sha)).sha == sha


@pytest.mark.parametrize(
    "reference",
    [
        Reference(ReferenceKind.BRANCH, "gone"),
        Reference(ReferenceKind.BRANCH, "ain"),
        Reference(ReferenceKind.BRANCH, "m*n"),
        Reference(ReferenceKind.TAG, "main"),
        Reference(ReferenceKind.NAME, "refs/pull/7/head"),
        Reference(ReferenceKind.NAME, "HEAD"),
        Reference(ReferenceKind.COMMIT, "main"),
    ],
    ids=lambda reference: f"{reference.kind}-{reference.text}",
)
async def test_a_reference_that_the_repository_does_not_have_is_told_by_name(
    https_host: HttpsHost, repository: GitRepository, pushed: Push, reference: Reference
) -> None:
    pushed({"plan.yaml": PLAN})
    with pytest.raises(RepositoryRefused, match=reference.text.replace("*", r"\*")) as refused:
        await repository.find(https_host.remote("defs"), reference)
    assert refused.value.reason == "REFERENCE_MISSING"


async def test_a_repository_without_a_commit_has_no_branch(https_host: HttpsHost, repository: GitRepository) -> None:
    https_host.create("defs")
    with pytest.raises(RepositoryRefused, match="HEAD") as refused:
        await repository.find(https_host.remote("defs"), Reference())
    assert refused.value.reason == "REFERENCE_MISSING"


async def test_a_commit_that_nobody_has_is_told(https_host: HttpsHost, repository: GitRepository, pushed: Push) -> None:
    pushed({"plan.yaml": PLAN})
    missing = "0123456789" * 4
    remote = https_host.remote("defs")
    with pytest.raises(RepositoryRefused, match=missing) as refused:
        await repository.fetch(remote, Reference(ReferenceKind.COMMIT, missing), missing)
    assert refused.value.reason == "REFERENCE_MISSING"
    with pytest.raises(RepositoryRefused, match="fetched first") as refused:
        await repository.commit(missing)
    assert refused.value.reason == "COMMIT_MISSING"


async def test_a_commit_that_is_here_is_not_asked_for_again(
    https_host: HttpsHost, repository: GitRepository, repositories: GitRepositories, pushed: Push, tmp_path: Path
) -> None:
    sha = pushed({"plan.yaml": PLAN})
    remote = https_host.remote("defs")
    await repository.fetch(remote, BRANCH, sha)
    https_host.asked.clear()

    await repository.fetch(remote, BRANCH, sha)
    assert await repositories.of("one").has(sha)
    assert not https_host.asked


async def test_only_what_is_new_is_fetched(https_host: HttpsHost, repository: GitRepository, pushed: Push) -> None:
    first = pushed({f"{number}.yaml": f"x: {number}\n" for number in range(50)})
    await repository.fetch(https_host.remote("defs"), BRANCH, first)
    second = pushed({"1.yaml": "x: changed\n"})
    await repository.fetch(https_host.remote("defs"), BRANCH, second)

    packs = sorted((repository.folder / "objects" / "pack").glob("*.pack"), key=lambda pack: pack.stat().st_size)
    assert len(packs) == 2
    counted = run_git(repository.folder, "verify-pack", "--verbose", str(packs[0])).splitlines()
    assert len([line for line in counted if line[:40].isalnum() and len(line.split()) >= 5 and " blob " in line]) == 1


async def test_after_a_forced_push_both_histories_are_here(
    https_host: HttpsHost, repository: GitRepository, work: Work, pushed: Push
) -> None:
    base, old = pushed({"plan.yaml": PLAN}), pushed({"plan.yaml": PLAN * 2})
    remote = https_host.remote("defs")
    await repository.fetch(remote, BRANCH, old)
    work.reset(base)
    new = work.commit({"plan.yaml": PLAN * 3})
    work.push(https_host.folder / "defs.git", is_forced=True)

    assert await repository.find(remote, BRANCH) == new
    await repository.fetch(remote, BRANCH, new)
    assert await repository.has(old)
    assert await repository.is_ancestor(base, new)
    assert not await repository.is_ancestor(old, new)
    assert [commit.sha for commit in await repository.between(old, new, 10)] == [new]


async def test_what_moved_on_between_finding_and_fetching_is_fetched_as_it_was_found(
    https_host: HttpsHost, repository: GitRepository, pushed: Push
) -> None:
    found = pushed({"plan.yaml": PLAN})
    pushed({"plan.yaml": PLAN * 2})
    await repository.fetch(https_host.remote("defs"), BRANCH, found)
    assert (await repository.tree(found, "")).blobs[0].size == len(PLAN)


async def test_a_host_of_the_older_protocol_is_asked_by_reference(
    https_host: HttpsHost, repository: GitRepository, pushed: Push
) -> None:
    found = pushed({"plan.yaml": PLAN})
    newer = pushed({"plan.yaml": PLAN * 2})
    https_host.knows_protocols = False
    await repository.fetch(https_host.remote("defs"), BRANCH, found)
    assert await repository.is_ancestor(found, newer)


async def test_history_is_told_the_newest_first(
    https_host: HttpsHost, repository: GitRepository, work: Work, pushed: Push
) -> None:
    first = pushed({"plan.yaml": PLAN})
    work.switch("side", first)
    side = work.commit({"side.yaml": PLAN}, "Side")
    work.switch("main")
    second = pushed({"plan.yaml": PLAN * 2}, "Second")
    merged = work.merge("side", "Merge side")
    reverted = work.revert(second)
    work.push(https_host.folder / "defs.git")
    await repository.fetch(https_host.remote("defs"), BRANCH, reverted)

    told = await repository.between(first, reverted, 10)
    assert [commit.sha for commit in told[:2]] == [reverted, merged]
    assert {commit.sha for commit in told} == {reverted, merged, second, side}
    assert told[1].parents == (second, side)
    assert f"This reverts commit {second}." in told[0].message
    assert [commit.sha for commit in await repository.between("", reverted, 100)][-1] == first
    assert [commit.sha for commit in await repository.between(first, reverted, 1)] == [reverted]
    assert await repository.between(reverted, reverted, 10) == []


async def test_ancestors_are_told(https_host: HttpsHost, repository: GitRepository, pushed: Push) -> None:
    first, second = pushed({"plan.yaml": PLAN}), pushed({"plan.yaml": PLAN * 2})
    assert not await repository.is_ancestor(first, second)  # neither is here
    await repository.fetch(https_host.remote("defs"), BRANCH, second)
    assert await repository.is_ancestor(first, second)
    assert await repository.is_ancestor(second, second)
    assert not await repository.is_ancestor(second, first)
    assert not await repository.is_ancestor("0123456789" * 4, second)


async def test_one_file_is_read_by_its_path(https_host: HttpsHost, repository: GitRepository, pushed: Push) -> None:
    sha = pushed({"pins/prod": "abc\n", "a:b [c].txt": "odd"})
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    assert await repository.read_file(sha, "pins/prod") == b"abc\n"
    assert await repository.read_file(sha, "a:b [c].txt") == b"odd"
    assert await repository.read_file(sha, "pins/dev") is None
    assert await repository.read_file(sha, "pins") is None
    assert await repository.read_file(sha, "p*") is None


async def test_a_folder_that_is_none_is_told(https_host: HttpsHost, repository: GitRepository, pushed: Push) -> None:
    sha = pushed({"a/plan.yaml": PLAN})
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    for path in ("b", "a/plan.yaml", "../a", "a/../a", "/a", "a//b", "a\nb", "."):
        with pytest.raises(RepositoryRefused) as refused:
            await repository.tree(sha, path)
        assert (refused.value.reason, refused.value.path) == ("FOLDER_MISSING", path)


async def test_a_repository_whose_digests_are_sha256_is_taken(
    https_host: HttpsHost, repository: GitRepository, tmp_path: Path
) -> None:
    work = Work(tmp_path / "other", object_format="sha256")
    sha = work.commit({"plan.yaml": PLAN})
    work.push(https_host.create("defs", object_format="sha256"))
    remote = https_host.remote("defs")
    assert len(sha) == 64
    assert await repository.find(remote, BRANCH) == sha
    await repository.fetch(remote, BRANCH, sha)
    assert [blob.path for blob in (await repository.tree(sha, "")).blobs] == ["plan.yaml"]


async def test_a_repository_that_was_made_anew_with_other_digests_is_fetched_anew(
    https_host: HttpsHost, repository: GitRepository, pushed: Push, tmp_path: Path
) -> None:
    await repository.fetch(https_host.remote("defs"), BRANCH, pushed({"plan.yaml": PLAN}))
    work = Work(tmp_path / "other", object_format="sha256")
    sha = work.commit({"plan.yaml": PLAN})
    work.push(https_host.create("anew", object_format="sha256"))
    await repository.fetch(https_host.remote("anew"), BRANCH, sha)
    assert await repository.has(sha)


async def test_commits_that_are_not_in_utf8_are_read(
    https_host: HttpsHost, repository: GitRepository, work: Work
) -> None:
    bare = https_host.create("defs")
    work.git("config", "i18n.commitEncoding", "iso-8859-1")
    work.git("commit", "--quiet", "--allow-empty", "--file=-", told="Überprüft\n".encode("latin-1"))
    work.push(bare)
    await repository.fetch(https_host.remote("defs"), BRANCH, work.head)
    assert (await repository.commit(work.head)).subject == "Überprüft"


async def test_fetching_needs_no_more_requests_than_git(
    https_host: HttpsHost, repository: GitRepository, pushed: Push
) -> None:
    sha = pushed({"plan.yaml": PLAN})
    remote = https_host.remote("defs")
    await repository.find(remote, BRANCH)
    # Without a login, with it, and what the reference leads to.
    assert [asked.method for asked in https_host.asked] == ["GET", "GET", "POST"]
    https_host.asked.clear()
    await repository.fetch(remote, BRANCH, sha)
    # It is told already what it leads to.
    assert [asked.method for asked in https_host.asked] == ["GET", "GET", "POST"]


async def test_the_hosting_of_tests_tells_what_was_pushed(https_host: HttpsHost, work: Work, pushed: Push) -> None:
    told: list[Pushed] = []
    https_host.pushes.follow(told.append)
    first = pushed({"plan.yaml": PLAN})
    second = pushed({"plan.yaml": PLAN * 2})
    assert told == [
        Pushed("defs", "0" * 40, first, "refs/heads/main"),
        Pushed("defs", first, second, "refs/heads/main"),
    ]
    assert https_host.head_of("defs") == second
    assert https_host.head_of("defs", "other") == ""


async def test_copies_are_apart_and_dropped_alone(
    https_host: HttpsHost, repositories: GitRepositories, pushed: Push
) -> None:
    sha = pushed({"plan.yaml": PLAN})
    one, two = repositories.of("one"), repositories.of("two")
    for repository in (one, two):
        await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    await repositories.drop("one")
    assert not await repositories.of("one").has(sha)
    assert await two.has(sha)
    await repositories.drop("never-there")
    for uid in ("", "../x", "a/b", "UPPER", "home", "x" * 65):
        with pytest.raises(ValueError, match="uid"):
            repositories.of(uid)


async def test_a_history_of_thousands_of_commits_is_held_and_told_in_parts(
    https_host: HttpsHost, repository: GitRepository
) -> None:
    bare = https_host.create("defs")
    stream = "".join(
        f"commit refs/heads/main\nmark :{number}\ncommitter A <a@x> {1_000_000_000 + number} +0000\ndata 1\nx"
        f"M 100644 inline a.yaml\ndata {len(str(number))}\n{number}\n"
        for number in range(1, 5_001)
    )
    run_git(bare, "fast-import", "--quiet", told=stream.encode())
    remote = https_host.remote("defs")
    newest = await repository.find(remote, BRANCH)
    await repository.fetch(remote, BRANCH, newest)
    assert newest == https_host.head_of("defs")
    told = await repository.between("", newest, 100)
    assert (len(told), told[0].sha) == (100, newest)
    oldest = run_git(bare, "rev-list", "--max-parents=0", "main")
    assert await repository.is_ancestor(oldest, newest)
    assert await repository.has(oldest)
    assert await repository.read_file(oldest, "a.yaml") == b"1"


async def test_a_push_that_was_told_of_is_found_and_fetched_by_one_question(
    https_host: HttpsHost, repository: GitRepository, pushed: Push
) -> None:
    remote, first = https_host.remote("defs"), pushed({"plan.yaml": PLAN})
    assert await repository.find_pushed(remote, BRANCH) == first  # without a copy it is found first
    second = pushed({"plan.yaml": PLAN * 2})
    https_host.asked.clear()
    assert await repository.find_pushed(remote, BRANCH) == second
    looks = [
        asked for asked in https_host.asked if asked.path.endswith("/info/refs") and "authorization" in asked.headers
    ]
    assert len(looks) == 1
    assert await repository.has(second)
    assert await repository.is_ancestor(first, second)


async def test_a_branch_that_is_gone_when_a_push_is_told_of_is_told_as_missing(
    https_host: HttpsHost, repository: GitRepository, pushed: Push
) -> None:
    pushed({"plan.yaml": PLAN})
    await repository.find_pushed(https_host.remote("defs"), BRANCH)
    with pytest.raises(RepositoryRefused) as caught:
        await repository.find_pushed(https_host.remote("defs"), Reference(ReferenceKind.BRANCH, "gone"))
    assert caught.value.reason == "REFERENCE_MISSING"


async def test_what_is_fetched_after_others_were_read_is_read_with_them(
    https_host: HttpsHost, repository: GitRepository, pushed: Push
) -> None:
    remote, first = https_host.remote("defs"), pushed({"plan.yaml": PLAN})
    await repository.fetch(remote, BRANCH, first)
    async with repository.opened():
        assert (await repository.commit(first)).parents == ()
        second = pushed({"plan.yaml": PLAN * 2})
        assert not await repository.has(second)
        await repository.fetch(remote, BRANCH, second)
        assert (await repository.commit(second)).parents == (first,)
        await repository.drop()
        assert not await repository.has(second)
        await repository.fetch(remote, BRANCH, second)
        tree = await repository.tree(second, "")
        assert (await repository.read([blob.oid for blob in tree.blobs])).keys() == {blob.oid for blob in tree.blobs}


async def test_a_long_line_of_commits_and_one_with_merges_lead_to_what_they_lead_to(
    https_host: HttpsHost, repository: GitRepository, pushed: Push, work: Work
) -> None:
    shas = [pushed({"plan.yaml": f"{PLAN}# {number}\n"}) for number in range(5)]
    work.switch("side", shas[1])
    side = work.commit({"other.yaml": PLAN}, "Beside")
    work.switch("main")
    work.merge("side")
    merged = pushed({"last.yaml": PLAN})
    await repository.fetch(https_host.remote("defs"), BRANCH, merged)
    assert [each.sha for each in await repository.between(shas[0], shas[3], 10)] == [shas[3], shas[2], shas[1]]
    assert [each.sha for each in await repository.between(shas[0], shas[3], 2)] == [shas[3], shas[2]]
    assert len(await repository.between(shas[4], merged, 10)) == 3  # with the merge, and what it brings
    assert await repository.is_ancestor(side, merged)
    assert not await repository.is_ancestor(side, shas[4])
    assert not await repository.is_ancestor(merged, shas[4])
