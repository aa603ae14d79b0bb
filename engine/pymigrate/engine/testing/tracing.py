"""Spans in memory: what a process would have told a collector."""

from itertools import count

from pymigrate.engine.ports.tracing import Span, SpanContext


class RecordedTracing:
    """Keeps every span that is sampled. Ids are counted; `is_sampled` is decided for each new trace."""

    is_on = True

    def __init__(self, *, is_sampled: bool = True) -> None:
        self.is_sampled = is_sampled
        self.spans: list[Span] = []
        self.is_closed = False
        self._numbers = count(1)

    def begin(self, parent: SpanContext | None) -> SpanContext:
        """The next place."""
        number = next(self._numbers)
        if parent is None:
            return SpanContext(f"{number:032x}", f"{number:016x}", self.is_sampled)
        return SpanContext(parent.trace_id, f"{number:016x}", parent.is_sampled)

    def record(self, span: Span) -> None:
        """Keeps it."""
        if span.context.is_sampled:
            self.spans.append(span)

    def close(self) -> None:
        """Notes that it was closed."""
        self.is_closed = True

    def named(self, name: str) -> list[Span]:
        """The spans of that name, in the order in which they ended."""
        return [span for span in self.spans if span.name == name]

    def parents_of(self, span: Span) -> list[str]:
        """The names of the spans above, the nearest first, and at last what is above the first of them that was recorded."""
        known = {each.context.span_id: each for each in self.spans}
        names: list[str] = []
        above = span.parent
        while above is not None and above.span_id in known:
            names.append(known[above.span_id].name)
            above = known[above.span_id].parent
        return names if above is None else [*names, above.span_id]
