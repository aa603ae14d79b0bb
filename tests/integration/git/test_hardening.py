"""What somebody who may push to a repository, or who runs its host, must not be able to do to the engine."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pymigrate.engine.adapters.git.repositories import GitRepositories
from pymigrate.engine.adapters.git.repository import GitRepository
from pymigrate.engine.domain.errors import PyMigrateError, RepositoryRefused
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.repository import HttpsLogin, Reference, ReferenceKind, Remote, SshLogin
from pymigrate.engine.ports.secrets import Secret
from tests.git_hosting import TOKEN, Answer, Asked, HttpsHost, SshHost
from tests.git_works import Work, run_git

Push = Callable[..., str]
BRANCH = Reference(ReferenceKind.BRANCH, "main")
PLAN = "kind: Plan\n"


@pytest.fixture
def touched(tmp_path: Path) -> Iterator[Path]:
    """What no test may bring into being: that is looked at in the end."""
    yield tmp_path / "touched"
    assert not (tmp_path / "touched").exists()


ODD_NAMES = (
    "--upload-pack=touch {touched}",
    "-u touch {touched}",
    "--exec=touch {touched}",
    "main --upload-pack=touch",
    "x;touch {touched}",
    "$(touch {touched})",
    "a..b",
    "a@{{1}}",
    "a^",
    "a:b",
    "../main",
    "a//b",
    ".hidden",
    "a.lock",
    "",
    "a\nb",
    "x" * 300,
)


@pytest.mark.parametrize("kind", [ReferenceKind.BRANCH, ReferenceKind.TAG, ReferenceKind.NAME, ReferenceKind.COMMIT])
async def test_a_reference_is_never_an_option(
    https_host: HttpsHost, repository: GitRepository, touched: Path, kind: ReferenceKind
) -> None:
    https_host.create("defs")
    remote = https_host.remote("defs")
    for text in ODD_NAMES:
        reference = Reference(kind, text.format(touched=touched))
        with pytest.raises(RepositoryRefused) as caught:
            await repository.find(remote, reference)
        assert caught.value.reason == "REFERENCE_MISSING"
        with pytest.raises(RepositoryRefused):
            await repository.fetch(remote, reference, reference.text)


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% {touched}",
        "ext::touch",
        "file://{touched}",
        "{touched}",
        "../work",
        "--upload-pack=touch",
        "-oProxyCommand=touch",
        "git://host.test/x",
        "ftp://host.test/x",
        "https::ext::touch",
        "ssh://-oProxyCommand=touch/x",
        "ssh://-x@host.test/x",
        "-x@host.test:x",
        "user@-host.test:x",
        "http://host.test/x",
        "http://169.254.169.254/x",
        "http://127.0.0.1.host.test/x",
        "https://user:password@host.test/x",
        "https://host.test/x?y",
        "https://host.test/x#y",
        "https://",
        "https://host.test:port/x",
        "https://host.test/a b",
        "https://host.test/\nx",
        "",
    ],
)
async def test_a_url_of_another_kind_is_refused(repository: GitRepository, touched: Path, url: str) -> None:
    remote = Remote(url.format(touched=touched))
    for calling in (
        repository.find(remote, BRANCH),
        repository.fetch(remote, BRANCH, "0123456789" * 4),
        repository.push(remote, "0123456789" * 4, "main", ""),
    ):
        with pytest.raises(RepositoryRefused) as caught:
            await calling
        assert caught.value.reason == "URL_REFUSED"


async def test_no_hook_of_either_side_is_run_here(
    https_host: HttpsHost, repository: GitRepository, pushed: Push, touched: Path
) -> None:
    first = pushed({"plan.yaml": PLAN, "hooks/post-checkout": f"#!/bin/sh\ntouch {touched}\n"})
    remote = https_host.remote("defs")
    await repository.fetch(remote, BRANCH, first)
    for hook in ("post-fetch", "reference-transaction", "pre-push", "post-checkout", "post-index-change", "fsmonitor"):
        place = repository.folder / "hooks" / hook
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"#!/bin/sh\ntouch {touched}\n")
        place.chmod(0o755)
    second = pushed({"plan.yaml": PLAN * 2})
    await repository.fetch(remote, BRANCH, second)
    commit = await repository.commit(second)
    made = await repository.write(second, {"x.yaml": b"x"}, "Promote", "P <p@x>", commit.time)
    await repository.push(remote, made, "other", "")
    assert https_host.head_of("defs", "other") == made


async def test_no_configuration_of_the_machine_is_read(
    https_host: HttpsHost, pushed: Push, tmp_path: Path, touched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha = pushed({"plan.yaml": PLAN})
    (tmp_path / ".gitconfig").write_text(
        f'[core]\n\tsshCommand = touch {touched}\n\tfsmonitor = "touch {touched}"\n[credential]\n\thelper = "!touch {touched}"\n'
        f'[url "file://{tmp_path}/"]\n\tinsteadOf = https://\n[http]\n\tproxy = http://127.0.0.1:9\n'
    )
    for name, value in {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "GIT_CONFIG_GLOBAL": str(tmp_path / ".gitconfig"),
        "GIT_SSH_COMMAND": f"touch {touched}",
        "GIT_ASKPASS": "touch",
        "GIT_EXTERNAL_DIFF": f"touch {touched}",
        "GIT_DIR": str(tmp_path / "work" / ".git"),
        "GIT_SSL_NO_VERIFY": "1",
        "GIT_TRACE": str(touched),
        "GIT_TRACE_CURL": str(touched),
    }.items():
        monkeypatch.setenv(name, value)
    repository = GitRepositories(tmp_path / "copies", Redactor()).of("one")
    assert await repository.find(https_host.remote("defs"), BRANCH) == sha
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)


@pytest.mark.parametrize("target", ["plan.yaml", "/etc/passwd", "../../..", "folder"])
async def test_a_link_in_the_folder_is_refused_by_its_path(
    https_host: HttpsHost, repository: GitRepository, work: Work, target: str
) -> None:
    bare = https_host.create("defs")
    work.commit({"defs/plan.yaml": PLAN, "clean/plan.yaml": PLAN})
    (work.folder / "defs" / "sub").mkdir()
    (work.folder / "defs" / "sub" / "link.yaml").symlink_to(target)
    sha = work.commit({})
    work.push(bare)
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)

    for path in ("defs", "", "defs/sub"):
        with pytest.raises(RepositoryRefused, match=r"defs/sub/link\.yaml") as caught:
            await repository.tree(sha, path)
        assert (caught.value.reason, caught.value.path) == ("LINK_REFUSED", "defs/sub/link.yaml")
    with pytest.raises(RepositoryRefused) as caught:
        await repository.read_file(sha, "defs/sub/link.yaml")
    assert caught.value.reason == "LINK_REFUSED"
    assert [blob.path for blob in (await repository.tree(sha, "clean")).blobs] == ["plan.yaml"]


async def test_a_folder_that_is_a_link_is_not_followed(
    https_host: HttpsHost, repository: GitRepository, work: Work
) -> None:
    bare = https_host.create("defs")
    work.commit({"defs/sub/plan.yaml": PLAN})
    (work.folder / "link").symlink_to("defs")
    sha = work.commit({})
    work.push(bare)
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    for path in ("link", "link/sub"):
        with pytest.raises(RepositoryRefused, match="not followed") as caught:
            await repository.tree(sha, path)
        assert caught.value.reason == "FOLDER_MISSING"
    assert await repository.read_file(sha, "link/sub/plan.yaml") is None


async def test_a_submodule_is_refused_in_the_folder_and_fetched_nowhere(
    https_host: HttpsHost, repository: GitRepository, work: Work, touched: Path
) -> None:
    bare = https_host.create("defs")
    commit = work.commit({"defs/plan.yaml": PLAN})
    work.commit(
        {
            ".gitmodules": f'[submodule "x"]\n\tpath = defs/x\n\turl = ext::sh -c touch% {touched}\n\tupdate = !touch {touched}\n'
            f'[submodule "-u"]\n\tpath = other/x\n\turl = --upload-pack=touch {touched}\n'
        }
    )
    work.git("update-index", "--add", "--cacheinfo", f"160000,{commit},defs/x")
    work.git("update-index", "--add", "--cacheinfo", f"160000,{commit},other/x")
    sha = work.commit_staged("Submodules")
    work.push(bare)
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    with pytest.raises(RepositoryRefused, match="defs/x is a submodule") as caught:
        await repository.tree(sha, "defs")
    assert (caught.value.reason, caught.value.path) == ("SUBMODULE_REFUSED", "defs/x")
    assert {asked.path.split("/")[1] for asked in https_host.asked} == {"defs.git"}


def tree_of(work: Work, *entries: tuple[str, str, bytes]) -> str:
    """A commit whose folder holds entries that git itself would not let one add: mode, digest and name."""
    told = b"".join(f"{mode} {kind_of(mode)} {oid}\t".encode() + name + b"\0" for mode, oid, name in entries)
    tree = work.git("mktree", "-z", told=told)
    return work.git("commit-tree", tree, "-m", "Odd")


def kind_of(mode: str) -> str:
    return "tree" if mode == "040000" else "blob"


@pytest.mark.parametrize(
    "name", [b"\x1b[31m.yaml", b"a\nb.yaml", b"\xff\xfe.yaml", b"a\tb.json", "a\u202e.yml".encode()], ids=repr
)
async def test_names_that_nobody_can_read_are_refused_and_shown_harmless(
    https_host: HttpsHost, repository: GitRepository, work: Work, name: bytes
) -> None:
    bare = https_host.create("defs")
    blob = work.git("hash-object", "-w", "--stdin", told=PLAN.encode())
    sha = tree_of(work, ("100644", blob, name))
    work.push(bare, f"{sha}:refs/heads/main")
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    with pytest.raises(RepositoryRefused) as caught:
        await repository.tree(sha, "")
    assert caught.value.reason == "NAME_REFUSED"
    assert str(caught.value).isprintable()
    assert caught.value.path.isprintable()


async def test_folders_that_would_lead_out_of_the_tree_are_refused(
    https_host: HttpsHost, repository: GitRepository, work: Work
) -> None:
    bare = https_host.create("defs")
    blob = work.git("hash-object", "-w", "--stdin", told=PLAN.encode())
    inner = work.git("rev-parse", f"{tree_of(work, ('100644', blob, b'x.yaml'))}^{{tree}}")
    # No command of git's writes such a folder; hosts that check nothing take it.
    raw = b"40000 ..\0" + bytes.fromhex(inner)
    tree = work.git("hash-object", "-w", "-t", "tree", "--literally", "--stdin", told=raw)
    sha = work.git("commit-tree", tree, "-m", "Out")
    work.push(bare, f"{sha}:refs/heads/main")
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    with pytest.raises(RepositoryRefused) as caught:
        await repository.tree(sha, "")
    assert (caught.value.reason, caught.value.path) == ("NAME_REFUSED", "../x.yaml")


async def test_a_file_of_100_mb_is_refused_by_path_and_size_without_being_read(
    https_host: HttpsHost, repository: GitRepository, work: Work
) -> None:
    bare = https_host.create("defs")
    (work.folder / "defs").mkdir()
    for name in ("big.yaml", "data.bin"):
        with (work.folder / "defs" / name).open("wb") as file:
            file.truncate(100_000_000)
    work.commit({"small/plan.yaml": PLAN})
    sha = work.head
    work.push(bare)
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    with pytest.raises(RepositoryRefused, match=r"defs/big\.yaml has 100,000,000 bytes") as caught:
        await repository.tree(sha, "defs")
    assert (caught.value.reason, caught.value.path) == ("FILE_TOO_LARGE", "defs/big.yaml")
    assert len((await repository.tree(sha, "small")).blobs) == 1
    with pytest.raises(RepositoryRefused) as caught:
        await repository.read_file(sha, "defs/data.bin")
    assert caught.value.reason == "FILE_TOO_LARGE"
    oid = run_git(bare, "rev-parse", f"{sha}:defs/big.yaml")
    with pytest.raises(RepositoryRefused) as caught:
        await repository.read([oid])
    assert caught.value.reason in {"FILE_TOO_LARGE", "REPOSITORY_TOO_LARGE"}


async def test_too_many_files_are_refused(https_host: HttpsHost, repository: GitRepository, work: Work) -> None:
    bare = https_host.create("defs")
    blob = work.git("hash-object", "-w", "--stdin", told=PLAN.encode())
    names = (f"100644 {blob}\tmany/{number}.yaml\n" for number in range(10_001))
    work.git("update-index", "--index-info", told="".join(names).encode())
    sha = work.commit_staged("Many")
    work.push(bare)
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    with pytest.raises(RepositoryRefused, match="10,001 files") as caught:
        await repository.tree(sha, "many")
    assert caught.value.reason == "TOO_MANY_FILES"


async def test_a_folder_that_holds_itself_a_thousand_times_is_refused_in_time(
    https_host: HttpsHost, repository: GitRepository, work: Work
) -> None:
    bare = https_host.create("defs")
    blob = work.git("hash-object", "-w", "--stdin", told=PLAN.encode())
    tree = work.git("mktree", told="".join(f"100644 blob {blob}\t{number}.txt\n" for number in range(10)).encode())
    for _ in range(9):  # a thousand million files, in a pack of a thousand bytes
        tree = work.git("mktree", told="".join(f"040000 tree {tree}\t{number}\n" for number in range(10)).encode())
    sha = work.git("commit-tree", tree, "-m", "Bomb")
    work.push(bare, f"{sha}:refs/heads/main")
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    with pytest.raises(RepositoryRefused) as caught:
        await repository.tree(sha, "")
    assert caught.value.reason in {"TOO_MANY_FILES", "REPOSITORY_TOO_LARGE"}


@pytest.mark.parametrize("kind", ["https", "ssh"])
async def test_secrets_show_in_no_argument_no_environment_and_no_file_that_stays(
    https_host: HttpsHost, request: pytest.FixtureRequest, tmp_path: Path, work: Work, redactor: Redactor, kind: str
) -> None:
    host: HttpsHost | SshHost = https_host if kind == "https" else request.getfixturevalue("ssh_host")
    secret = TOKEN if isinstance(host, HttpsHost) else host.private_key.splitlines()[2]
    sha = work.commit({"plan.yaml": PLAN})
    work.push(host.create("defs"))
    folder = tmp_path / "copies"
    repository = GitRepositories(folder, redactor).of("one")
    seen: list[bytes] = []
    modes: set[int] = set()
    ended = threading.Event()

    def look() -> None:
        """At everything that the machine tells of processes, and at the files of the copies' folder, as long as the commands run."""
        while not ended.is_set():
            for place in (*Path("/proc").glob("[0-9]*/cmdline"), *Path("/proc").glob("[0-9]*/environ")):
                try:
                    told = place.read_bytes()
                except OSError:
                    continue
                if str(folder).encode() in told:
                    seen.append(told)
            for place in folder.glob("login-*/*"):
                try:
                    modes.add(place.stat().st_mode & 0o777)
                    modes.add(place.parent.stat().st_mode & 0o077)
                except OSError:
                    continue

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(5):
            await repository.find(host.remote("defs"), BRANCH)
        await repository.fetch(host.remote("defs"), BRANCH, sha)
        made = await repository.write(sha, {"x": b"x"}, "Promote", "P <p@x>", (await repository.commit(sha)).time)
        await repository.push(host.remote("defs"), made, "other", "")
    finally:
        ended.set()
        looking.join()

    assert len(seen) > 10
    assert not [told for told in seen if secret.encode() in told]
    assert modes <= {0o600, 0}
    assert not list(folder.glob("login-*"))
    kept = [place for place in folder.rglob("*") if place.is_file()]
    assert kept
    assert not [place for place in kept if secret.encode() in place.read_bytes()]
    assert redactor.clean(secret) == "***"


