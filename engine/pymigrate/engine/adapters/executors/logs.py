"""Logs of the processes that an engine starts: a file each below the home, of which the last few are kept."""

import os
from pathlib import Path

LOG_BYTES_MAX = 5_000_000
LOGS_KEPT = 3


def log_path(home: Path, name: str) -> Path:
    """Where a process of this name writes."""
    return home / "logs" / f"{name}.log"


def open_log(home: Path, name: str) -> int:
    """A descriptor that writes to the end of `logs/<name>.log`; one that has grown too large is put aside first."""
    path = log_path(home, name)
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        for number in range(LOGS_KEPT - 1, 0, -1):
            older = folder / f"{name}.log.{number}"
            if older.exists():
                older.replace(folder / f"{name}.log.{number + 1}")
        path.replace(folder / f"{name}.log.1")
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
