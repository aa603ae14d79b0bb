"""Signatures as git makes them, by SSH and OpenPGP keys, and what is not taken for a good one."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pymigrate.engine.adapters.git.repository import GitRepository
from pymigrate.engine.domain.errors import RepositoryRefused
from pymigrate.engine.ports.repository import Reference, ReferenceKind, Signers
from tests.git_hosting import HttpsHost, make_key
from tests.git_works import Work
from tests.servers import absent

BRANCH = Reference(ReferenceKind.BRANCH, "main")
ADA = "ada@example.com"


@pytest.fixture
async def fetch(https_host: HttpsHost, repository: GitRepository, work: Work) -> Callable[[str], "Fetching"]:
    """Pushes and fetches what a test has committed."""
    bare = https_host.create("defs")

    def fetching(sha: str) -> Fetching:
        work.push(bare, f"{sha}:refs/heads/main", is_forced=True)
        return Fetching(https_host, repository, sha)

    return fetching


class Fetching:
    """Who signed a commit, once it is here."""

    def __init__(self, host: HttpsHost, repository: GitRepository, sha: str) -> None:
        self._host = host
        self._repository = repository
        self._sha = sha

    async def signer(self, signers: Signers) -> str:
        await self._repository.fetch(self._host.remote("defs"), BRANCH, self._sha)
        return await self._repository.signer(self._sha, signers)

    async def refused(self, signers: Signers) -> str:
        with pytest.raises(RepositoryRefused, match=self._sha) as caught:
            await self.signer(signers)
        assert caught.value.reason == "SIGNATURE_REFUSED"
        return str(caught.value)


Fetch = Callable[[str], Fetching]


class SshKey:
    """A key that signs commits."""

    def __init__(self, folder: Path, name: str) -> None:
        self.place = folder / name
        make_key(self.place)
        self.public = " ".join((folder / f"{name}.pub").read_text().split()[:2])

    def sign(self, work: Work, message: str = "Signed") -> str:
        work.git("config", "gpg.format", "ssh")
        work.git("config", "user.signingKey", str(self.place))
        return work.commit({"plan.yaml": message}, message, "--gpg-sign")


@pytest.fixture
def ssh_key(tmp_path: Path) -> SshKey:
    return SshKey(tmp_path, "ada")


class Gpg:
    """A keyring of somebody who signs commits, whose clock stands still."""

    def __init__(self, home: Path, at: str = "20260105T000000") -> None:
        self.home = home
        home.mkdir(mode=0o700)
        self.program = home / "gpg-then"
        self.program.write_text(f'#!/bin/sh\nexec gpg --homedir {home} --faked-system-time {at} "$@"\n')
        self.program.chmod(0o755)

    def run(self, *arguments: str, told: str = "") -> str:
        return subprocess.run(
            [str(self.program), "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", *arguments],
            input=told,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def make(self, who: str, expires: str = "never") -> str:
        self.run("--quick-gen-key", who, "ed25519", "sign", expires)
        return next(
            line.split(":")[9]
            for line in self.run("--list-keys", "--with-colons", who).splitlines()
            if line.startswith("fpr")
        )

    def public(self, who: str) -> str:
        return self.run("--armor", "--export", who)

    def sign(self, work: Work, who: str, message: str = "Signed") -> str:
        work.git("config", "gpg.format", "openpgp")
        work.git("config", "gpg.program", str(self.program))
        work.git("config", "user.signingKey", who)
        return work.commit({"plan.yaml": message}, message, "--gpg-sign")

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False, capture_output=True)


@pytest.fixture
def make_gpg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Gpg]]:
    if shutil.which("gpg") is None:
        absent("gpg (Debian: gnupg)")
    made: list[Gpg] = []

    def make(at: str = "20260105T000000") -> Gpg:
        made.append(Gpg(tmp_path_factory.mktemp("g") / "k", at))
        return made[-1]

    yield make
    for each in made:
        each.close()


async def test_a_good_signature_by_an_ssh_key_tells_its_principal(fetch: Fetch, work: Work, ssh_key: SshKey) -> None:
    signed = fetch(ssh_key.sign(work))
    told = await signed.signer(Signers(ssh_allowed_signers=f"# ours\n{ADA} {ssh_key.public}\r\n"))
    assert told.startswith(f"{ADA} (ED25519 key SHA256:")


async def test_a_signature_by_an_ssh_key_of_nobody_is_refused(
    fetch: Fetch, work: Work, ssh_key: SshKey, tmp_path: Path
) -> None:
    signed = fetch(ssh_key.sign(work))
    other = SshKey(tmp_path, "other")
    assert "sshAllowedSigners" in await signed.refused(Signers(ssh_allowed_signers=f"{ADA} {other.public}\n"))
    expired = f'{ADA} valid-before="20200101" {ssh_key.public}\n'
    assert "sshAllowedSigners" in await signed.refused(Signers(ssh_allowed_signers=expired))
    for_files = f'{ADA} namespaces="file" {ssh_key.public}\n'
    await signed.refused(Signers(ssh_allowed_signers=for_files))
    await signed.refused(Signers(ssh_allowed_signers="no line of such a file"))


@pytest.mark.parametrize("kind", ["ssh", "openpgp"])
async def test_a_commit_that_was_changed_after_it_was_signed_is_refused(
    fetch: Fetch, work: Work, ssh_key: SshKey, make_gpg: Callable[..., Gpg], kind: str
) -> None:
    if kind == "ssh":
        sha, signers = ssh_key.sign(work, "Pay Ada"), Signers(ssh_allowed_signers=f"{ADA} {ssh_key.public}\n")
    else:
        gpg = make_gpg()
        gpg.make(ADA)
        sha, signers = gpg.sign(work, ADA, "Pay Ada"), Signers(openpgp_public_keys=gpg.public(ADA))
    raw = work.git("cat-file", "commit", sha)
    changed = work.git(
        "hash-object", "-w", "-t", "commit", "--stdin", told=raw.replace("Pay Ada", "Pay Eve").encode() + b"\n"
    )
    assert "does not belong to" in await fetch(changed).refused(signers)
    assert ADA in await fetch(sha).signer(signers)


async def test_a_commit_without_a_signature_is_refused(fetch: Fetch, work: Work, ssh_key: SshKey) -> None:
    unsigned = fetch(work.commit({"plan.yaml": "x"}, "gpgsig -----BEGIN SSH SIGNATURE-----"))
    assert "no signature" in await unsigned.refused(Signers(ssh_allowed_signers=f"{ADA} {ssh_key.public}\n"))


async def test_a_good_signature_by_an_openpgp_key_tells_user_and_key(
    fetch: Fetch, work: Work, make_gpg: Callable[..., Gpg]
) -> None:
    gpg = make_gpg()
    key = gpg.make(f"Ada <{ADA}>")
    gpg.make("Bob <bob@example.com>")
    keys = gpg.public("bob@example.com") + gpg.public(ADA)
    assert await fetch(gpg.sign(work, ADA)).signer(Signers(openpgp_public_keys=keys)) == f"Ada <{ADA}> ({key})"


async def test_openpgp_keys_that_are_unknown_expired_or_revoked_are_refused_with_the_word(
    fetch: Fetch, work: Work, make_gpg: Callable[..., Gpg]
) -> None:
    gpg, past = make_gpg(), make_gpg("20200105T000000")
    key = gpg.make(ADA)
    gpg.make("bob@example.com")
    past.make("old@example.com", "10d")
    signed = gpg.sign(work, ADA)
    good = gpg.public(ADA)
    assert "not among" in await fetch(signed).refused(Signers(openpgp_public_keys=gpg.public("bob@example.com")))
    expired = past.sign(work, "old@example.com")
    assert "expired" in await fetch(expired).refused(Signers(openpgp_public_keys=past.public("old@example.com")))
    revocation = (gpg.home / "openpgp-revocs.d" / f"{key}.rev").read_text().replace(":-----BEGIN", "-----BEGIN")
    gpg.run("--import", told=revocation)
    assert "revoked" in await fetch(signed).refused(Signers(openpgp_public_keys=gpg.public(ADA)))
    assert key in await fetch(signed).signer(Signers(openpgp_public_keys=good))
    assert "ASCII armour" in await fetch(signed).refused(Signers(openpgp_public_keys="no key"))


async def test_each_kind_of_signature_needs_keys_of_its_kind(
    fetch: Fetch, work: Work, ssh_key: SshKey, make_gpg: Callable[..., Gpg]
) -> None:
    gpg = make_gpg()
    gpg.make(ADA)
    by_ssh, by_openpgp = ssh_key.sign(work, "One"), gpg.sign(work, ADA, "Two")
    ssh, openpgp = f"{ADA} {ssh_key.public}\n", gpg.public(ADA)
    assert "takes those of OpenPGP" in await fetch(by_ssh).refused(Signers(openpgp_public_keys=openpgp))
    assert "takes those of SSH" in await fetch(by_openpgp).refused(Signers(ssh_allowed_signers=ssh))
    both = Signers(ssh, openpgp)
    assert ADA in await fetch(by_ssh).signer(both)
    assert ADA in await fetch(by_openpgp).signer(both)


async def test_verifying_leaves_no_agent_and_no_file(
    fetch: Fetch, work: Work, make_gpg: Callable[..., Gpg], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    gpg = make_gpg()
    gpg.make(ADA)
    await fetch(gpg.sign(work, ADA)).signer(Signers(openpgp_public_keys=gpg.public(ADA)))
    assert not list((tmp_path / "temporary").iterdir())
    assert not commands_naming(b"pymigrate-keyring-")


def commands_naming(text: bytes) -> list[bytes]:
    """The command lines of processes that run in which a text is."""
    told = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            told.append(place.read_bytes())
    return [line for line in told if text in line]
