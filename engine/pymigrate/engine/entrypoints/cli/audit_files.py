"""A file that an export of the audit trail is written to, piece by piece: one that broke off, or that is to take in what came since, is
gone on with from the last position that it holds."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Self

from pymigrate.engine.application.audit.trail_lines import LINE_BYTES_MAX, LINE_END, POSITION, read_line
from pymigrate.engine.entrypoints.cli.client import fail

# A piece has 256 KiB, or one line that is longer; behind the last whole one there may be a part of the next.
TAIL_BYTES_MAX = LINE_BYTES_MAX + 1024 * 1024


class ExportFile:
    """Readable by its owner alone. `resume_token` is empty for a new one."""

    def __init__(self, file: BinaryIO, resume_token: str, kept_bytes: int) -> None:
        self._file = file
        self.resume_token = resume_token
        self.kept_bytes = kept_bytes

    @classmethod
    def open(cls, path: Path) -> Self:
        """A new file, or the one that is there, without what lies behind its last position. Ends the command for a file of anything
        else."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            fail(f"{path} can't be written: {error.strerror}")
        file = os.fdopen(descriptor, "r+b")
        bytes_there = file.seek(0, os.SEEK_END)
        if not bytes_there:
            return cls(file, "", 0)
        start = max(0, bytes_there - TAIL_BYTES_MAX)
        file.seek(start)
        token, end = _last_position(file.read().splitlines(keepends=True))
        if not token:
            file.close()
            fail(f"{path} holds no export of the audit trail that can be gone on with: name another file")
        file.truncate(start + end)
        file.seek(start + end)
        return cls(file, token, start + end)

    def write(self, lines: bytes) -> None:
        """Adds a piece."""
        self._file.write(lines)
        self._file.flush()

    def close(self) -> None:
        """Everything is on disk afterwards."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def _last_position(lines: Iterable[bytes]) -> tuple[str, int]:
    """The token of the last position among these lines, and where the line ends."""
    token, end, at = "", 0, 0
    for line in lines:
        at += len(line)
        if POSITION.encode() not in line or not line.endswith(LINE_END):
            continue
        try:
            kind, content = read_line(line)
        except ValueError:
            continue
        if kind == POSITION and isinstance(found := content.get("resumeToken"), str) and found:
            token, end = found, at
    return token, end
