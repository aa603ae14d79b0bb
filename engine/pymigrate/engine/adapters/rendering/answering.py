"""The conversation with the process in which messages are made: lines of JSON. A question is a batch; each of its texts is answered by a
line as soon as it is made, so that whoever asked knows which one the process died of."""

import os
from typing import IO

import orjson

from pymigrate.engine.adapters.rendering.texts import Texts

READY = b"[]\n"


def answer(questions: IO[bytes], answers: int, texts: Texts) -> None:
    """Answers until the questions end. A batch holds its texts (`sources`), the values that they read (`values`), and for each message
    the place of its text and of its values by name: most of what many recipients are told is the same. A text that once took too long is
    not made again in the same batch: others wait for it."""
    _write(answers, READY)
    for line in questions:
        batch = orjson.loads(line)
        sources, values = batch["sources"], batch["values"]
        overrun: dict[int, list[str]] = {}
        for source, places in batch["messages"]:
            said = overrun.get(source)
            if said is None:
                said = texts.render(sources[source], {name: values[place] for name, place in places.items()})
                if texts.has_overrun:
                    overrun[source] = said
            _write(answers, orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE))


def _write(answers: int, line: bytes) -> None:
    """At once, however long it is."""
    rest = memoryview(line)
    while rest:
        rest = rest[os.write(answers, rest) :]
