"""examples/monitoring beside a real engine: a Prometheus scrapes real runs, every query has an answer, and one that is stopped,
killed or full touches no lane."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.dashboards import Query, families, queries, variables
from tests.e2e.engines import running_engine, wait_until
from tests.e2e.monitored import ENVIRONMENT, Scene, configured
from tests.integration.monitoring.test_rules import rules
from tests.prometheus import Prometheus, running_prometheus
from tests.proxies import Proxy, proxied
from tests.servers import PostgresCluster, empty_database, free_port
from tests.sinks import HttpSink

FILLED = {"environment": ENVIRONMENT, "plan": "slow", "phase": "move", "instance": ".+", "__rate_interval": "5m"}
CHUNK_ROWS = 370
STUCK, REQUESTS_EACH = 20, 10
# What this scene does not have: an engine that fails at its own work.
UNARRANGED = {
    "pymigrate_store_failures_total",
    "pymigrate_collector_failures_total",
    "pymigrate_metrics_overflow_total",
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, postgres_cluster: PostgresCluster) -> Iterator[Scene]:
    """An engine whose plans stand in every state that is told."""
    folder = tmp_path_factory.mktemp("monitored")
    with (
        pytest.MonkeyPatch.context() as patch,
        empty_database(postgres_cluster) as database,
        proxied(postgres_cluster.port) as proxy,
        contextlib.closing(HttpSink()) as sink,
    ):
        patch.setenv("PYMIGRATE_REST_LISTEN", "127.0.0.1:0")
        patch.setenv("PYMIGRATE_METRICS_LISTEN", "127.0.0.1:0")
        patch.setenv("PYMIGRATE_LINEAGE_URL", f"http://127.0.0.1:{free_port()}")  # a receiver that is away
        patch.setenv("PYMIGRATE_OUTGOING_ALLOWED", "127.0.0.0/8")
        with running_engine(folder / "home") as engine:
            yield Scene(engine, folder / "legacy", database, proxy, sink.url)


@pytest.fixture(scope="module")
def prometheus(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped it for a while, and found its forecasts."""
    folder = tmp_path_factory.mktemp("prometheus")
    scene.tell()
    with running_prometheus(configured(folder, scene.page(), scene.token_file()), folder / "data") as server:
        server.scrape_more()
        assert server.target() == ("up", "")
        for _ in range(2):  # a rate needs an increase that was seen
            scene.call_rest()
            scene.tell()
            server.scrape_more()
        wait_until(lambda: bool(server.ask('pymigrate_plan_drift_ratio{plan="slow"}')))
        server.scrape_more()
        yield server


def asks_for_what_is_there(expression: str) -> bool:
    """Whether the scene has what an expression asks for, itself or through series that are recorded."""
    recorded = [rule["expr"] for rule in rules("record") if rule["record"] in expression]
    return not families([expression, *recorded]) & UNARRANGED


@pytest.mark.parametrize("query", queries(), ids=str)
def test_a_panel_s_query_finds_what_the_scene_has(prometheus: Prometheus, query: Query) -> None:
    plan = "live" if "lag_seconds" in query.expression else "slow"
    found = prometheus.ask(query.filled({**FILLED, "plan": plan}))
    if asks_for_what_is_there(query.expression):
        assert any(each["value"][1] != "NaN" for each in found), query.expression


@pytest.mark.parametrize(("variable", "label"), variables(), ids=str)
def test_a_variable_has_values_to_pick_from(prometheus: Prometheus, variable: Query, label: str) -> None:
    assert prometheus.label_values(label, variable.filled(FILLED))


@pytest.mark.parametrize("rule", rules("record"), ids=lambda rule: rule["record"])
def test_a_recorded_series_is_there(prometheus: Prometheus, rule: dict[str, Any]) -> None:
    found = prometheus.ask(rule["record"])
    assert found or not asks_for_what_is_there(rule["record"])


def test_no_rule_fails(prometheus: Prometheus) -> None:
    assert prometheus.rule_errors() == {}


def test_alerts_fire_for_what_goes_wrong_and_for_nothing_else(prometheus: Prometheus) -> None:
    firing = {
        (alert["labels"]["alertname"], alert["labels"].get("plan", ""))
        for alert in prometheus.alerts()
        if alert["state"] == "firing"
    }
    assert firing == {
        ("PyMigrateRunFailed", "broken"),
        ("PyMigrateRollbackBlocked", "spoiled"),
        ("PyMigrateQuarantineGrowing", ""),
        ("PyMigrateWatched", ""),
    }
    pending = {alert["labels"]["alertname"] for alert in prometheus.alerts() if alert["state"] == "pending"}
    assert "PyMigrateLaneStalled" in pending
    assert not pending & {"PyMigrateEngineDown", "PyMigrateUnwatched", "PyMigrateCollectorFailing"}


