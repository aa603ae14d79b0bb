"""A real HTTP server on loopback that takes what is posted to it, and answers, hangs or resets as a test tells it to."""

import contextlib
import gzip
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

WAIT_SECONDS = 60.0
AT_ONCE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Posted:
    """What was posted, unpacked, and the port that it came from: the same for what came over one connection."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    from_port: int = 0


@dataclass(frozen=True)
class Said:
    """What is answered. `is_reset` ends the connection without a word, and with `is_taken` after the request was taken; `hangs_until` is
    waited for first, `drips_until` between the head of the answer and its body."""

    status: int = 200
    retry_after: str = ""
    is_reset: bool = False
    is_taken: bool = False
    body: str = ""
    date: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs_until: threading.Event | None = None
    drips_until: threading.Event | None = None


class HttpSink:
    """Keeps what it has answered with 2xx in `taken`, and everything in `asked`. `answer` may be set to anything that makes an answer."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Posted] = []
        self.taken: list[Posted] = []
        self.answer: Callable[[Posted], Said] = lambda _: Said()
        self.changed = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_port
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Ends it; whoever asks then is refused."""
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
        """Waits until what was posted is as the test wants it."""
        with self.changed:
            assert self.changed.wait_for(condition, seconds), f"{len(self.taken)} taken, {len(self.asked)} asked"

    def take(self, posted: Posted) -> Said:
        """Notes a request, and says what is answered."""
        with self.changed:
            self.asked.append(posted)
            self.changed.notify_all()
        said = self.answer(posted)
        if said.hangs_until is not None:
            said.hangs_until.wait(WAIT_SECONDS)
        with self.changed:
            if said.is_taken or (not said.is_reset and said.status < 300):
                self.taken.append(posted)
            self.changed.notify_all()
        return said

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                said = sink.take(Posted(self.path, headers, body, self.client_address[1]))
                if said.is_reset:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
                    self.close_connection = True
                    self.connection.close()
                    return
                with contextlib.suppress(OSError):  # whoever asked has given up meanwhile
                    self.send_response_only(said.status)
                    self.send_header("date", said.date or self.date_time_string())
                    if said.retry_after:
                        self.send_header("retry-after", said.retry_after)
                    for name, value in said.headers.items():
                        self.send_header(name, value)
                    body = said.body.encode()
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    if said.drips_until is not None:
                        self.wfile.flush()
                        said.drips_until.wait(WAIT_SECONDS)
                    self.wfile.write(body)
                    self.wfile.flush()

            def log_message(self, format: str, *_: object) -> None:
                """Nothing on stderr."""

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that was reset on purpose is no error of the test's."""


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    """A server that takes everything."""
    server = HttpSink()
    yield server
    server.close()
