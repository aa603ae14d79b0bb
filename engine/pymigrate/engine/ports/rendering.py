"""How messages are made from templates: in a sandbox, within limits of time, memory and size, away from the engine's own process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class TemplateSource:
    """One text of a template; `html` is empty where there is none. Two of the same content are the same to whoever keeps them compiled."""

    subject: str
    body: str
    html: str = ""


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """A text, and what it is told of: plain data (maps, lists, texts, numbers, booleans, None)."""

    source: TemplateSource
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RenderedText:
    """What came of it; with a `problem`, nothing of the rest holds: it is a sentence after the part (`subject`, `body` or `html`) and the
    line, where it is known, as in `body: line 3: there is no ...`. The subject has no line breaks."""

    subject: str = ""
    body: str = ""
    html: str = ""
    problem: str = ""


class Renderer(Protocol):
    """Renders texts."""

    async def render(self, requests: Sequence[RenderRequest]) -> Sequence[RenderedText]:
        """One for each request, in order. One that fails, loops or grows too large has a problem, and the others are rendered all the
        same."""
        ...

    async def close(self) -> None:
        """Ends what is open."""
        ...
