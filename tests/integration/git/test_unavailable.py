"""What hosts do wrong, or do not let one do: each is told by its reason, in time, and nothing of it stays."""

import asyncio
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pymigrate.engine.adapters.git.repositories import GitRepositories
from pymigrate.engine.adapters.git.repository import GitRepository
from pymigrate.engine.domain.errors import RepositoryRefused, RepositoryUnavailable
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.repository import HttpsLogin, Reference, ReferenceKind, Remote, SshLogin
from pymigrate.engine.ports.secrets import Secret
from tests.git_hosting import Answer, Asked, HttpsHost, SshHost, make_authority, make_key
from tests.git_works import Work

Push = Callable[..., str]
BRANCH = Reference(ReferenceKind.BRANCH, "main")
PLAN = "kind: Plan\n"


async def refused(repository: GitRepository, remote: Remote) -> RepositoryRefused:
    """How finding a branch is refused."""
    with pytest.raises(RepositoryRefused) as caught:
        await repository.find(remote, BRANCH)
    return caught.value


async def test_a_host_that_is_away_is_unavailable_and_found_again(
    https_host: HttpsHost, repository: GitRepository, pushed: Push
) -> None:
    sha = pushed({"plan.yaml": PLAN})
    https_host.take_down()
    with pytest.raises(RepositoryUnavailable, match="connect"):
        await repository.find(https_host.remote("defs"), BRANCH)
    https_host.bring_up()
    assert await repository.find(https_host.remote("defs"), BRANCH) == sha


async def test_a_host_whose_name_nobody_knows_is_unavailable(repository: GitRepository) -> None:
    with pytest.raises(RepositoryUnavailable, match="resolve"):
        await repository.find(Remote("https://repositories.invalid/defs.git"), BRANCH)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "CREDENTIALS_REFUSED"),
        (403, "CREDENTIALS_REFUSED"),
        (404, "REPOSITORY_MISSING"),
        (301, "REPOSITORY_MOVED"),
        (302, "REPOSITORY_MOVED"),
        (307, "REPOSITORY_MOVED"),
    ],
)
async def test_what_a_host_refuses_is_refused(
    https_host: HttpsHost, repository: GitRepository, status: int, reason: str
) -> None:
    https_host.answer = lambda _: Answer(status, {"Location": f"{https_host.url('other')}/info/refs"})
    https_host.create("defs")
    assert (await refused(repository, https_host.remote("defs"))).reason == reason


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_what_a_host_can_not_do_now_is_tried_again(
    https_host: HttpsHost, repository: GitRepository, status: int
) -> None:
    https_host.answer = lambda _: Answer(status)
    with pytest.raises(RepositoryUnavailable, match=str(status)):
        await repository.find(https_host.remote("defs"), BRANCH)


async def test_a_page_that_is_no_repository_is_told(https_host: HttpsHost, repository: GitRepository) -> None:
    https_host.answer = lambda _: Answer(200, {"Content-Type": "text/html"}, b"<html>Sign in</html>")
    error = await refused(repository, https_host.remote("defs"))
    assert (error.reason, "no repository" in str(error)) == ("REFERENCE_MISSING", True)


async def test_a_redirect_is_followed_nowhere(
    https_host: HttpsHost, repository: GitRepository, pushed: Push, tmp_path: Path
) -> None:
    pushed({"plan.yaml": PLAN})
    for place in (f"file://{https_host.folder}/defs.git", "ext::sh -c touch% " + str(tmp_path / "touched")):
        answer = Answer(302, {"Location": place})
        https_host.answer = lambda _: answer  # noqa: B023 (it is asked in this round)
        assert (await refused(repository, https_host.remote("defs"))).reason == "REPOSITORY_MOVED"
    assert not (tmp_path / "touched").exists()


async def test_a_wrong_token_is_refused_and_the_next_one_taken(
    https_host: HttpsHost, repository: GitRepository, pushed: Push
) -> None:
    sha = pushed({"plan.yaml": PLAN})
    before = https_host.remote("defs")
    https_host.token = "token-of-tomorrow"
    error = await refused(repository, before)
    assert error.reason == "CREDENTIALS_REFUSED"
    assert "token-" not in str(error)
    assert await repository.find(https_host.remote("defs"), BRANCH) == sha


