"""A Python function in a process of its own: whatever it does, the host goes on.

The process gets a socket and nothing else: no environment, no descriptor, no working folder of the host's. It is killed when a batch takes
too long, when it dies or runs out of memory, and when its lane attempt ends.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from pymigrate.engine.domain.errors import DataRefused
from pymigrate.engine.ports.transform import Python
from pymigrate.engine.transfer.transforms import python_child as child

START_SECONDS_MAX = 60.0
END_SECONDS_MAX = 5.0
ANSWER_BYTES_MAX = 1 << 30
RECEIVE_BYTES = 1 << 20


class FunctionFailed(Exception):
    """The function raised on a batch; which row is to blame is not known."""


class PythonProcess:
    """The process, once it has imported the function. Raises DataRefused that names function and rows for what ends it."""

    def __init__(self, spec: Python) -> None:
        self._spec = spec
        self._rows = 0
        self._folder = tempfile.TemporaryDirectory(prefix="pymigrate-", ignore_cleanup_errors=True)
        ours, theirs = socket.socketpair()
        self._socket = ours
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(Path(child.__file__))],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self._folder.name,
                env=_environment(),
                start_new_session=True,
            )
        setup = {
            "function": spec.function,
            "settings": dict(spec.settings),
            "columns": {name: str(type_) for name, type_ in spec.columns.items()},
            "memory_bytes_max": spec.memory_bytes_max,
            "path": [*(path for path in sys.path if path), str(Path.cwd())],
        }
        try:
            deadline = time.monotonic() + START_SECONDS_MAX
            self._send(child.SETUP, json.dumps(setup).encode(), deadline)
            tag, content = self._receive(deadline)
        except BaseException:
            self.close()
            raise
        if tag == child.ERROR:
            self.close()
            raise FunctionFailed(json.loads(content)["text"])

    def call(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, dict[int, str]]:
        """The declared columns for the batch's rows, and the rows that the function refuses. Raises FunctionFailed where it raises."""
        self._rows = batch.num_rows
        deadline = time.monotonic() + self._spec.seconds_max
        self._send(child.BATCH, child.to_bytes(batch), deadline)
        tag, content = self._receive(deadline)
        if tag == child.ERROR:
            said = json.loads(content)
            if said["kind"] == "MemoryError":
                self.close()
                raise self._ended(f"needs more than its {self._spec.memory_bytes_max:,} bytes of memory")
            raise FunctionFailed(said["text"])
        refused = {int(row): reason for row, reason in json.loads(content).items()}
        return child.from_bytes(self._receive(deadline)[1]), refused

    def close(self) -> None:
        """Kills the process and all that it started. May be called again."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):  # it ended in between
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(END_SECONDS_MAX)
        self._socket.close()
        self._folder.cleanup()

    def _send(self, tag: bytes, content: bytes, deadline: float) -> None:
        try:
            self._socket.settimeout(self._left(deadline))
            self._socket.sendall(child.HEAD.pack(tag, len(content)) + content)
        except TimeoutError as error:
            raise self._late() from error
        except OSError as error:
            raise self._died() from error

    def _receive(self, deadline: float) -> tuple[bytes, bytes]:
        tag, length = child.HEAD.unpack(self._take(child.HEAD.size, deadline))
        if length > ANSWER_BYTES_MAX:
            self.close()
            raise self._ended(f"answers with {length:,} bytes; {ANSWER_BYTES_MAX:,} are the most")
        return tag, self._take(length, deadline)

    def _take(self, size: int, deadline: float) -> bytes:
        found = bytearray()
        while len(found) < size:
            try:
                self._socket.settimeout(self._left(deadline))
                piece = self._socket.recv(min(size - len(found), RECEIVE_BYTES))
            except TimeoutError as error:
                raise self._late() from error
            except OSError as error:
                raise self._died() from error
            if not piece:
                raise self._died()
            found += piece
        return bytes(found)

    def _left(self, deadline: float) -> float:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _late(self) -> DataRefused:
        self.close()
        return self._ended(f"takes longer than its {self._spec.seconds_max:g} seconds a batch")

    def _died(self) -> DataRefused:
        self.close()
        code = self._process.returncode
        how = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
        return self._ended(f"ended its process ({how}): it may have crashed, or asked for more memory than it may")

    def _ended(self, why: str) -> DataRefused:
        return DataRefused(
            f"the Python transform {self._spec.function} {why}, with {self._rows:,} rows in the batch: its process was killed, and the "
            "dataset keeps what was committed",
            field="transforms",
        )


def _environment() -> dict[str, str]:
    """Nothing of the host's. Hashes of strings do not change from one process to the next."""
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "OMP_NUM_THREADS": "1",
    }
