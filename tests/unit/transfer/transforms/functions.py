"""Functions that tests let a Python transform call, in its own process."""

import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def shout(batch: pa.RecordBatch, settings: Mapping[str, str]) -> tuple[dict[str, Any], dict[int, str]]:
    """Upper case, with a mark; refuses the rows that are called `no`, raises on those that are called `bad`."""
    names = batch.column("name").to_pylist()
    if "bad" in names:
        raise ValueError("a bad name")
    texts = [None if name is None else name.upper() + settings.get("mark", "") for name in names]
    return {"name": pa.array(texts, pa.string())}, {row: "says no" for row, name in enumerate(names) if name == "no"}


def lengths(batch: pa.RecordBatch, settings: Mapping[str, str]) -> pa.RecordBatch:
    """A batch with `size`, a float where the name is `half`."""
    del settings
    sizes = [0.5 if name == "half" else float(len(name or "")) for name in batch.column("name").to_pylist()]
    return pa.record_batch({"size": pa.array(sizes)})


def hang(batch: pa.RecordBatch, settings: Mapping[str, str]) -> pa.RecordBatch:
    """Does not come back."""
    del settings
    while True:
        pc.sum(batch.column("id"))


def hoard(batch: pa.RecordBatch, settings: Mapping[str, str]) -> dict[str, list[str]]:
    """Takes a gigabyte."""
    del settings
    return {"name": [str(len(bytearray(1 << 30)))] * batch.num_rows}


def crash(batch: pa.RecordBatch, settings: Mapping[str, str]) -> pa.RecordBatch:
    """Dies by a signal."""
    del batch, settings
    os.abort()


def leave(batch: pa.RecordBatch, settings: Mapping[str, str]) -> pa.RecordBatch:
    """Ends the process."""
    del batch, settings
    os._exit(3)


def look_around(batch: pa.RecordBatch, settings: Mapping[str, str]) -> dict[str, list[str]]:
    """What it can see of its host."""
    del settings
    sys.stdout.write("noise\n")
    sys.stdout.flush()
    try:
        Path("/tmp/pymigrate-was-here").write_text("x" * 10)
        wrote = "wrote"
    except OSError:
        wrote = "refused"
    sockets = sum(1 for descriptor in range(3, 20) if _is_socket(descriptor))
    seen = f"{sorted(os.environ)} {wrote} {sockets}"
    return {"name": [seen] * batch.num_rows}


def clock(batch: pa.RecordBatch, settings: Mapping[str, str]) -> dict[str, list[str]]:
    """Never the same twice."""
    del settings
    return {"name": [str(time.perf_counter_ns())] * batch.num_rows}


def _is_socket(descriptor: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(descriptor)):
            return True
    except OSError:
        return False
