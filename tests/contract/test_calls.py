"""What is called outside databases: one contract for the fake and for HTTP, against a real server on loopback."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pymigrate.engine.adapters.calls import HttpCalls
from pymigrate.engine.domain.errors import StepRefused, StepUnavailable
from pymigrate.engine.ports.calls import Calls, OutsideCall
from pymigrate.engine.ports.secrets import Secret
from pymigrate.engine.testing.calls import MemoryCalls


class Switch:
    """A system with an HTTP interface that does everything once a key, and answers as it is told."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.seen: list[tuple[str, str, dict[str, str], str]] = []
        self.done: dict[str, int] = {}
        switch = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                switch.seen.append((self.command, self.path, dict(self.headers), body))
                status = switch.statuses.pop(0) if switch.statuses else 204
                if status == 0:
                    self.connection.close()
                    return
                if status < 300:
                    key = self.headers["Idempotency-Key"]
                    switch.done[key] = switch.done.get(key, 0) or 1
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"http://127.0.0.1:{switch.port}/elsewhere")
                said = b"" if status == 204 else b"because"
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            do_POST = do_PUT = do_DELETE = do_GET = _answer  # noqa: N815 (the names that the server looks for)

            def log_message(self, *arguments: Any) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/switch"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def switch() -> Iterator[Switch]:
    running = Switch()
    yield running
    running.close()


def call(switch: Switch, **changed: Any) -> OutsideCall:
    return OutsideCall(**{"method": "POST", "url": switch.url, "key": "k1", **changed})


@pytest.mark.parametrize("kind", ["memory", "http"])
def test_a_repeated_call_is_known_by_its_key(switch: Switch, kind: str) -> None:
    memory = MemoryCalls()
    calls: Calls = memory if kind == "memory" else HttpCalls()
    for key in ("k1", "k1", "k2"):
        calls.call(call(switch, key=key))
    assert (memory.done if kind == "memory" else switch.done) == {"k1": 1, "k2": 1}


def test_method_headers_secrets_and_body_arrive_as_they_were_declared(switch: Switch) -> None:
    headers = {"X-Mode": "soft", "Authorization": Secret("Bearer t0ken")}
    HttpCalls().call(call(switch, method="PUT", headers=headers, body='{"to": "blue"}'))
    ((method, path, seen, body),) = switch.seen
    assert (method, path, body) == ("PUT", "/switch", '{"to": "blue"}')
    assert (seen["X-Mode"], seen["Authorization"], seen["Idempotency-Key"]) == ("soft", "Bearer t0ken", "k1")


@pytest.mark.parametrize("status", [500, 503, 429, 409])
def test_what_can_not_be_done_just_now_may_be_tried_again(switch: Switch, status: int) -> None:
    switch.statuses = [status]
    with pytest.raises(StepUnavailable, match=f"answered {status}: because"):
        HttpCalls().call(call(switch))


@pytest.mark.parametrize("status", [400, 401, 404, 302, 307])
def test_a_refusal_is_for_good_and_a_redirect_is_not_followed(switch: Switch, status: int) -> None:
    switch.statuses = [status]
    with pytest.raises(StepRefused, match=f"answered {status}"):
        HttpCalls().call(call(switch))
    assert len(switch.seen) == 1


def test_a_server_that_hangs_up_or_is_not_there_may_be_tried_again(switch: Switch) -> None:
    switch.statuses = [0]
    with pytest.raises(StepUnavailable, match="did not answer"):
        HttpCalls().call(call(switch))
    with pytest.raises(StepUnavailable, match="did not answer"):
        HttpCalls().call(call(switch, url="http://127.0.0.1:1/"))
