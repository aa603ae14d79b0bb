"""One engine a store file: a lock beside it that the system gives up when its process ends, however it ends."""

import fcntl
import os
import stat
from pathlib import Path

from pymigrate.engine.domain.errors import FailedPrecondition

FOLDER_MODE = 0o700
FILE_MODE = 0o600
LOCK_SUFFIX = ".lock"
PID_DIGITS_MAX = 20


class StoreLock:
    """An exclusive lock on `<store>.lock`, which holds the pid of its owner. The file stays: removing it would let two in."""

    def __init__(self, store: Path) -> None:
        """Makes the folder where it is missing, and takes the lock. Raises FailedPrecondition naming the process that has it."""
        try:
            store.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            self._file = os.open(store.with_name(store.name + LOCK_SUFFIX), os.O_RDWR | os.O_CREAT, FILE_MODE)
        except OSError as error:
            raise FailedPrecondition(f"the store {store} can't be locked: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(self._file, PID_DIGITS_MAX, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise FailedPrecondition(
                f"the store {store} is open in another engine, process {owner}: stop that one, or give this one its own store"
            ) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Lets the next one in."""
        os.close(self._file)


def make_private(store: Path) -> None:
    """Makes the file where it is missing, and keeps everybody but its owner out. Raises FailedPrecondition where that can't be."""
    try:
        os.close(os.open(store, os.O_RDWR | os.O_CREAT, FILE_MODE))
        if stat.S_IMODE(store.stat().st_mode) & ~FILE_MODE:
            store.chmod(FILE_MODE)
    except OSError as error:
        raise FailedPrecondition(f"the store {store} can't be opened: {error.strerror}") from error
