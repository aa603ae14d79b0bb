"""A stand-in of a host's API on loopback: it holds what it is asked against the recorded shapes, and answers as the real one does.

What breaks a shape is refused as the host refuses it, and kept in `violations`, which a test that means none asserts to be empty.
"""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Call:
    """What was asked: the path's segments, unquoted, below the API's base."""

    method: str
    segments: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Answer:
    """What is said to it. `hangs_until` is waited for first."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs_until: threading.Event | None = None


@dataclass(frozen=True)
class Text:
    """A field that is a text."""

    characters_max: int = 1_000_000
    words: Sequence[str] = ()
    is_required: bool = True
    begins: str = ""

    def objection(self, value: object) -> str:
        """Why it is none; empty where it is one."""
        if not isinstance(value, str):
            return "is no text"
        if len(value) > self.characters_max:
            return f"is too long (maximum is {self.characters_max} characters)"
        if self.words and value not in self.words:
            return f"is not one of {', '.join(self.words)}"
        return "" if value.startswith(self.begins) else f"does not begin with {self.begins}"


Shape = Mapping[str, Text]


class HostServer:
    """`faults` are given in order before anything else is; whoever shows another token than `token` is refused."""

    def __init__(self, token: str = "a-token-of-the-test") -> None:
        self.token = token
        self.calls: list[Call] = []
        self.violations: list[str] = []
        self.faults: list[Answer] = []
        self.changed = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where its API is."""
        return f"http://127.0.0.1:{self._server.server_port}{self.base}"

    base = ""

    def route(self, call: Call) -> Answer:
        """What the host answers to somebody who may ask."""
        raise NotImplementedError

    def unauthorized(self) -> Answer:
        """What it says to a wrong token."""
        return Answer(401, {"message": "401 Unauthorized"})

    def wait_for(self, condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
        """Waits until it was asked what a test wants."""
        with self.changed:
            assert self.changed.wait_for(condition, seconds), f"{[(each.method, each.segments) for each in self.calls]}"

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()

    def checked(self, call: Call, shape: Shape) -> str:
        """The first way in which a body breaks a shape, which is kept; empty where it does not."""
        body = call.body if isinstance(call.body, dict) else {}
        found = [f"{name} is unknown" for name in sorted(body.keys() - shape.keys())]
        for name, wanted in shape.items():
            if name not in body:
                found += [f"{name} is missing"] if wanted.is_required else []
            elif objection := wanted.objection(body[name]):
                found.append(f"{name} {objection}")
        if call.headers.get("content-type") != "application/json":
            found.append("the body is not announced as JSON")
        self.violations += [f"{call.method} /{'/'.join(call.segments)}: {each}" for each in found]
        return found[0] if found else ""

    def _take(self, call: Call) -> Answer:
        with self.changed:
            self.calls.append(call)
            fault = self.faults.pop(0) if self.faults else None
            if not call.headers.get("user-agent"):
                self.violations.append("no user-agent")
            self.changed.notify_all()
        if fault is not None and fault.hangs_until is not None:
            fault.hangs_until.wait(WAIT_SECONDS)
        with self.changed:
            if fault is not None:
                said = fault
            elif call.headers.get("authorization") != f"Bearer {self.token}":
                said = self.unauthorized()
            else:
                said = self.route(call)
            self.changed.notify_all()
        return said

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def answer(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length", 0)))
                parts = urlsplit(self.path)
                segments = tuple(unquote(each) for each in parts.path.removeprefix(server.base).strip("/").split("/"))
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                headers = {name.lower(): value for name, value in self.headers.items()}
                said = server._take(Call(self.command, segments, query, headers, json.loads(raw) if raw else None))
                body = b"" if said.body is None else json.dumps(said.body).encode()
                self.send_response(said.status)
                self.send_header("content-type", "application/json")
                for name, value in said.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                self.wfile.flush()

            def do_GET(self) -> None:
                self.answer()

            def do_POST(self) -> None:
                self.answer()

            def do_PUT(self) -> None:
                self.answer()

            def do_PATCH(self) -> None:
                self.answer()

            def log_message(self, format: str, *_: object) -> None:
                """Nothing on stderr."""

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asked has given up meanwhile."""


def page_of(entries: Sequence[Any], query: Mapping[str, str], size: str, usual: int) -> list[Any]:
    """One page, as long as it was asked for, at most a hundred."""
    length, number = min(int(query.get(size, usual)), 100), int(query.get("page", 1))
    return list(entries[(number - 1) * length : number * length])
