"""The process of a plugin's business metrics: `python -m pymigrate.engine.main.business_metrics NAME`.

It reads lines of plans on standard input, answers each with a line of families, and ends when the engine does. What the plugin prints
goes nowhere, and it has only so much memory.
"""

import os
import queue
import resource
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import entry_points
from itertools import islice
from typing import IO, Any

import orjson

from pymigrate.engine.adapters.metrics.plugin_process import ERROR, READY
from pymigrate.engine.ports.business_metrics import ENTRY_POINTS, FAMILIES_MAX, BusinessMetrics, PlanFigures
from pymigrate.engine.ports.metrics import Reading

MEMORY_BYTES_MAX = 1_000_000_000
SERIES_TOLD_MAX = 2_000
REASON_BYTES_MAX = 500
NICENESS = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Answers until standard input ends."""
    (name,) = sys.argv[1:] if arguments is None else arguments
    answers = _alone_on_standard_output()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    os.nice(NICENESS)
    questions: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, questions), name="questions", daemon=True).start()
    try:
        plugin = _plugin(name)
    except BaseException as error:  # noqa: BLE001 (whatever another package raises is told to the engine)
        _write(answers, _reason(error))
        return 1
    _write(answers, READY)
    while True:
        _write(answers, _answer(plugin, questions.get()))


def _plugin(name: str) -> BusinessMetrics:
    found = tuple(entry_points(group=ENTRY_POINTS, name=name))
    if not found:
        raise LookupError(f"no package brings {name} in {ENTRY_POINTS}")
    made: BusinessMetrics = found[0].load()()
    return made


def _answer(plugin: BusinessMetrics, question: bytes) -> bytes:
    try:
        plans = [PlanFigures(*values) for values in orjson.loads(question)]
        return orjson.dumps([_told(reading) for reading in islice(plugin.collect(plans), FAMILIES_MAX + 1)]) + b"\n"
    except BaseException as error:  # noqa: BLE001 (whatever another package raises is told to the engine)
        return _reason(error)


def _told(reading: Reading) -> list[Any]:
    family = reading.family
    values = list(islice(reading.values, SERIES_TOLD_MAX))
    return [family.name, str(family.kind), family.about, family.labels, values]


def _reason(error: BaseException) -> bytes:
    said = " ".join(f"{type(error).__name__}: {error}".split())
    return ERROR + said.encode(errors="replace")[:REASON_BYTES_MAX] + b"\n"


def _read(source: IO[bytes], questions: "queue.SimpleQueue[bytes]") -> None:
    """Passes lines on; at their end the process ends, whatever the plugin is about."""
    for line in source:
        questions.put(line)
    os._exit(0)


def _alone_on_standard_output() -> IO[bytes]:
    """Standard output for answers alone: whatever else is written there goes where errors go."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _write(answers: IO[bytes], line: bytes) -> None:
    answers.write(line)
    answers.flush()


if __name__ == "__main__":
    sys.exit(main())