async def test_without_a_token_one_is_nobody(https_host: HttpsHost, repository: GitRepository, pushed: Push) -> None:
    sha = pushed({"plan.yaml": PLAN})
    remote = replace(https_host.remote("defs"), login=HttpsLogin(ca_certificates=https_host.authority.pem))
    assert (await refused(repository, remote)).reason == "CREDENTIALS_REFUSED"
    https_host.token = ""
    assert await repository.find(remote, BRANCH) == sha


async def test_odd_tokens_come_over_as_they_are(https_host: HttpsHost, repository: GitRepository, pushed: Push) -> None:
    sha = pushed({"plan.yaml": PLAN})
    https_host.token = " 'quoted' \"$(touch x)\" %41 = ü "
    assert await repository.find(https_host.remote("defs"), BRANCH) == sha


async def test_a_token_with_line_ends_is_none(https_host: HttpsHost, repository: GitRepository) -> None:
    login = HttpsLogin("reader", Secret("token\nhost=other"), https_host.authority.pem)
    assert (await refused(repository, Remote(https_host.url("defs"), login))).reason == "CREDENTIALS_REFUSED"


async def test_a_certificate_of_an_unknown_authority_is_refused(
    https_host: HttpsHost, repository: GitRepository, pushed: Push
) -> None:
    pushed({"plan.yaml": PLAN})
    login = replace(https_host.login(), ca_certificates="")
    assert (await refused(repository, Remote(https_host.url("defs"), login))).reason == "CERTIFICATE_REFUSED"
    assert not https_host.asked


async def test_a_certificate_for_another_name_is_refused(repository: GitRepository, tmp_path: Path) -> None:
    host = HttpsHost(tmp_path / "other_host", make_authority(tmp_path / "authority", ("elsewhere.test",)))
    try:
        assert (await refused(repository, host.remote("defs"))).reason == "CERTIFICATE_REFUSED"
        assert not host.asked
    finally:
        host.close()


async def test_certificates_that_are_none_are_told(https_host: HttpsHost, repository: GitRepository) -> None:
    login = replace(https_host.login(), ca_certificates="no certificate")
    error = await refused(repository, Remote(https_host.url("defs"), login))
    assert (error.reason, "caCertificates" in str(error)) == ("CERTIFICATE_REFUSED", True)


async def test_a_host_that_hangs_is_given_up_in_time_and_nothing_is_left_running(
    https_host: HttpsHost, repository: GitRepository, pushed: Push
) -> None:
    pushed({"plan.yaml": PLAN})
    released = threading.Event()
    https_host.answer = lambda _: Answer(hangs_until=released)
    try:
        with pytest.raises(RepositoryUnavailable, match="timeoutSeconds"):
            await repository.find(https_host.remote("defs", timeout_seconds=0.5), BRANCH)
        assert not git_commands_in(repository.folder.parent)
    finally:
        released.set()


@pytest.mark.parametrize("fault", ["cut", "drips", "reset"])
async def test_an_answer_that_breaks_off_leaves_nothing_and_is_fetched_whole_then(
    https_host: HttpsHost, repository: GitRepository, pushed: Push, fault: str
) -> None:
    sha = pushed({f"{number}.yaml": f"x: {number}\n" * 100 for number in range(50)})
    released = threading.Event()
    answer = {
        "cut": Answer(cut_bytes=600),
        "drips": Answer(drips_until=released),
        "reset": Answer(is_reset=True),
    }[fault]
    https_host.answer = lambda asked: answer if asked.method == "POST" else None
    try:
        with pytest.raises(RepositoryUnavailable):
            await repository.fetch(https_host.remote("defs", timeout_seconds=2), BRANCH, sha)
    finally:
        released.set()
    assert not await repository.has(sha)
    assert not git_commands_in(repository.folder.parent)
    https_host.answer = lambda _: None
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    assert len((await repository.tree(sha, "")).blobs) == 50


async def test_whoever_is_cancelled_leaves_nothing_running(
    https_host: HttpsHost, repository: GitRepository, pushed: Push
) -> None:
    sha = pushed({"plan.yaml": PLAN})
    released, asked = threading.Event(), threading.Event()

    def hang(_: Asked) -> Answer:
        asked.set()
        return Answer(hangs_until=released)

    https_host.answer = hang
    fetching = asyncio.create_task(repository.fetch(https_host.remote("defs"), BRANCH, sha))
    assert await asyncio.to_thread(asked.wait, 30)
    assert git_commands_in(repository.folder.parent)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert not git_commands_in(repository.folder.parent)
    released.set()
    https_host.answer = lambda _: None
    await repository.fetch(https_host.remote("defs"), BRANCH, sha)


