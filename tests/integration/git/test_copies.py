"""What becomes of a copy when an engine is killed, a disk fails or years go by."""

import asyncio
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from pymigrate.engine.adapters.git import copies
from pymigrate.engine.adapters.git.repositories import GitRepositories
from pymigrate.engine.adapters.git.repository import GitRepository
from pymigrate.engine.domain.errors import RepositoryRefused, RepositoryUnavailable
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.repository import Reference, ReferenceKind
from tests.git_hosting import Answer, Asked, HttpsHost
from tests.git_works import Work

Push = Callable[..., str]
BRANCH = Reference(ReferenceKind.BRANCH, "main")
PLAN = "kind: Plan\n"


def truncate(folder: Path) -> None:
    for pack in (folder / "objects" / "pack").glob("*.pack"):
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[:60])


def scribble(folder: Path) -> None:
    for pack in (folder / "objects" / "pack").glob("*.pack"):
        pack.chmod(0o600)
        pack.write_bytes(b"PACK" + bytes(len(pack.read_bytes()) - 4))


def spoil_a_file(folder: Path) -> None:
    for pack in (folder / "objects" / "pack").glob("*.pack"):
        pack.chmod(0o600)
        held = bytearray(pack.read_bytes())
        held[-21] ^= 0xFF  # of the checksum of what comes last, which is a file
        pack.write_bytes(held)


def empty_packs(folder: Path) -> None:
    for place in (folder / "objects" / "pack").iterdir():
        place.unlink()


def unmake_index(folder: Path) -> None:
    for place in (folder / "objects" / "pack").glob("*.idx"):
        place.chmod(0o600)
        place.write_bytes(b"")


def unmake_head(folder: Path) -> None:
    (folder / "HEAD").unlink()


def unmake_config(folder: Path) -> None:
    (folder / "config").write_bytes(b"\0\0[[[\n")


def unmake_references(folder: Path) -> None:
    for place in (folder / copies.TIPS).iterdir():
        place.write_text("")


DAMAGES = [truncate, scribble, spoil_a_file, empty_packs, unmake_index, unmake_head, unmake_config, unmake_references]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("is_new", [True, False], ids=["restarted", "running"])
async def test_a_damaged_copy_is_thrown_away_and_fetched_again(
    https_host: HttpsHost,
    repositories: GitRepositories,
    pushed: Push,
    tmp_path: Path,
    damage: Callable[[Path], None],
    is_new: bool,
) -> None:
    sha = pushed({"plan.yaml": PLAN})
    repository = repositories.of("one")
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    damage(repository.folder)
    newer = pushed({"plan.yaml": PLAN * 2, "other.yaml": PLAN})
    if is_new:
        repository = GitRepositories(tmp_path / "repositories", Redactor()).of("one")

    # As passes do: whatever fails is tried again, and at the third time at the latest it is right.
    contents: Mapping[str, bytes] = {}
    for _ in range(3):
        try:
            if not await repository.has(newer):
                await repository.fetch(https_host.remote("defs"), BRANCH, newer)
            for commit in (newer, sha):
                tree = await repository.tree(commit, "")
                contents = await repository.read([blob.oid for blob in tree.blobs])
        except RepositoryUnavailable:
            continue
        break
    else:
        pytest.fail("the copy stays damaged")
    assert set(contents.values()) == {PLAN.encode()}
    assert await repository.is_ancestor(sha, newer)


async def test_a_damage_is_told_as_one_when_it_is_read(
    https_host: HttpsHost, repository: GitRepository, pushed: Push
) -> None:
    sha = pushed({"plan.yaml": PLAN})
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    oid = (await repository.tree(sha, "")).blobs[0].oid
    empty_packs(repository.folder)
    with capture_logs() as logged, pytest.raises(RepositoryUnavailable, match="thrown away"):
        await repository.read([oid])
    assert [(entry["event"], entry["copy"]) for entry in logged] == [("git.copy_thrown_away", "one")]
    assert not repository.folder.exists()
    assert not await repository.has(sha)


async def test_an_object_that_nobody_has_is_no_damage(
    https_host: HttpsHost, repository: GitRepository, pushed: Push
) -> None:
    sha = pushed({"plan.yaml": PLAN})
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    with pytest.raises(RepositoryRefused):
        await repository.read(["0123456789" * 4])
    assert await repository.has(sha)


async def test_what_a_server_left_out_is_not_held_to_be_here(
    https_host: HttpsHost, repository: GitRepository, pushed: Push
) -> None:
    sha = pushed({"plan.yaml": PLAN})
    bare = https_host.folder / "defs.git"
    commit_alone = run_pack(bare, sha)
    https_host.answer = lambda asked: (
        Answer(200, {"Content-Type": "application/x-git-upload-pack-result"}, commit_alone)
        if asked.method == "POST"
        else None
    )
    with pytest.raises((RepositoryUnavailable, RepositoryRefused)):
        await repository.fetch(https_host.remote("defs"), Reference(ReferenceKind.COMMIT, sha), sha)
    assert not await repository.has(sha)
    https_host.answer = lambda _: None
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    assert len((await repository.tree(sha, "")).blobs) == 1


