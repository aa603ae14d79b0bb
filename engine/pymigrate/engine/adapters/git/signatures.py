"""Whether a commit's signature is one of those that are good: by SSH keys, as `ssh-keygen` verifies them, or by OpenPGP keys, as gpg does
with a keyring that holds nothing but them."""

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pymigrate.engine.adapters.git.commands import Ended, GitCommands
from pymigrate.engine.domain.errors import RepositoryRefused
from pymigrate.engine.ports.repository import Signers

GOOD_SSH = re.compile(r'^Good "git" signature for (?P<principal>.+) with (?P<key>\S+ key \S+)$', re.MULTILINE)
GOOD_OPENPGP = re.compile(r"^\[GNUPG:\] GOODSIG \S+ (?P<user>.*)$", re.MULTILINE)
VALID_OPENPGP = re.compile(r"^\[GNUPG:\] VALIDSIG (?P<key>\S+)", re.MULTILINE)
# What gpg says of a signature that is none of the good ones, and what that means; in order.
OPENPGP_WORDS: Mapping[str, str] = {
    "REVKEYSIG": "is by a key that was revoked",
    "EXPKEYSIG": "is by a key that has expired",
    "EXPSIG": "has expired",
    "BADSIG": "does not belong to the commit: one of them was changed",
    "NO_PUBKEY": "is by a key that is not among `openpgpPublicKeys`",
    "ERRSIG": "can't be verified",
}


async def signer_of(commands: GitCommands, copy: Path, sha: str, kind: str, signers: Signers) -> str:
    """The principal and key, or the user and key, whose signature of this kind a commit has. Raises RepositoryRefused with
    SIGNATURE_REFUSED."""
    if not kind:
        raise _refused(sha, "has no signature: sign commits, or demand no signatures")
    if kind == "ssh" and signers.ssh_allowed_signers.strip():
        return await _ssh_signer(commands, copy, sha, signers.ssh_allowed_signers)
    if kind == "openpgp" and signers.openpgp_public_keys.strip():
        return await _openpgp_signer(commands, copy, sha, signers.openpgp_public_keys)
    taken = [
        name
        for name, keys in (("SSH", signers.ssh_allowed_signers), ("OpenPGP", signers.openpgp_public_keys))
        if keys.strip()
    ]
    raise _refused(
        sha, f"has a signature of the kind {kind}; the source takes those of {' and '.join(taken) or 'nobody'}"
    )


async def _ssh_signer(commands: GitCommands, copy: Path, sha: str, allowed: str) -> str:
    if shutil.which("ssh-keygen") is None:
        raise _refused(sha, "can't be verified, since ssh-keygen is not installed here: install OpenSSH's client")
    with tempfile.TemporaryDirectory(prefix="pymigrate-signers-") as folder:
        place = Path(folder) / "allowed_signers"
        place.write_text(allowed.replace("\r\n", "\n").strip() + "\n", encoding="utf-8")
        ended = await _verify(commands, copy, sha, {}, f"gpg.ssh.allowedSignersFile={place}")
    good = GOOD_SSH.search(ended.said)
    if ended.code == 0 and good is not None:
        return f"{good['principal']} ({good['key']})"
    if "Good" in ended.said:
        raise _refused(sha, "has a signature by a key that `sshAllowedSigners` does not have, or not for that time")
    raise _refused(
        sha, "has a signature that does not belong to it, or by a key that `sshAllowedSigners` does not have"
    )


async def _openpgp_signer(commands: GitCommands, copy: Path, sha: str, keys: str) -> str:
    program = shutil.which("gpg")
    if program is None:
        raise _refused(sha, "can't be verified, since gpg is not installed here: install GnuPG")
    with tempfile.TemporaryDirectory(prefix="pymigrate-keyring-", ignore_cleanup_errors=True) as home:
        # Without an agent: nothing secret is in this keyring, and nothing is to be left running.
        (Path(home) / "gpg.conf").write_text(
            "no-autostart\nbatch\nno-tty\nno-auto-key-retrieve\nno-auto-check-trustdb\n"
        )
        imported = await commands.execute(
            (program, "--homedir", home, "--no-autostart", "--batch", "--no-tty", "--status-fd", "1", "--import"),
            told=keys.encode(),
        )
        # Not its exit code: where the folder's name is long it ends in failure for want of an agent, which nothing here needs.
        if b"[GNUPG:] IMPORT_OK" not in imported.output:
            raise _refused(sha, "can't be verified: `openpgpPublicKeys` are no public keys in ASCII armour")
        ended = await _verify(commands, copy, sha, {"GNUPGHOME": home})
    good, valid = GOOD_OPENPGP.search(ended.said), VALID_OPENPGP.search(ended.said)
    if ended.code == 0 and good is not None and valid is not None:
        return f"{good['user']} ({valid['key']})"
    for word, meaning in OPENPGP_WORDS.items():
        if re.search(rf"^\[GNUPG:\] {word}\b", ended.said, re.MULTILINE):
            raise _refused(sha, f"has a signature that {meaning}")
    raise _refused(sha, "has a signature that gpg does not take")


async def _verify(commands: GitCommands, copy: Path, sha: str, environment: Mapping[str, str], *settings: str) -> Ended:
    return await commands.run(("verify-commit", "--raw", sha), folder=copy, environment=environment, settings=settings)


def _refused(sha: str, text: str) -> RepositoryRefused:
    return RepositoryRefused("SIGNATURE_REFUSED", f"commit {sha} {text}")
