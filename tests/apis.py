"""A real HTTP server on loopback that answers as a test tells it to, and remembers what it was asked."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest


@dataclass(frozen=True)
class Asked:
    """A request."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """An answer. `cut` bytes of the body are left out, though its length is announced; `is_dropped` closes without a word."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    cut: int = 0
    is_dropped: bool = False


def json_reply(document: object, **headers: str) -> Reply:
    """A document."""
    return Reply(json.dumps(document).encode(), headers=headers)


class ApiServer:
    """`answer` may be set to anything that makes a Reply of what was asked."""

    def __init__(self, certificate: tuple[str, str] | None = None) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Reply] = lambda _: Reply(status=404)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "https" if certificate else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()

    def replies(self, *replies: Reply) -> None:
        """Answers with these in turn, and then with the last of them."""
        left = list(replies)
        self.answer = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one segment for an answer's head and body, rather than a delayed second one

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {name: texts[-1] for name, texts in parse_qs(parts.query, keep_blank_values=True).items()}
                asked = Asked(unquote(parts.path), query, {name.lower(): text for name, text in self.headers.items()})
                server.asked.append(asked)
                reply = server.answer(asked)
                if reply.is_dropped:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, text in {"Content-Type": reply.media_type, **reply.headers}.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body[: len(reply.body) - reply.cut])
                self.wfile.flush()
                self.close_connection = self.close_connection or reply.cut > 0

            def log_message(self, format: str, *args: object) -> None:
                """Nothing is printed."""

        return Handler


@contextmanager
def serving(certificate: tuple[str, str] | None = None) -> Iterator[ApiServer]:
    """A server for as long as the block runs."""
    server = ApiServer(certificate)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def api() -> Iterator[ApiServer]:
    """A server of the test's own."""
    with serving() as server:
        yield server


def by_offset(relations: Mapping[str, Sequence[Mapping[str, object]]]) -> Callable[[Asked], Reply]:
    """Answers `/<relation>?offset=&limit=` with `{"items": […]}`."""

    def answer(asked: Asked) -> Reply:
        records = relations.get(asked.path.removeprefix("/"))
        if records is None:
            return Reply(b'{"error": "no such path"}', 404)
        first = int(asked.query["offset"])
        return json_reply({"items": records[first : first + int(asked.query["limit"])], "total": len(records)})

    return answer
