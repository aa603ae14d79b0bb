"""The server of the example's pagers on loopback, and the example as an installer would lay it."""

import contextlib
import socketserver
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.packages import lay_out
from tests.sinks import WAIT_SECONDS

EXAMPLE = Path(__file__).parents[1] / "examples" / "notifications" / "own_channel"


@dataclass(frozen=True)
class PagerSaid:
    """The line that a page is answered with; without one the connection ends, or stays open with nothing said."""

    line: str
    is_taken: bool = False
    hangs: bool = False


class Pager:
    """Keeps the lines of pages in `taken`, and of tokens in `tokens`."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.tokens: list[str] = []
        self.says = PagerSaid("OK", is_taken=True)
        self._let_go = threading.Event()
        pager = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                said = pager.says
                pager.tokens.append(self.rfile.readline().decode().strip())
                page = self.rfile.readline().decode().strip()
                if said.is_taken:
                    pager.taken.append(page)
                if said.hangs:
                    pager._let_go.wait(WAIT_SECONDS)
                with contextlib.suppress(OSError):  # whoever asked has given up meanwhile
                    self.wfile.write(f"{said.line}\n".encode() if said.line else b"")

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it; whoever connects then is refused."""
        self._let_go.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def pager_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example's package, installed for this process."""
    site = tmp_path / "site"
    lay_out(EXAMPLE, site)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.syspath_prepend(str(EXAMPLE))
    return site