async def test_a_token_that_a_host_says_aloud_is_hidden_in_the_error(
    https_host: HttpsHost, repository: GitRepository
) -> None:
    said = f"no {TOKEN} here\nand \x1b[31mmore\n".encode()
    https_host.answer = lambda _: Answer(500, {"Content-Type": "text/plain"}, said)
    with pytest.raises(PyMigrateError) as caught:
        await repository.find(https_host.remote("defs"), BRANCH)
    assert TOKEN not in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1_000


async def test_a_host_that_talks_without_end_is_cut_off(https_host: HttpsHost, repository: GitRepository) -> None:
    said = b"".join(f"{number:040x}\trefs/heads/main\n".encode() for number in range(400_000))
    https_host.answer = lambda _: Answer(200, {"Content-Type": "text/plain"}, said * 4)
    with pytest.raises(PyMigrateError):
        await repository.find(https_host.remote("defs", timeout_seconds=60), BRANCH)


async def test_a_token_is_told_to_no_other_host(https_host: HttpsHost, repository: GitRepository, pushed: Push) -> None:
    pushed({"plan.yaml": PLAN})
    told: list[Asked] = []

    def elsewhere(asked: Asked) -> Answer:
        told.append(asked)
        return Answer(302, {"Location": f"https://localhost:{https_host.port}/defs.git/info/refs"})

    https_host.answer = elsewhere
    with pytest.raises(RepositoryRefused):
        await repository.find(https_host.remote("defs"), BRANCH)
    assert not [asked for asked in told if "authorization" in asked.headers]


async def test_what_a_killed_engine_left_of_logins_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    child = await asyncio.create_subprocess_exec("true")
    await child.wait()
    ended = child.pid
    for name in (f"login-{ended}-x", f"login-{os.getppid()}-y", "dropped-x", "fresh-x"):
        (folder / name).mkdir(parents=True)
        (folder / name / "key").write_text("secret")
    GitRepositories(folder, Redactor()).of("one")
    assert sorted(place.name for place in folder.iterdir()) == ["home", f"login-{os.getppid()}-y"]


def test_a_key_or_token_is_no_part_of_what_a_remote_shows() -> None:
    shown = repr(Remote("https://h.test/x", HttpsLogin("u", Secret("s3cret")))) + repr(SshLogin(Secret("k3y"), "h"))
    assert "s3cret" not in shown
    assert "k3y" not in shown