def test_a_token_that_is_not_the_engine_s_is_told_as_an_engine_that_can_t_be_scraped(
    scene: Scene, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("another engine's")
    with running_prometheus(configured(tmp_path, scene.page(), token), tmp_path / "data") as server:
        wait_until(lambda: any(each["labels"]["alertname"] == "PyMigrateEngineDown" for each in server.alerts()))
        assert "401" in server.target()[1]
        token.write_text(scene.token_file().read_text())
        wait_until(lambda: server.target()[0] == "up")


class MidScrape(Proxy):
    """What Prometheus takes for the engine. Once armed, something befalls it when its next request is on the way, and no byte of the
    answer passes."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.befalls: Callable[[], None] | None = None
        self.is_under_way = False

    def passes(self, piece: bytes, near: socket.socket, *, is_request: bool) -> bool:
        if is_request and self.befalls is not None:
            self.hold()
            self.befalls()
            self.befalls = None
            self.is_under_way = True
        return super().passes(piece, near, is_request=is_request)


def scraped(scene: Scene) -> int:
    """The status of a scrape by somebody else."""
    answer = httpx.get(f"http://{scene.page()}/metrics", headers=scene.authorization(), trust_env=False)
    return answer.status_code


def goes_on(scene: Scene) -> None:
    """Waits for rows of the run under way, some of which nobody has read when this begins."""
    with scene.engine.client() as client:
        before = scene.rows(client)
        wait_until(lambda: scene.rows(client) > before + CHUNK_ROWS)


def test_a_prometheus_that_stands_still_in_the_middle_of_a_scrape_touches_no_lane(scene: Scene, tmp_path: Path) -> None:
    way = MidScrape(int(scene.page().rpartition(":")[2]))
    try:
        configuration = configured(tmp_path, f"127.0.0.1:{way.port}", scene.token_file())
        with running_prometheus(configuration, tmp_path / "data") as server:
            wait_until(lambda: server.target()[0] == "up")
            way.befalls = server.stop
            wait_until(lambda: way.is_under_way)
            goes_on(scene)
            assert scraped(scene) == 200
            way.release()
            server.go_on()
            server.scrape_more()
            wait_until(lambda: server.target()[0] == "up")
    finally:
        way.close()


def test_a_prometheus_that_is_killed_in_the_middle_of_a_scrape_touches_no_lane(scene: Scene, tmp_path: Path) -> None:
    way = MidScrape(int(scene.page().rpartition(":")[2]))
    try:
        configuration = configured(tmp_path, f"127.0.0.1:{way.port}", scene.token_file())
        with running_prometheus(configuration, tmp_path / "data") as server:
            wait_until(lambda: server.target()[0] == "up")
            way.befalls = server.process.kill
            wait_until(lambda: way.is_under_way)
            way.release()
            goes_on(scene)
            assert scraped(scene) == 200
    finally:
        way.close()


def test_a_prometheus_whose_storage_is_full_touches_no_lane_and_says_that_nobody_is_watched(
    scene: Scene, tmp_path: Path
) -> None:
    configuration = configured(tmp_path, scene.page(), scene.token_file())
    with running_prometheus(configuration, tmp_path / "data", "--query.lookback-delta=3s") as server:
        server.scrape_more()
        server.fill_storage()
        wait_until(lambda: any(each["labels"]["alertname"] == "PyMigrateUnwatched" for each in server.alerts()))
        assert not any(each["labels"]["alertname"] == "PyMigrateWatched" for each in server.alerts())
        goes_on(scene)
        assert scraped(scene) == 200


def test_scrapers_that_never_read_their_answer_hold_up_neither_lanes_nor_other_scrapers(scene: Scene) -> None:
    host, _, port = scene.page().rpartition(":")
    request = (
        f"GET /metrics HTTP/1.1\r\nhost: {host}\r\nauthorization: {scene.authorization()['authorization']}\r\n\r\n"
    )
    stuck = []
    try:
        for _ in range(STUCK):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
            connection.connect((host, int(port)))
            connection.sendall(request.encode() * REQUESTS_EACH)
            stuck.append(connection)
        goes_on(scene)
        assert scraped(scene) == 200
    finally:
        for connection in stuck:
            connection.close()
