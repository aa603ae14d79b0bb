"""What git's words about a failure mean. They are those of git 2.34 and newer with LC_ALL=C, of OpenSSH and of curl behind it."""

import re

from pymigrate.engine.adapters.answers import Answers
from pymigrate.engine.domain.errors import PyMigrateError, RepositoryRefused, RepositoryUnavailable
from pymigrate.engine.ports.redaction import Redactor

SAID_CHARACTERS_MAX = 400

# In order: the first that is found holds, and what comes with a cause stands behind the cause.
SAID: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "REPOSITORY_TOO_LARGE",
        ("died of signal 25", "file too large", "out of memory"),
        "it is larger than a copy may be: keep definitions in a repository of their own",
    ),
    (
        "URL_REFUSED",
        (
            "transport '[^']*' not allowed",
            "protocol '[^']*' (is )?not (allowed|supported)",
            "strange (hostname|pathname|port)",
        ),
        "declare an https or ssh url",
    ),
    (
        "HOST_KEY_REFUSED",
        ("host key verification failed", "remote host identification has changed", "host key is known for"),
        "the host shows a key that `knownHosts` does not have: make sure that it is the host, and declare its key",
    ),
    (
        "CERTIFICATE_REFUSED",
        (
            "certificate verification failed",
            "ssl certificate problem",
            "certificate subject name",
            "no alternative certificate",
            "ssl: certificate",
            "self.signed certificate",
        ),
        "declare the authority that the host's certificate is of as `caCertificates`, and the host by the name in it",
    ),
    (
        "CREDENTIALS_REFUSED",
        (
            "authentication failed for",
            "could not read (username|password)",
            r"returned error: 40[13]\b",
            r"permission denied \(",
            "access denied",
            "invalid (username|credentials)",
            "load key .*: ",
            "too many authentication failures",
            "marked as read only",
            "not allowed to (push|upload)",
            "write access to repository not granted",
        ),
        "make sure that the token or key is good and may read (for promotions, write) the repository",
    ),
    (
        "REPOSITORY_MOVED",
        (r"returned error: 30[0-9]\b",),
        "the host sends one elsewhere, which is not followed: declare the url that it leads to, with `.git` where the host has it",
    ),
    (
        "PUSH_REFUSED",
        (r"\[rejected\]", r"\[remote rejected\]", "stale info", "hook declined", "protected branch"),
        "the branch has moved, or the host does not let it be pushed: look at it, and ask again",
    ),
    (
        "REFERENCE_MISSING",
        ("couldn't find remote ref", "not our ref", "unadvertised object"),
        "the repository has no such branch, tag or commit",
    ),
    (
        "REPOSITORY_MISSING",
        (
            "repository '[^']*' not found",
            "not appear to be a git repository",
            r"returned error: 404\b",
            "is this a git repository",
            "repository not found",
            "could not be found or you don't have permission",
        ),
        "make sure of the url; hosts also say so to whoever may not read it",
    ),
)
REASONS = tuple((reason, re.compile("|".join(signs), re.IGNORECASE), advice) for reason, signs, advice in SAID)
# What a copy that a killed engine or a full disk left behind makes git say of it.
BROKEN = re.compile(
    "|".join(
        (
            "not a git repository",
            "bad (object|config|packed|tree|index)",
            "corrupt",
            "unable to (read|unpack)",
            "missing (blob|tree|commit|necessary objects)",
            "invalid (object|sha1 pointer)",
            "does not match index",
            "is too small",
            "did not send all necessary objects",
            "could not parse",
            r"file .*\.(pack|idx) ",
            "inflate",
            "unresolved deltas",
            "mismatched algorithms",
            "object file .* is empty",
        )
    ),
    re.IGNORECASE,
)
FULL = re.compile(r"no space left on device|disk quota exceeded|read-only file system", re.IGNORECASE)


class Refusals:
    """Makes errors of what git says; what it says is kept without any secret, on one line and not too long."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def of(self, said: str, where: str) -> PyMigrateError:
        """The error, with what is to be done about it."""
        told = self.quoted(said)
        for reason, pattern, advice in REASONS:
            if pattern.search(said):
                return RepositoryRefused(reason, f"{where}: {advice} ({told})")
        if is_disk_full(said):
            return RepositoryUnavailable(
                f"{where}: the engine's own disk is full or read-only: make room for the copy ({told})"
            )
        return RepositoryUnavailable(f"{where} does not answer, or breaks off; it is tried again ({told})")

    def quoted(self, said: str) -> str:
        """What git says, as an error may carry it."""
        lines = (line.removeprefix("fatal: ").removeprefix("error: ").strip() for line in said.splitlines())
        text = Answers().said(self._redactor.clean("; ".join(line for line in lines if line and set(line) != {"@"})))
        return text[:SAID_CHARACTERS_MAX] or "git says nothing"


def is_broken(said: str) -> bool:
    """Whether it is the copy on this machine that is to blame."""
    return BROKEN.search(said) is not None and not is_disk_full(said)


def is_disk_full(said: str) -> bool:
    """Whether the copy can't be written."""
    return FULL.search(said) is not None
