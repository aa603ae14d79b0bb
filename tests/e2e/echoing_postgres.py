"""A server that speaks as much of PostgreSQL's protocol as a client needs to tell it a password, and says it back in its refusal."""

import base64
import contextlib
import json
import socket
import socketserver
import struct
import threading
from typing import Any
from urllib.parse import quote

ENCRYPTION_ASKED = frozenset({80877103, 80877104})
CLEARTEXT = struct.pack("!cii", b"R", 8, 3)
HEAD_BYTES = 5


class EchoingPostgres:
    """Listens on loopback, without TLS. `told` are the passwords that it was told."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Session)
        self.told = self._server.told
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self.told: list[str] = []
        super().__init__(*arguments)


class _Session(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError, struct.error):
            client: socket.socket = self.request
            while _startup(client) in ENCRYPTION_ASKED:
                client.sendall(b"N")
            client.sendall(CLEARTEXT)
            _, length = struct.unpack("!ci", _exactly(client, HEAD_BYTES))
            password = _exactly(client, length - 4).rstrip(b"\0").decode()
            assert isinstance(self.server, _Server)
            self.server.told.append(password)
            client.sendall(_refusal(password))


def _startup(client: socket.socket) -> int:
    length, code = struct.unpack("!ii", _exactly(client, 8))
    _exactly(client, length - 8)
    return int(code)


def _exactly(client: socket.socket, size: int) -> bytes:
    taken = b""
    while len(taken) < size:
        piece = client.recv(size - len(taken))
        if not piece:
            raise OSError
        taken += piece
    return taken


def _refusal(password: str) -> bytes:
    echoes = (
        password,
        json.dumps(password),
        quote(password, safe=""),
        base64.b64encode(f"me:{password}".encode()).decode(),
    )
    said = b"".join(
        kind + text.encode() + b"\0"
        for kind, text in (
            (b"S", "FATAL"),
            (b"V", "FATAL"),
            (b"C", "28P01"),
            (b"M", f"no such password: {' or '.join(echoes)}"),
        )
    )
    return b"E" + struct.pack("!i", len(said) + 5) + said + b"\0"