def run_pack(bare: Path, sha: str) -> bytes:
    """An answer to a fetch with a pack that holds a commit, and nothing that it leads to."""
    pack = subprocess.run(
        ["git", "pack-objects", "--stdout", "-q"], cwd=bare, input=f"{sha}\n".encode(), capture_output=True, check=True
    ).stdout
    lines = (b"packfile\n", b"\1" + pack)
    return b"".join(f"{len(line) + 4:04x}".encode() + line for line in lines) + b"0000"


async def test_locks_and_unfinished_files_of_a_killed_git_are_cleared(
    https_host: HttpsHost, repositories: GitRepositories, pushed: Push, tmp_path: Path
) -> None:
    first = pushed({"plan.yaml": PLAN})
    folder = repositories.of("one").folder
    await repositories.of("one").fetch(https_host.remote("defs"), BRANCH, first)
    left = [folder / name for name in ("HEAD.lock", "packed-refs.lock", "config.lock", "shallow.lock")]
    left += [folder / copies.TIPS / "x.lock", folder / "objects" / "pack" / "tmp_pack_x"]
    for place in left:
        place.write_text("half")
    (folder / "objects" / "incoming-x").mkdir()

    again = GitRepositories(tmp_path / "repositories", Redactor()).of("one")
    second = pushed({"plan.yaml": PLAN * 2})
    await again.fetch(https_host.remote("defs"), BRANCH, second)
    assert await again.has(second)
    assert not [place for place in (*left, folder / "objects" / "incoming-x") if place.exists()]


async def test_half_a_copy_is_made_anew(https_host: HttpsHost, repository: GitRepository, pushed: Push) -> None:
    sha = pushed({"plan.yaml": PLAN})
    (repository.folder / "objects").mkdir(parents=True)
    (repository.folder / "HEAD").write_text("")
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    assert await repository.has(sha)
    assert not list(repository.folder.parent.glob("fresh-*"))


async def test_a_disk_that_takes_nothing_more_is_told_and_loses_nothing(
    https_host: HttpsHost, repository: GitRepository, pushed: Push, tmp_path: Path
) -> None:
    first = pushed({"plan.yaml": PLAN})
    await repository.fetch(https_host.remote("defs"), BRANCH, first)
    second = pushed({"plan.yaml": PLAN * 2})
    # git's words of a full disk, as its transport says them in a fetch.
    full = tmp_path / "full-git"
    full.write_text(
        '#!/bin/sh\ncase "$*" in *" fetch "*) echo "fatal: write error: No space left on device" >&2; exit 128;; esac\n'
        'exec git "$@"\n'
    )
    full.chmod(0o755)
    with pytest.raises(RepositoryUnavailable, match="make room"):
        await (
            GitRepositories(tmp_path / "repositories", Redactor(), str(full))
            .of("one")
            .fetch(https_host.remote("defs"), BRANCH, second)
        )
    assert await repository.has(first)
    await repository.fetch(https_host.remote("defs"), BRANCH, second)
    assert await repository.has(second)


async def test_a_thousand_fetches_leave_few_references_and_packs_and_lose_nothing(
    https_host: HttpsHost, repository: GitRepository, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = https_host.create("defs")
    monkeypatch.setattr(copies, "TIPS_MAX", 5)
    monkeypatch.setattr(copies, "PACKS_MAX", 5)
    base = work.commit({"plan.yaml": PLAN})
    abandoned = []
    for number in range(12):
        sha = work.commit({"plan.yaml": f"x: {number}\n"})
        work.push(bare, is_forced=True)
        await repository.fetch(https_host.remote("defs"), BRANCH, sha)
        if number % 4 == 3:
            abandoned.append(sha)
            work.reset(base)
    tips = list((repository.folder / copies.TIPS).iterdir())
    assert len(tips) <= 6
    assert len(list((repository.folder / "objects" / "pack").glob("*.pack"))) <= 6
    for sha in abandoned:
        assert await repository.has(sha)
        assert (await repository.tree(sha, "")).blobs


async def test_fetches_of_one_copy_take_turns_and_reading_goes_on(
    https_host: HttpsHost, repository: GitRepository, pushed: Push
) -> None:
    first = pushed({"plan.yaml": PLAN})
    await repository.fetch(https_host.remote("defs"), BRANCH, first)
    second = pushed({"plan.yaml": PLAN * 2})
    released, asked = threading.Event(), threading.Event()

    def hang(_: Asked) -> Answer:
        asked.set()
        return Answer(hangs_until=released)

    https_host.answer = hang
    fetching = [asyncio.create_task(repository.fetch(https_host.remote("defs"), BRANCH, second)) for _ in range(3)]
    assert await asyncio.to_thread(asked.wait, 30)
    assert (await repository.tree(first, "")).blobs
    https_host.answer = lambda _: None
    before = len(https_host.asked)
    released.set()
    await asyncio.gather(*fetching)
    assert await repository.has(second)
    # The two others found that it was here by then.
    assert len([request for request in https_host.asked[before:] if request.method == "POST"]) == 1


async def test_a_copy_that_vanished_while_the_engine_runs_is_made_again(
    https_host: HttpsHost, repository: GitRepository, pushed: Push
) -> None:
    sha = pushed({"plan.yaml": PLAN})
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    shutil.rmtree(repository.folder)
    assert not await repository.has(sha)
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    assert await repository.has(sha)
