"""What a proxy before an API server does to the requests that a rule matches."""

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

READS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(slots=True)
class Request:
    """One that came by, and what was answered: nothing yet, or a connection that broke, is 0."""

    number: int
    method: str
    path: str
    query: dict[str, str]
    body: bytes
    agent: str = ""
    status: int = 0

    @property
    def is_write(self) -> bool:
        """Whether it asks for a change."""
        return self.method not in READS and "dryRun" not in self.query

    @property
    def is_watch(self) -> bool:
        """Whether its answer is a stream of changes."""
        return self.query.get("watch") in {"1", "true"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done. Before the API server sees the request: it takes longer, is answered with a status, or its connection ends. After it
    has answered: `then` is called, in a thread, or the connection ends without a word of it. Of watches: what `split`, `lag_seconds`,
    `is_silent` and `repeats` say."""

    delay_seconds: float = 0.0
    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    first: Callable[[], None] | None = None
    then: Callable[[], None] | None = None
    closes_before: bool = False
    closes_after: bool = False
    # The sizes of the pieces in which a watch's bytes are passed on, again and again.
    split: Sequence[int] = ()
    # So much later comes whatever a watch tells.
    lag_seconds: float = 0.0
    # Nothing of a watch but its head is passed on.
    is_silent: bool = False
    # So many of the events that were passed on last, of any watch of that path, come again before the new ones.
    repeats: int = 0


@dataclass(slots=True)
class Rule:
    """Which requests, and which of them: the first `skip` pass, then `times` are met. `hits` were."""

    fault: Fault
    method: str = ""
    path: "re.Pattern[str]" = re.compile("")
    matches: Callable[[Request], bool] = lambda _: True
    skip: int = 0
    times: int = 1
    seen: int = 0
    hits: int = 0

    def meets(self, request: Request) -> bool:
        """Counts it, and says whether it is one of them."""
        if self.method not in {"", request.method} or not self.path.search(request.path) or not self.matches(request):
            return False
        self.seen += 1
        if not self.skip < self.seen <= self.skip + self.times:
            return False
        self.hits += 1
        return True


def requested(number: int, line: str, body: bytes, agent: str) -> Request:
    """What the first line of a request says."""
    method, target, _ = line.split(" ", 2)
    parts = urlsplit(target)
    return Request(number, method, parts.path, {k: v[-1] for k, v in parse_qs(parts.query).items()}, body, agent)


def said(status: int, reason: str, message: str) -> bytes:
    """What the API would say in an answer of this status."""
    told = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": status}
    return json.dumps(told | {"reason": reason, "message": message}).encode()


async def called(step: Callable[[], None] | None) -> None:
    """Calls it in a thread, where it may wait."""
    if step is not None:
        await asyncio.to_thread(step)
