"""A call whose answers are pieces of lines of JSON, as these lines (NDJSON) in the place of events: for whoever asks for that media type,
to be written to a file as they come. Why one breaks off is a last line, `{"problem": ...}`."""

import re
from collections.abc import Mapping
from typing import Any

import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.entrypoints.rest.problems import problem_of

NDJSON = "application/x-ndjson"
LINES = "lines"
_ASKS = re.compile(r"(?:^|,)\s*application/x-ndjson\s*(?:$|,|;(?!\s*q\s*=\s*0(?:\.0*)?\s*(?:$|,|;)))", re.IGNORECASE)


class Lines:
    """Lines of JSON."""

    media_type = NDJSON
    opening = b""
    # Whoever reads lines of JSON has to pass over an empty one.
    keepalive = b"\n"
    end = b""

    def answer(self, answer: Any) -> bytes:
        """The lines of a piece."""
        lines: bytes = answer.lines
        return lines

    def problem(self, error: PyMigrateError) -> bytes:
        """The last line of a stream that failed."""
        return orjson.dumps({"problem": problem_of(error)}) + b"\n"


def answers_in_lines(answer: Descriptor) -> bool:
    """Whether the answers of a call are pieces of lines."""
    field = answer.fields_by_name.get(LINES)
    return field is not None and field.type == FieldDescriptor.TYPE_BYTES


def asks_for_lines(headers: Mapping[str, str]) -> bool:
    """Whether a request accepts lines of JSON by name."""
    return _ASKS.search(headers.get("accept", "")) is not None
