"""Worker hosts as Jobs amid chaos: whatever becomes of the Jobs, or of what the engine asks of the API, each row is there once, never do
two hosts write one target, and no Job is left to run in the end."""

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from pymigrate.v1 import run_pb2
from tests.clusters import Cluster
from tests.e2e.engines import declare, ended, wait_until
from tests.e2e.jobs import RULES, JobScene, job_scene
from tests.e2e.slow_source import PLAN, ROWS, definitions
from tests.e2e.test_scaled_run import BYTES_PER_SECOND, TABLES, legacy
from tests.kube_faults import Fault, Request, said
from tests.kube_proxy import KubeProxy, kube_proxy
from tests.kubelets import Kubelet

__all__ = ["legacy"]
SEEDS = range(10 if os.environ.get("PYMIGRATE_TEST_LONG") else 1)
FAULTS_MAX, FAULT_SHARE = 60, 0.8
FAULTS = (
    Fault(status=429, fields={"Retry-After": "1"}, body=said(429, "TooManyRequests", "slower")),
    Fault(status=500, body=said(500, "InternalError", "etcdserver: timeout")),
    Fault(closes_before=True),
    Fault(closes_after=True),
)
BRIEF = {"PYMIGRATE_HOSTS_IDLE_SECONDS": "1"}


class Writers:
    """How many hosts of the target ever ran at once."""

    def __init__(self, node: Kubelet) -> None:
        self.most = 0
        self._node = node
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="writers", daemon=True)

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, len(writers(self._node)))

    @contextmanager
    def watched(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()


@dataclass(slots=True)
class Copying:
    """A run that copies, and what it is done by."""

    scene: JobScene
    proxy: KubeProxy
    run: str
    target: Path

    def now(self) -> run_pb2.Run:
        with self.scene.engine.client() as client:
            found: run_pb2.Run = client.runs.GetRun(
                run_pb2.GetRunRequest(name=self.run), metadata=client.metadata, timeout=10
            )
        return found

    def troubles(self) -> set[str]:
        return {failure.reason for failure in self.now().host_troubles}

    def assert_whole(self) -> None:
        """It succeeds, and once its hosts idle nothing is left of them."""
        with self.scene.engine.client() as client:
            run = ended(client, self.run)
        assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
        wait_until(lambda: not self.scene.node.pids())
        wait_until(lambda: not self._unended(), 45, 1.0)
        with duckdb.connect(str(self.target), read_only=True) as connection:
            for table in TABLES:
                found = connection.execute(f"SELECT count(*), count(DISTINCT id) FROM {table}").fetchone()
                assert found == (ROWS, ROWS)

    def _unended(self) -> list[str]:
        """Jobs that run still, or would once they get a pod. Those that failed are kept for a while, with their logs."""
        return [
            each["metadata"]["name"]
            for each in self.scene.listed("jobs")
            if not any(condition["status"] == "True" for condition in each["status"].get("conditions", ()))
        ]


def writers(node: Kubelet) -> list[str]:
    """The pods that write the target's file."""
    return [pod for pod in node.pids() if "-file-" in pod]


@pytest.fixture
def copying(api_server: Cluster, legacy: Path, tmp_path: Path) -> Iterator[Copying]:
    """Amid a copy, with at most one writer at any time."""
    target = tmp_path / "w.duckdb"
    with (
        kube_proxy(api_server, tmp_path) as proxy,
        job_scene(api_server, tmp_path, proxy=proxy, **BRIEF) as scene,
    ):
        looking = Writers(scene.node)
        with looking.watched():
            with scene.engine.client() as client:
                declare(client, definitions(legacy, target, TABLES, BYTES_PER_SECOND), tmp_path / "plan.yaml")
                asked = run_pb2.StartRunRequest(parent=PLAN)
                run = client.runs.StartRun(asked, metadata=client.metadata, timeout=120)
            made = Copying(scene, proxy, run.name, target)
            wait_until(lambda: made.now().rows > 0)
            yield made
        proxy.clear()
        proxy.mend()
    assert looking.most == 1


def test_a_job_that_somebody_deletes_amid_a_copy_is_made_anew(copying: Copying) -> None:
    scene = copying.scene
    [pod] = writers(scene.node)
    [job] = [each for each in scene.listed("jobs") if pod.startswith(each["metadata"]["name"])]
    scene.server.kubectl("delete", "job", job["metadata"]["name"], "-n", scene.namespace, "--wait=false")
    wait_until(lambda: pod not in scene.node.pids())
    copying.assert_whole()


@pytest.mark.parametrize("seed", SEEDS)
def test_an_api_that_fails_at_random_while_hosts_are_replaced_leaves_no_second_writer_and_no_job(
    copying: Copying, seed: int
) -> None:
    rng = random.Random(seed)
    hits = [
        copying.proxy.rule(fault, matches=lambda _: rng.random() < FAULT_SHARE / 2, times=FAULTS_MAX // 4)
        for fault in FAULTS
    ]
    expired = Fault(status=410, body=said(410, "Expired", "too old"))
    copying.proxy.rule(expired, matches=lambda request: request.is_watch, times=5)
    for _ in range(2):
        wait_until(lambda: bool(writers(copying.scene.node)))
        [pod] = writers(copying.scene.node)
        copying.scene.node.kill(pod)
        wait_until(lambda pod=pod: pod not in copying.scene.node.pids())  # type: ignore[misc]  # bound at once
    copying.assert_whole()
    assert sum(rule.hits for rule in hits) > 0


def test_a_job_whose_making_was_never_answered_is_adopted_and_not_made_twice(copying: Copying) -> None:
    def is_making(request: Request) -> bool:
        return request.method == "POST" and request.path.endswith("/jobs")

    rule = copying.proxy.rule(Fault(closes_after=True), matches=is_making, times=3)
    [pod] = writers(copying.scene.node)
    copying.scene.node.kill(pod)
    copying.assert_whole()
    assert rule.hits > 0
    assert len([each for each in copying.scene.node.begun if "-file-" in each]) == 2


def test_hosts_go_on_while_the_api_is_away(copying: Copying) -> None:
    copying.proxy.cut(refuses=True)
    with copying.scene.engine.client() as client:
        run = ended(client, copying.run)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    copying.proxy.mend()
    copying.assert_whole()
    assert len([each for each in copying.scene.node.begun if "-file-" in each]) == 1


def test_an_engine_that_may_make_no_jobs_any_more_says_so_until_it_may_again(copying: Copying) -> None:
    scene = copying.scene
    without = [{**rule, "verbs": [verb for verb in rule["verbs"] if verb != "create"]} for rule in RULES]
    scene.server.service_account(scene.namespace, "engine", without)
    [pod] = writers(scene.node)
    scene.node.kill(pod)
    wait_until(lambda: "CLUSTER_FORBIDDEN" in copying.troubles())
    scene.server.service_account(scene.namespace, "engine", RULES)
    copying.assert_whole()
