"""A renderer without a process: it puts values in where a text names them as `{{ event.type }}`, and knows nothing else of the language."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pymigrate.engine.ports.rendering import RenderedText, RenderRequest

_NAMED = re.compile(r"{{ ?([a-z_.]+) ?}}")


class PlainRenderer:
    """`asked` keeps what it was asked, in order."""

    def __init__(self) -> None:
        self.asked: list[RenderRequest] = []
        self.is_closed = False

    async def render(self, requests: Sequence[RenderRequest]) -> Sequence[RenderedText]:
        """One for each; what a text names and its values do not have is its problem."""
        self.asked += requests
        return [_rendered(request) for request in requests]

    async def close(self) -> None:
        """Notes it."""
        self.is_closed = True


def _rendered(request: RenderRequest) -> RenderedText:
    found: list[str] = []
    for part, text in (
        ("subject", request.source.subject),
        ("body", request.source.body),
        ("html", request.source.html),
    ):
        for line, written in enumerate(text.splitlines(), 1):
            for name in _NAMED.findall(written):
                if _value(request.context, name) is None:
                    return RenderedText(problem=f"{part}: line {line}: there is no `{name}` here")
        filled = _NAMED.sub(lambda named: str(_value(request.context, named[1])), text)
        found.append(" ".join(filled.split()) if part == "subject" else filled)
    return RenderedText(*found)


def _value(context: Mapping[str, Any], name: str) -> Any:
    value: Any = context
    for word in name.split("."):
        value = value.get(word) if isinstance(value, Mapping) else None
    return value
