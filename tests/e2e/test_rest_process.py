"""`pymigrate rest`: REST in a process of its own, before a real engine that goes and comes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.engines import EngineProcess, wait_until

SECONDS_MAX = 60


class RestProcess:
    """The process that serves REST for an engine's home."""

    def __init__(self, home: Path) -> None:
        self._endpoint = home / "rest-process-endpoint"
        command = [sys.executable, "-m", "pymigrate.engine.main.cli", "rest", "--home", str(home)]
        self.log = home / "rest.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--listen", "127.0.0.1:0"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(lambda: self._endpoint.exists() or self.process.poll() is not None)
        assert self._endpoint.exists(), self.log.read_text()
        token = (home / "token").read_text().strip()
        self.http = httpx.Client(
            base_url=f"http://{self._endpoint.read_text().strip()}",
            headers={"authorization": f"Bearer {token}"},
            timeout=SECONDS_MAX,
            trust_env=False,
        )

    def is_ready(self) -> bool:
        return self.http.get("/readyz").status_code == 200

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS_MAX)


@pytest.fixture
def rest(engine: EngineProcess) -> Iterator[RestProcess]:
    """REST before a running engine."""
    rest = RestProcess(engine.home)
    yield rest
    rest.http.close()
    if rest.process.poll() is None:
        rest.stop()


def test_what_is_declared_through_it_is_the_engine_s(engine: EngineProcess, rest: RestProcess) -> None:
    wait_until(rest.is_ready)
    made = rest.http.post("/v1/environments", params={"environmentId": "prod"}, json={"displayName": "P"})
    assert made.status_code == 200, made.text
    again = rest.http.post("/v1/environments", params={"environmentId": "prod"})
    assert (again.status_code, again.json()["reason"]) == (409, "ALREADY_EXISTS")
    assert rest.http.get("/v1/environments").json() == {"environments": [made.json()]}
    assert rest.http.get("/v1/environments", headers={"authorization": "Bearer x"}).status_code == 401
    assert json.loads(rest.http.get("/openapi.json").content)["openapi"].startswith("3.1")


def test_it_outlives_an_engine_and_finds_the_next_one(engine: EngineProcess, rest: RestProcess) -> None:
    wait_until(rest.is_ready)
    engine.kill()
    wait_until(lambda: not rest.is_ready())
    away = rest.http.get("/v1/environments")
    assert (away.status_code, away.json()["reason"]) == (503, "ENGINE_UNAVAILABLE")
    engine.start()
    wait_until(rest.is_ready)
    assert rest.http.get("/v1/environments").status_code == 200
    lines = [json.loads(line)["event"] for line in rest.log.read_text().splitlines()]
    assert lines == ["rest.serving", "engine.away", "engine.back"]


def test_it_ends_at_sigterm_and_leaves_no_address_behind(engine: EngineProcess, rest: RestProcess) -> None:
    assert rest.stop() == 0
    assert not (engine.home / "rest-process-endpoint").exists()
    with contextlib.suppress(httpx.TransportError):
        rest.http.get("/livez")
        pytest.fail("it still answers")


def test_a_home_that_no_engine_has_served_from_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pymigrate.engine.main.cli", "rest", "--home", str(tmp_path)],
        env=os.environ | {"PYMIGRATE_REST_LISTEN": "127.0.0.1:0"},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 1
    assert f"pymigrate serve --home {tmp_path}" in done.stderr
