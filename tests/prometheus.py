"""A real Prometheus on loopback, with a folder of its own, that tests ask, stop and kill; gone at the end."""

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.engines import wait_until
from tests.servers import START_ATTEMPTS_MAX, absent, free_port

ANSWER_SECONDS_MAX = 30
SCRAPES = 3
Answer = list[dict[str, Any]]


class Prometheus:
    """A server that runs."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log
        self._web = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=ANSWER_SECONDS_MAX, headers={"accept": "*/*"}
        )

    def is_ready(self) -> bool:
        """Whether it answers questions."""
        try:
            return self._web.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def ask(self, expression: str) -> Answer:
        """What an expression gives now. Fails the test when Prometheus refuses it."""
        found: Answer = self._api("query", {"query": expression})["result"]
        return found

    def value(self, expression: str) -> float | None:
        """The one value of an expression, or None where there is none."""
        found = self.ask(expression)
        assert len(found) <= 1, (expression, found)
        return float(found[0]["value"][1]) if found else None

    def label_values(self, label: str, selector: str) -> list[str]:
        """What Grafana's `label_values(selector, label)` gives."""
        found: list[str] = self._api(f"label/{label}/values", {"match[]": selector})
        return found

    def target(self) -> tuple[str, str]:
        """What it thinks of the engine: its health, and the last error; "unknown" before it has found it."""
        for each in self._api("targets", {})["activeTargets"]:
            if each["labels"]["job"] == "pymigrate":
                return each["health"], each["lastError"]
        return "unknown", ""

    def alerts(self) -> Answer:
        """The alerts that fire or may soon."""
        found: Answer = self._api("alerts", {})["alerts"]
        return found

    def rule_errors(self) -> dict[str, str]:
        """What went wrong with rules, by their name."""
        groups = self._api("rules", {})["groups"]
        return {rule["name"]: rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")}

    def scrape_more(self) -> None:
        """Waits until what is on the page now is stored, and the rules have seen it."""
        seen: set[float | None] = set()

        def is_newer() -> bool:
            seen.add(self.value('max(timestamp(up{job="pymigrate"}))'))
            return len(seen) > SCRAPES

        wait_until(is_newer)

    def stop(self) -> None:
        """SIGSTOP: it stands still, with every connection open."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def fill_storage(self) -> None:
        """From now on no file of it grows: every write ends as on a full disk, with another error number."""
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

    def kill(self) -> None:
        """kill -9."""
        self._web.close()
        self.process.kill()
        self.process.wait()

    def _api(self, path: str, parameters: Mapping[str, str]) -> Any:
        answer = self._web.get(f"/api/v1/{path}", params=dict(parameters))
        assert answer.status_code == 200, f"{parameters}: {answer.text}"
        return answer.json()["data"]


@contextmanager
def running_prometheus(configuration: Path, data: Path, *options: str) -> Iterator[Prometheus]:
    """A server with this configuration, in which @PORT@ is its own port."""
    program = shutil.which("prometheus") or absent("prometheus (Debian: prometheus)")
    data.mkdir(parents=True, exist_ok=True)
    text = configuration.read_text()
    log = data / "prometheus.log"
    for attempt in range(1, START_ATTEMPTS_MAX + 1):
        port = free_port()
        configuration.write_text(text.replace("@PORT@", str(port)))
        with log.open("ab") as output:
            process = subprocess.Popen(
                [
                    program, f"--config.file={configuration}", f"--storage.tsdb.path={data / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{port}", "--log.level=info", *options,
                ],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={"PATH": os.environ["PATH"]},
            )  # fmt: skip
        server = Prometheus(process, port, log)
        try:
            wait_until(lambda server=server: server.is_ready() or server.process.poll() is not None)  # type: ignore[misc]
            if process.poll() is not None and attempt < START_ATTEMPTS_MAX:
                continue  # somebody else may have taken the port between its choice and the start
            assert process.poll() is None, log.read_text()[-4000:]
            yield server
            return
        finally:
            server.kill()
