"""The process that runs a Python transform: started by `python_step` as a script, with nothing of the host's but a socket.

Its first frame says what to run and under which limits; then a batch comes in and a batch, or an error, goes out, until the socket ends.
A frame is a tag, eight bytes of length, and that many bytes. What the function prints goes nowhere.
"""

import ctypes
import importlib
import io
import json
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc as ipc

BATCH = b"B"
SETUP = b"S"
REFUSED = b"R"
ERROR = b"E"
HEAD = struct.Struct("!cQ")
FILES_MAX = 64
MESSAGE_CHARACTERS_MAX = 300
PR_SET_PDEATHSIG = 1
Function = Callable[[pa.RecordBatch, Mapping[str, str]], Any]


def write_frame(stream: io.RawIOBase | io.BufferedIOBase, tag: bytes, content: bytes) -> None:
    """One frame, whole."""
    stream.write(HEAD.pack(tag, len(content)))
    stream.write(content)
    stream.flush()


def read_frame(stream: io.BufferedIOBase) -> tuple[bytes, bytes] | None:
    """The next frame; None at the end."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    tag, length = HEAD.unpack(head)
    return tag, stream.read(length)


def to_bytes(batch: pa.RecordBatch) -> bytes:
    """A batch as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def from_bytes(content: bytes) -> pa.RecordBatch:
    """The batch of an Arrow stream."""
    with ipc.open_stream(content) as reader:
        return reader.read_next_batch()


def main() -> int:
    """Serves the socket on standard input to its end."""
    with socket.socket(fileno=os.dup(0)) as connection, connection.makefile("rwb") as stream:
        _let_go_of_streams()
        setup = json.loads((read_frame(stream) or (SETUP, b"{}"))[1])
        sys.path[:] = setup["path"]
        _limit(setup["memory_bytes_max"])
        try:
            function = _function(setup["function"])
        except BaseException as error:  # noqa: BLE001 (a module may raise anything, and it is told rather than died of)
            write_frame(stream, ERROR, _said(error))
            return 1
        write_frame(stream, SETUP, b"")
        while (frame := read_frame(stream)) is not None:
            _serve(stream, function, frame[1], setup)
    return 0


def _serve(stream: io.BufferedIOBase, function: Function, content: bytes, setup: Mapping[str, Any]) -> None:
    try:
        batch = from_bytes(content)
        found = function(batch, dict(setup["settings"]))
        refused: Mapping[int, str] = {}
        if isinstance(found, tuple):
            found, refused = found
        result = _result(found, batch.num_rows, setup["columns"])
        reasons = {str(int(row)): str(reason)[:MESSAGE_CHARACTERS_MAX] for row, reason in refused.items()}
        answer = to_bytes(result)
    except BaseException as error:  # noqa: BLE001 (a function may raise anything, and it is told rather than died of)
        write_frame(stream, ERROR, _said(error))
        return
    write_frame(stream, REFUSED, json.dumps(reasons).encode())
    write_frame(stream, BATCH, answer)


def _result(found: Any, rows: int, columns: Mapping[str, str]) -> pa.RecordBatch:
    """The declared columns of what the function gave: a record batch, a table, or a mapping of names to values."""
    names = list(columns)
    arrays = []
    for name in names:
        values = found[name] if isinstance(found, Mapping) else found.column(name)
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        arrays.append(values if isinstance(values, pa.Array) else pa.array(values))
        if len(arrays[-1]) != rows:
            raise ValueError(f"column {name} has {len(arrays[-1])} values for {rows} rows")
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _function(name: str) -> Function:
    module, _, attribute = name.partition(":")
    found: Function = getattr(importlib.import_module(module), attribute)
    if not callable(found):
        raise TypeError(f"{name} can't be called")
    return found


def _limit(memory_bytes_max: int) -> None:
    """Memory on top of what the interpreter has mapped by now; no file is written, no core dumped, and it dies with its host."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = mapped + memory_bytes_max
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX))


def _let_go_of_streams() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _said(error: BaseException) -> bytes:
    text = f"{type(error).__name__}: {error}"[:MESSAGE_CHARACTERS_MAX]
    return json.dumps({"kind": type(error).__name__, "text": text}).encode()


if __name__ == "__main__":
    sys.exit(main())
