"""Traces in the engine's words: where a span stands in its trace, what it tells when it has ended, and who takes it.

A span is handed over once it has ended, whole, under an id that was known before. The spans of runs have ids that follow from what the
run keeps, so that an engine which takes a run over tells the same ones, and nothing of a trace is only in memory.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

TRACEPARENT = "traceparent"
SPAN_DIGITS = 16
VERSION_INVALID = "ff"
CHARACTERS_MAX = 512
_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
)


@dataclass(frozen=True, slots=True)
class SpanContext:
    """A span's place: its trace, 32 hexadecimal digits, its own id, 16 of them, and whether anybody wants to see it."""

    trace_id: str
    span_id: str
    is_sampled: bool = True

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.is_sampled:02x}"

    def derived(self, *words: object) -> "SpanContext":
        """The span of the same trace whose id follows from this one and the words: whoever asks again gets the same."""
        text = "/".join([self.trace_id, self.span_id, *map(str, words)])
        return SpanContext(self.trace_id, hashlib.sha256(text.encode()).hexdigest()[:SPAN_DIGITS], self.is_sampled)


def read_traceparent(text: str) -> SpanContext | None:
    """What a `traceparent` says (W3C Trace Context, 3.2); None for one that is to be ignored: it is invalid, or there is none."""
    if len(text) > CHARACTERS_MAX:
        return None
    found = _TRACEPARENT.match(text)
    if found is None or found["version"] == VERSION_INVALID:
        return None
    rest = text[found.end() :]
    if rest and (found["version"] == "00" or not rest.startswith("-")):
        return None
    if not int(found["trace"], 16) or not int(found["span"], 16):
        return None
    return SpanContext(found["trace"], found["span"], bool(int(found["flags"], 16) & 1))


@dataclass(frozen=True, slots=True)
class Span:
    """What took place from `start` to `end`. `failure` says what went wrong; empty: nothing did. `is_call`: somebody outside asked."""

    name: str
    context: SpanContext
    parent: SpanContext | None
    start: datetime
    end: datetime
    attributes: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    failure: str = ""
    is_call: bool = False


class Tracing(Protocol):
    """Where spans go. Safe on every thread."""

    @property
    def is_on(self) -> bool:
        """Whether anybody takes spans; where nobody does, none need be made."""
        ...

    def begin(self, parent: SpanContext | None) -> SpanContext | None:
        """The place of a new span below `parent`, or of the first one of a new trace. Where nobody takes spans it is the parent's."""
        ...

    def record(self, span: Span) -> None:
        """Takes a span that has ended. It never waits and never raises; one that nobody wants to see, or that is too many, is dropped."""
        ...

    def close(self) -> None:
        """Hands over what is left, for a moment at most."""
        ...


class NoTracing:
    """Nobody takes spans. What a caller says of its trace is kept all the same, for logs."""

    is_on = False

    def begin(self, parent: SpanContext | None) -> SpanContext | None:
        """The parent's place."""
        return parent

    def record(self, span: Span) -> None:
        """Drops it."""

    def close(self) -> None:
        """Nothing is left."""


_present: ContextVar[SpanContext | None] = ContextVar("present_span", default=None)


def present_span() -> SpanContext | None:
    """The span that the present task or thread works in."""
    return _present.get()


def enter(context: SpanContext | None) -> None:
    """Lets the present task or thread work in a span from now on."""
    _present.set(context)


@contextmanager
def within(context: SpanContext | None) -> Iterator[None]:
    """Lets the present task or thread work in a span."""
    token = _present.set(context)
    try:
        yield
    finally:
        _present.reset(token)


def log_fields(context: SpanContext | None) -> dict[str, str]:
    """What a log line says of the span that it was written in."""
    return {} if context is None else {"trace_id": context.trace_id, "span_id": context.span_id}
