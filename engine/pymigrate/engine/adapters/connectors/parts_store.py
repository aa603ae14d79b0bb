"""PyMigrate's own folder in a files root: a lock, and small JSON documents that are whole at any crash.

`.pymigrate/` holds `staging/<id>/`, `checkpoints/<id>/<lane>.json`, `publications/<id>.json` (the journal), `kept/<id>/` (what was
replaced) and `discarded/<id>/` (what is on its way out). Everything is on one file system, so that a rename is one step.
"""

import fcntl
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pymigrate.engine.domain.errors import Problem, SystemUnavailable
from pymigrate.engine.ports.staging import Checkpoint, StagingId

OWN = ".pymigrate"
LOCK_ATTEMPTS_MAX = 600
LOCK_WAIT_SECONDS = 0.05
PUBLISHING = "publishing"
PUBLISHED = "published"
ROLLING_BACK = "rolling_back"
ROLLED_BACK = "rolled_back"
SEALED = "sealed"
NAME_BYTES_MAX = 255
FileFacts = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Publication:
    """A journal document. `files` are names, bytes and times of change of what is published; `is_kept` says that it replaced a
    folder, which lies under `kept/`; `is_append` that the files lie beside others, in a folder that it made where `is_made`."""

    state: str
    relation: str
    is_kept: bool = False
    rows: int = 0
    files: tuple[FileFacts, ...] = ()
    is_append: bool = False
    is_made: bool = False


class PartsStore:
    """The folder `.pymigrate` of a root. What changes something is called under the lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.own = root / OWN
        self._patience = threading.Event()

    def staging(self, staging: StagingId) -> Path:
        """Where staged parts lie."""
        return self.own / "staging" / staging

    def kept(self, staging: StagingId) -> Path:
        """Where the folder lies that the staging replaced."""
        return self.own / "kept" / staging

    def discarded(self, staging: StagingId) -> Path:
        """Where a publication that is taken back goes before it is deleted."""
        return self.own / "discarded" / staging

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One holder at a time, among threads and processes; the system lets go of it when the holder dies."""
        self.own.mkdir(exist_ok=True)
        descriptor = os.open(self.own / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._wait_for(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _wait_for(self, descriptor: int) -> None:
        for _ in range(LOCK_ATTEMPTS_MAX):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._patience.wait(LOCK_WAIT_SECONDS)
            else:
                return
        raise SystemUnavailable(f"another process holds {self.own / 'lock'} and does not move: end it")

    def checkpoint(self, staging: StagingId, lane: str) -> tuple[Checkpoint, int]:
        """How far the lane got, and its fence."""
        return _checkpoint_of(read_json(self._checkpoint_path(staging, lane)))

    def checkpoints(self, staging: StagingId) -> dict[str, Checkpoint]:
        """Every lane of the staging, by the name that its parts have."""
        folder = self.own / "checkpoints" / staging
        documents = sorted(folder.glob("*.json")) if folder.is_dir() else []
        return {path.stem: _checkpoint_of(read_json(path))[0] for path in documents}

    def write_checkpoint(self, staging: StagingId, lane: str, fence: int, at: Checkpoint) -> None:
        """Replaces the lane's checkpoint."""
        write_json(self._checkpoint_path(staging, lane), {"fence": fence, **asdict(at)})

    def publication(self, staging: StagingId) -> Publication | None:
        """The journal's document of the staging."""
        document = read_json(self._publication_path(staging))
        if document is None:
            return None
        files = tuple((str(name), int(size), int(time)) for name, size, time in document.pop("files"))
        return Publication(**document, files=files)

    def journal(self, staging: StagingId, publication: Publication) -> None:
        """Replaces the journal's document of the staging."""
        write_json(self._publication_path(staging), asdict(publication))

    def unjournal(self, staging: StagingId) -> None:
        """Deletes the journal's document of a publication that was undone."""
        publication = self.publication(staging)
        if publication is not None and publication.state == ROLLED_BACK:
            self._publication_path(staging).unlink()

    def forget(self, staging: StagingId) -> None:
        """Deletes everything of the staging but its journal."""
        for folder in (self.staging(staging), self.own / "checkpoints" / staging, self.discarded(staging)):
            shutil.rmtree(folder, ignore_errors=not folder.exists())

    def _checkpoint_path(self, staging: StagingId, lane: str) -> Path:
        return self.own / "checkpoints" / staging / f"{lane_name(lane)}.json"

    def _publication_path(self, staging: StagingId) -> Path:
        return self.own / "publications" / f"{staging}.json"


def folder_problems(relation: str) -> Iterator[Problem]:
    """What is wrong with a relation as a folder below the root."""
    parts = relation.split("/")
    if any(
        part in ("", ".", "..") or part.startswith(".") or "\0" in part or len(part.encode()) > NAME_BYTES_MAX
        for part in parts
    ):
        yield Problem(
            "target.relation",
            f"`{relation}` is no folder below the root: names that do not begin with a dot, with `/` between",
        )
    if relation.startswith(OWN) or "__pymigrate_" in relation:
        yield Problem("target.relation", f"`{relation}` is a name that PyMigrate keeps for itself")


def lane_name(lane: str) -> str:
    """The lane as part of a file's name."""
    return quote(lane, safe="").replace(".", "%2E")


def _checkpoint_of(document: Mapping[str, Any] | None) -> tuple[Checkpoint, int]:
    if document is None:
        return Checkpoint(), 0
    fields = dict(document)
    fence: int = fields.pop("fence")
    return Checkpoint(**fields), fence


def read_json(path: Path) -> dict[str, Any] | None:
    """The document; None where there is none."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    document: dict[str, Any] = json.loads(text)
    return document


def write_json(path: Path, document: Mapping[str, object]) -> None:
    """Replaces a document: it is the old one or the new one after a crash at any instruction."""
    make_folder(path.parent)
    draft = path.with_suffix(".draft")
    with draft.open("w") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    move(draft, path)


def make_folder(path: Path) -> None:
    """Makes a folder and those above it, lasting."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def move(source: Path, goal: Path) -> None:
    """Renames a file or folder, lasting: both folders are on the disk afterwards."""
    source.replace(goal)
    sync_folder(goal.parent)
    if source.parent != goal.parent:
        sync_folder(source.parent)


def sync_folder(path: Path) -> None:
    """Waits until the folder's entries are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
