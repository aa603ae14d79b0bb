"""What git says of commits, folders and files, as the port has it. Nothing of it is trusted: names are bytes that anybody may have made."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pymigrate.engine.domain.errors import RepositoryRefused
from pymigrate.engine.domain.git_names import commit_problem, path_problem
from pymigrate.engine.ports.repository import Blob, Commit

DEFINITION_NAME = re.compile(rb"\.(?:ya?ml|json)\Z")
DEFINITION_BYTES_MAX = 4 * 1024**2  # as much as a file of definitions may have
FILE_BYTES_MAX = 64 * 1024**2  # of any other file in the folder
TOTAL_BYTES_MAX = 64 * 1024**2  # of all definitions
FILES_MAX = 10_000  # of definitions
ENTRIES_MAX = 200_000
COMMIT_BYTES_MAX = 1024**2
LINK, SUBMODULE = b"120000", b"160000"
IDENTITY = re.compile(rb"(?P<who>.*?) ?(?P<seconds>-?\d+) [+-]\d{4}")
SECONDS_MAX = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of `ls-tree -l -z`. The size of what is no file is 0."""

    mode: bytes
    oid: str
    size: int
    path: bytes


def entries_of(output: bytes) -> Iterator[Entry]:
    """In git's order."""
    for line in output.split(b"\0")[:-1]:
        told, _, path = line.partition(b"\t")
        mode, _, oid, size = told.split()
        yield Entry(mode, oid.decode(), 0 if size == b"-" else int(size), path)


def blobs_of(entries: Iterator[Entry], folder: str) -> tuple[Blob, ...]:
    """The files of definitions, ordered by path. Raises RepositoryRefused for what a folder of definitions may not have."""
    found = list[Blob]()
    for number, entry in enumerate(entries, 1):
        if number > ENTRIES_MAX:
            raise RepositoryRefused(
                "TOO_MANY_FILES",
                f"{folder or 'the repository'} holds more than {ENTRIES_MAX:,} files: name a smaller folder by `path`",
            )
        check_entry(entry, folder)
        if DEFINITION_NAME.search(entry.path):
            found.append(Blob(_text_of(entry.path, folder), entry.oid, entry.size))
    if (total := sum(blob.size for blob in found)) > TOTAL_BYTES_MAX:
        raise RepositoryRefused(
            "FOLDER_TOO_LARGE",
            f"{folder or 'the repository'} holds {total:,} bytes of definitions: at most {TOTAL_BYTES_MAX:,} are taken from one folder",
        )
    if len(found) > FILES_MAX:
        raise RepositoryRefused(
            "TOO_MANY_FILES",
            f"{folder or 'the repository'} holds {len(found):,} files of definitions: at most {FILES_MAX:,} are taken from one folder",
        )
    return tuple(sorted(found, key=lambda blob: blob.path))


def check_entry(entry: Entry, folder: str) -> None:
    """Raises RepositoryRefused for a link, a submodule, and a file that is too large."""
    if entry.mode in {LINK, SUBMODULE}:
        what, reason = ("a link", "LINK_REFUSED") if entry.mode == LINK else ("a submodule", "SUBMODULE_REFUSED")
        path = shown(entry.path, folder)
        raise RepositoryRefused(
            reason, f"{path} is {what}, which is not followed: put the files themselves there", path=path
        )
    bytes_max = DEFINITION_BYTES_MAX if DEFINITION_NAME.search(entry.path) else FILE_BYTES_MAX
    if entry.size > bytes_max:
        path = shown(entry.path, folder)
        raise RepositoryRefused(
            "FILE_TOO_LARGE",
            f"{path} has {entry.size:,} bytes; at most {bytes_max:,} are taken: part it, or move it away",
            path=path,
        )


def commit_of(sha: str, raw: bytes) -> Commit:
    """A commit as git keeps it: headers, an empty line, the message."""
    head, _, message = raw.partition(b"\n\n")
    parents, who, time, encoding = list[str](), "", datetime.fromtimestamp(0, UTC), "utf-8"
    for line in head.split(b"\n"):
        name, _, value = line.partition(b" ")
        match name:
            case b"parent":
                parents.append(value.decode("ascii"))
            case b"author":
                who = _identity(value)[0]
            case b"committer":
                time = _identity(value)[1]
            case b"encoding":
                encoding = value.decode("ascii", "replace")
    try:
        text = message.decode(encoding, "replace")
    except LookupError:
        text = message.decode("utf-8", "replace")
    return Commit(sha, tuple(parents), who, time, text.removesuffix("\n"))


def signature_kind(raw: bytes) -> str:
    """`ssh`, `openpgp`, another word for a kind that is not taken, or empty where a commit has no signature."""
    head = raw.partition(b"\n\n")[0]
    found = re.search(rb"^gpgsig(?:-sha256)? -----BEGIN ([A-Z ]+)-----", head, re.MULTILINE)
    if found is None:
        return ""
    return {b"SSH SIGNATURE": "ssh", b"PGP SIGNATURE": "openpgp", b"PGP MESSAGE": "openpgp"}.get(
        found[1], found[1].decode().lower()
    )


def check_sha(sha: str) -> str:
    """All digits of a commit's digest, which can't be an option. Raises RepositoryRefused."""
    if problem := commit_problem(sha):
        raise RepositoryRefused("REFERENCE_MISSING", f"{sha[:80]!r} {problem}")
    return sha


def folder_of(path: str) -> str:
    """A folder relative to the root as git takes it; empty for the root. Raises RepositoryRefused with FOLDER_MISSING."""
    if path and (problem := path_problem(path)):
        raise RepositoryRefused("FOLDER_MISSING", f"{path!r} {problem}", path=path)
    return path


def check_written(paths: Sequence[str]) -> None:
    """Raises RepositoryRefused where a commit should have a file at a place that no checkout may have."""
    for path in paths:
        is_gits_own = any(part.casefold().startswith(".git") for part in path.split("/"))
        if is_gits_own or path.startswith('"') or path_problem(path):
            raise RepositoryRefused("PUSH_REFUSED", f"{path!r} is no path that a commit is made with", path=path)


def shown(path: bytes, folder: str) -> str:
    """A path from the root as a message may carry it."""
    text = path.decode("utf-8", "backslashreplace")
    if not text.isprintable():
        text = text.encode("unicode_escape").decode("ascii")
    return f"{folder}/{text}" if folder else text


def _text_of(path: bytes, folder: str) -> str:
    """The name of a file of definitions, which is read by people. Raises RepositoryRefused with NAME_REFUSED."""
    try:
        text = path.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if not text.isprintable() or not text or any(part in {".", ".."} for part in text.split("/")):
        told = shown(path, folder)
        raise RepositoryRefused(
            "NAME_REFUSED",
            f"{told} is a name with control characters, or not in UTF-8, or with `..`: rename the file",
            path=told,
        )
    return text


def _identity(value: bytes) -> tuple[str, datetime]:
    """Whoever it is, and when; the beginning of time where that is not told."""
    found = IDENTITY.fullmatch(value)
    if found is None:
        return value.decode("utf-8", "replace"), datetime.fromtimestamp(0, UTC)
    seconds = min(max(int(found["seconds"]), 0), SECONDS_MAX)
    return found["who"].decode("utf-8", "replace"), datetime.fromtimestamp(seconds, UTC)
