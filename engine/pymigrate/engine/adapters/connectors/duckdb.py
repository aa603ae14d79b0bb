"""DuckDB files, as sources and targets. One process holds a file: this one opens it once, shares it, and lets go of it with the last user.

A source alone opens its file read only, which any number of processes may do while none writes. Beside a target it shares the
target's handle; a target has to wait until what reads the file alone has let go of it.
"""

import re
import threading
from pathlib import Path

import duckdb
import structlog

from pymigrate.engine.adapters.connectors.duckdb_source import DuckdbSource
from pymigrate.engine.adapters.connectors.duckdb_target import DuckdbTarget
from pymigrate.engine.adapters.engine_homes import refuse_engine_home
from pymigrate.engine.domain.errors import InvalidDefinition, Problem, SourceMissing, SystemUnavailable
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.target import Target

log = structlog.get_logger(__name__)
MEMORY_BYTES_MAX = 1 << 30
MEMORY_BYTES_MIN = 64_000_000
# Lanes write side by side, each on a thread of its own; a second one within an insertion takes twice the processor time, and is no faster.
THREADS_WRITING = 1
THREADS_READING = 2
# Rows that are not whole groups lie in the log until a checkpoint, which writes their group anew.
CHECKPOINT_BYTES = 256_000_000
_HOLDER = re.compile(r"Conflicting lock is held in (.*?) ?\(PID (\d+)\)")


class DuckdbConnector:
    """DuckDB files by `path`. Every file that is open has at most `memory_bytes_max` for all its users together."""

    kind = "duckdb"

    def __init__(self, memory_bytes_max: int = MEMORY_BYTES_MAX) -> None:
        self._file_bytes_max = memory_bytes_max
        self._all_bytes_max = memory_bytes_max
        self._configuration: dict[str, str | bool | int | float | list[str]] = {
            "threads": THREADS_WRITING,
            # A worker host fetches nothing on its own.
            "autoinstall_known_extensions": False,
            "checkpoint_threshold": f"{CHECKPOINT_BYTES}B",
        }
        self._files: dict[Path, _File] = {}
        self._lock = threading.Lock()

    def open_source(self, system: SystemSpec) -> Source:
        """Opens the file, read only unless a target has it. Raises SourceMissing where it is not there, InvalidDefinition where it is no
        DuckDB file, and SystemUnavailable while another process writes to it."""
        path = Path(system.options.get("path", ""))
        if not path.is_file():
            names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
            raise SourceMissing(f"there is no DuckDB file {path}{nearest(path.name, names)}", field="source.connection")
        path = path.resolve()
        return DuckdbSource(path, self._opened(path, is_read_only=True)[0], lambda: self._release(path))

    def limit_memory(self, bytes_max: int) -> None:
        """Files that are open, now and from now on, have equal parts of it. A file that holds more at the moment keeps what it had, until
        it is said again."""
        with self._lock:
            self._all_bytes_max = bytes_max
            self._limit_files()

    def open_target(self, system: SystemSpec) -> Target:
        """Opens the file, and makes it where it is missing; its folder must exist. Raises InvalidDefinition for a path that can't be a
        DuckDB file, and SystemUnavailable while another process holds it, with that process where DuckDB tells, or while this process
        only reads it."""
        path = Path(system.options.get("path", ""))
        if not system.options.get("path") or not path.parent.is_dir() or path.is_dir():
            raise InvalidDefinition((Problem("path", f"`{path}` is no file in an existing folder"),))
        path = path.resolve()
        cursor, file = self._opened(path, is_read_only=False)
        return DuckdbTarget(cursor, file.ended, lambda: self._release(path))

    def _opened(self, path: Path, *, is_read_only: bool) -> "tuple[duckdb.DuckDBPyConnection, _File]":
        with self._lock:
            file = self._files.get(path)
            if file is None:
                refuse_engine_home(path, "duckdb.path")
                file = self._files[path] = _File(self._connect(path, is_read_only=is_read_only), is_read_only)
                self._limit_files()
            elif file.is_read_only and not is_read_only:
                raise SystemUnavailable(
                    f"the DuckDB file {path} is being read by this worker host, and is written to when that has ended: let the phase "
                    "that writes to it depend on the one that reads it, or the other way round"
                )
            file.users += 1
            return file.connection.cursor(), file

    def _connect(self, path: Path, *, is_read_only: bool) -> duckdb.DuckDBPyConnection:
        try:
            configuration = self._configuration | ({"threads": THREADS_READING} if is_read_only else {})
            return duckdb.connect(path, read_only=is_read_only, config=configuration)
        except duckdb.IOException as error:
            if "not a valid DuckDB database" in str(error):
                raise InvalidDefinition((Problem("path", f"`{path}` is not a DuckDB file"),)) from error
            holder = _HOLDER.search(str(error))
            who = f"process {holder[2]} ({holder[1]}) holds it: end that" if holder else f"DuckDB says: {error}"
            raise SystemUnavailable(f"the DuckDB file {path} can't be opened; {who}") from error

    def _limit_files(self) -> None:
        part = max(MEMORY_BYTES_MIN, min(self._file_bytes_max, self._all_bytes_max // max(len(self._files), 1)))
        for path, file in self._files.items():
            if file.bytes_max != part:
                try:
                    file.connection.execute(f"SET memory_limit = '{part}B'")
                    file.bytes_max = part
                except duckdb.OutOfMemoryException as error:
                    log.info("duckdb.holds_more", path=str(path), bytes_max=part, error=str(error))

    def _release(self, path: Path) -> None:
        with self._lock:
            file = self._files[path]
            file.users -= 1
            if file.users == 0:
                del self._files[path]
                file.connection.close()


class _File:
    """An open file, its number of users, and what is notified when a transaction of theirs ends."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, is_read_only: bool) -> None:
        self.connection = connection
        self.is_read_only = is_read_only
        self.users = 0
        self.bytes_max = 0
        self.ended = threading.Condition()
