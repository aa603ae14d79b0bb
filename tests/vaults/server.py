"""Nodes of a Vault on real sockets of loopback: the active one, standbys that redirect, performance standbys that lag, and their faults."""

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

from pymigrate.engine.adapters.clock import ThreadClock
from tests.vaults.core import Answer, Asked, Refused, Vault
from tests.vaults.system import new_vault

WAIT_SECONDS = 60.0
CHUNKS = 5
AT_ONCE = struct.pack("ii", 1, 0)
LIMITED = "request path {path!r}: rate limit quota exceeded"


@dataclass
class Fault:
    """What happens to requests instead of an answer: the next `times` of them whose path begins so."""

    status: int = 500
    errors: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    times: int = 1_000_000
    is_reset: bool = False
    hangs_until: threading.Event | None = None
    body: str | None = None
    is_after: bool = False  # the request is carried out all the same


class VaultNode:
    """A node. `leads_to`: it is a standby, which sends its callers there; `lag`: so often it says that it is behind, to who knows more."""

    def __init__(self, vault: Vault, leads_to: str = "", lag: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.vault = vault
        self.leads_to = leads_to
        self.lag = lag
        self.faults: list[Fault] = []
        self.asked: list[Asked] = []
        self.is_chunked = False
        self.on_piece: Callable[[], None] = lambda: None  # of an answer in chunks, before each is sent
        self._lock = threading.Lock()
        self._scheme = "https" if tls is not None else "http"
        self._server = _Server(self)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Ends it; whoever asks then is refused."""
        self._server.shutdown()
        self._server.server_close()
        self._server.drop_all()

    def throttles(self, seconds: int, path: str = "", times: int = 1_000_000) -> None:
        """A quota is exceeded."""
        self.faults.append(Fault(429, (LIMITED.format(path=path),), {"Retry-After": str(seconds)}, path, times))

    def fault_for(self, asked: Asked) -> Fault | None:
        with self._lock:
            self.asked.append(asked)
            for fault in self.faults:
                if fault.times > 0 and asked.path.startswith(fault.path):
                    fault.times -= 1
                    return fault
        return None

    def answer(self, asked: Asked) -> Answer:
        if self.leads_to and asked.path not in {"sys/health", "sys/leader", "sys/seal-status"}:
            query = "&".join(f"{name}={value}" for name, value in asked.query.items())
            location = f"{self.leads_to}/v1/{asked.path}" + (f"?{query}" if query else "")
            return Answer(307, {}, {"Location": location})
        is_forwarded = asked.headers.get("x-vault-inconsistent") == "forward-active-node"
        if self.lag and asked.headers.get("x-vault-index") and not is_forwarded:
            self.lag -= 1
            return Answer(412, {"errors": ["required index state not present"]})
        try:
            return self.vault.handle(asked)
        except Refused as refused:
            return Answer(refused.status, dict(refused.document))


class _Handler(BaseHTTPRequestHandler):
    """Reads a request, and says what the node answers or what a fault makes of it."""

    server: "_Server"
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        method = "LIST" if query.get("list") == "true" else self.command
        asked = Asked(
            method,
            unquote(url.path).removeprefix("/v1/"),
            json.loads(body) if body else {},
            query,
            {name.lower(): value for name, value in self.headers.items()},
            self.client_address[1],
        )
        fault = self.server.node.fault_for(asked)
        if fault is None:
            self.say(self.server.node.answer(asked))
            return
        if fault.hangs_until is not None:
            fault.hangs_until.wait(WAIT_SECONDS)
        if fault.is_after:
            self.server.node.answer(asked)
        if fault.is_reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            self.close_connection = True
            self.connection.close()
            return
        self.say(Answer(fault.status, {"errors": list(fault.errors)}, dict(fault.headers)), fault.body)

    def do_GET(self) -> None:
        self.handle_any()

    do_POST = do_PUT = do_DELETE = do_LIST = do_GET  # noqa: N815 (the server's own names)

    def say(self, answer: Answer, text: str | None = None) -> None:
        body = b"" if answer.status in {204, 307} else (text or json.dumps(answer.document)).encode()
        with contextlib.suppress(OSError):  # whoever asked has given up meanwhile
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Cache-Control", "no-store")
            self.send_header("Content-Type", "application/json")
            if self.server.node.is_chunked and body:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.say_in_chunks(body)
                return
            if answer.status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

    def say_in_chunks(self, body: bytes) -> None:
        size = -(-len(body) // CHUNKS)
        for start in range(0, len(body), size):
            piece = body[start : start + size]
            self.server.node.on_piece()
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def log_message(self, format: str, *_: object) -> None:
        """Nothing on stderr."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, node: VaultNode) -> None:
        self.node = node
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: object, client_address: object) -> None:
        self._connections.add(request)  # type: ignore[arg-type]  # a server of TCP is given sockets
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def shutdown_request(self, request: object) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)  # type: ignore[arg-type]

    def drop_all(self) -> None:
        """Ends what is connected still, as the end of a process does."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that was reset on purpose is no error of the test's."""


@contextmanager
def running_vault(tls: ssl.SSLContext | None = None) -> Iterator[VaultNode]:
    """An active node of a new Vault, on a free port of loopback; its root token is `node.vault.root`."""
    node = VaultNode(new_vault(ThreadClock().now()), tls=tls)
    try:
        yield node
    finally:
        node.close()
