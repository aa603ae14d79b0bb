"""A TCP proxy on loopback that tests put between two processes: it can cut every connection and refuse new ones, or hold all bytes."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PIECE_BYTES = 65_536
ACCEPT_SECONDS = 0.2


class Proxy:
    """Passes bytes on to another port. Passes so many bytes from the other side before `on_bytes` is set, for tests that wait for it."""

    def __init__(self, port: int, delay_seconds: float = 0.0) -> None:
        self._to = port
        self._delay_seconds = delay_seconds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(ACCEPT_SECONDS)
        self.port: int = self._listener.getsockname()[1]
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._flowing, self._ended, self.is_cut = threading.Event(), threading.Event(), False
        self._flowing.set()
        self.passed_bytes = 0
        self._threads = [threading.Thread(target=self._accept, name="proxy", daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Every connection ends, and new ones are refused."""
        with self._lock:
            self.is_cut = True
            for pair in self._pairs:
                for end in pair:
                    with contextlib.suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """New connections are taken again."""
        with self._lock:
            self.is_cut = False

    def hold(self) -> None:
        """Connections stay, and nothing passes: what a partition looks like."""
        self._flowing.clear()

    def release(self) -> None:
        """What was held passes on."""
        self._flowing.set()

    def passes(self, piece: bytes, near: socket.socket, *, is_request: bool) -> bool:
        """Whether these bytes are passed on; where they are not, their connection ends. `near` tells one connection from another."""
        del piece, near, is_request
        return True

    def close(self) -> None:
        """Ends everything."""
        self._ended.set()
        self._flowing.set()
        self.cut()
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                near, _ = self._listener.accept()
            except (TimeoutError, OSError):
                continue
            with self._lock:
                far = None if self.is_cut else self._connect()
            if far is None:
                near.close()
                continue
            near.settimeout(None)
            pair = (near, far)
            with self._lock:
                self._pairs.add(pair)
            for source, sink in (pair, pair[::-1]):
                thread = threading.Thread(target=self._pass_on, args=(source, sink, pair), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _connect(self) -> socket.socket | None:
        with contextlib.suppress(OSError):
            return socket.create_connection(("127.0.0.1", self._to))
        return None

    def _pass_on(self, source: socket.socket, sink: socket.socket, pair: tuple[socket.socket, socket.socket]) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                self._flowing.wait()
                if not self.passes(piece, pair[0], is_request=source is pair[0]):
                    break
                if self._delay_seconds and source is pair[0]:
                    self._ended.wait(self._delay_seconds)
                if source is pair[1]:
                    self.passed_bytes += len(piece)
                sink.sendall(piece)
        for end in pair:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        with self._lock:
            is_first = pair in self._pairs
            self._pairs.discard(pair)
        if not is_first:  # both ways have ended
            for end in pair:
                end.close()


@contextmanager
def proxied(port: int, delay_seconds: float = 0.0) -> Iterator[Proxy]:
    """A proxy to a port of this machine, gone at the end; every request takes so much longer."""
    proxy = Proxy(port, delay_seconds)
    try:
        yield proxy
    finally:
        proxy.close()