async def test_a_repository_that_is_too_large_is_refused_before_it_is_here(
    https_host: HttpsHost, tmp_path: Path, pushed: Push
) -> None:
    sha = pushed({"data.bin": random.Random(7).randbytes(2_000_000)})
    repository = GitRepositories(tmp_path / "small", Redactor(), pack_bytes_max=1_000_000).of("one")
    with pytest.raises(RepositoryRefused) as caught:
        await repository.fetch(https_host.remote("defs"), BRANCH, sha)
    assert caught.value.reason == "REPOSITORY_TOO_LARGE"
    assert not await repository.has(sha)
    left = sum(place.stat().st_size for place in (tmp_path / "small").rglob("*") if place.is_file())
    assert left < 1_000_000


async def test_a_key_of_the_host_that_is_not_the_known_one_is_refused(
    ssh_host: SshHost, repository: GitRepository, tmp_path: Path
) -> None:
    make_key(tmp_path / "other_key")
    other = (tmp_path / "other_key.pub").read_text().strip()
    ssh_host.create("defs")
    known = {
        "another": f"[127.0.0.1]:{ssh_host.port} {other}\n",
        "of another host": f"elsewhere.test {ssh_host.host_key}\n",
        "none": "\n",
    }
    for lines in known.values():
        login = SshLogin(Secret(ssh_host.private_key), lines)
        error = await refused(repository, Remote(ssh_host.url("defs"), login))
        assert error.reason == "HOST_KEY_REFUSED"


async def test_a_key_that_the_host_does_not_know_is_refused(
    ssh_host: SshHost, repository: GitRepository, tmp_path: Path
) -> None:
    ssh_host.create("defs")
    for key in (make_key(tmp_path / "stranger"), "no key at all"):
        error = await refused(repository, Remote(ssh_host.url("defs"), SshLogin(Secret(key), ssh_host.known_hosts)))
        assert error.reason == "CREDENTIALS_REFUSED"


async def test_a_repository_that_a_host_over_ssh_does_not_have_is_told(
    ssh_host: SshHost, repository: GitRepository
) -> None:
    assert (await refused(repository, ssh_host.remote("none"))).reason == "REPOSITORY_MISSING"


async def test_a_host_over_ssh_that_is_away_is_unavailable(
    ssh_host: SshHost, repository: GitRepository, work: Work
) -> None:
    sha = work.commit({"plan.yaml": PLAN})
    work.push(ssh_host.create("defs"))
    ssh_host.take_down()
    with pytest.raises(RepositoryUnavailable, match="refused"):
        await repository.find(ssh_host.remote("defs"), BRANCH)
    ssh_host.bring_up()
    assert await repository.find(ssh_host.remote("defs"), BRANCH) == sha


async def test_without_git_sources_are_refused_and_nothing_else(tmp_path: Path, https_host: HttpsHost) -> None:
    old = tmp_path / "old-git"
    old.write_text("#!/bin/sh\necho git version 2.30.1\n")
    old.chmod(0o755)
    for program, told in ((str(tmp_path / "none"), "not git"), (str(old), "2.30.1"), ("true", "not git")):
        repository = GitRepositories(tmp_path / "copies", Redactor(), program).of("one")
        error = await refused(repository, https_host.remote("defs"))
        assert (error.reason, told in str(error), "2.34" in str(error)) == ("GIT_MISSING", True, True)


async def test_a_login_of_the_other_kind_is_told(https_host: HttpsHost, repository: GitRepository) -> None:
    key = SshLogin(Secret("key"), "host key")
    assert (await refused(repository, Remote("https://host.test/x", key))).reason == "URL_REFUSED"
    assert (await refused(repository, Remote("git@host.test:x"))).reason == "CREDENTIALS_REFUSED"
    assert (await refused(repository, Remote("git@host.test:x", HttpsLogin(token=Secret("x"))))).reason == "URL_REFUSED"


def git_commands_in(folder: Path) -> list[str]:
    """The commands that run and were started for copies in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "environ").read_bytes()
            line = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if f"HOME={folder}/home".encode() in told.split(b"\0"):
            found.append(line.replace(b"\0", b" ").decode())
    return found
