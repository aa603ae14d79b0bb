"""Worker hosts as Jobs on a real API server: a migration is done by pods, and goes on whatever becomes of them."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from pymigrate.v1 import run_pb2
from tests.clusters import Cluster
from tests.e2e.engines import declare, ended, quickstart, wait_until
from tests.e2e.jobs import JobScene, job_scene
from tests.e2e.test_kill import COUNTS, _counts
from tests.kubelets import IMAGE_MISSING

PLAN = "environments/quickstart/plans/warehouse"
KILLED = ["OOMKilled", *(["Evicted"] if os.environ.get("PYMIGRATE_TEST_LONG") else [])]


@pytest.fixture
def scene(api_server: Cluster, tmp_path: Path) -> Iterator[JobScene]:
    with job_scene(api_server, tmp_path) as made:
        yield made


def started(scene: JobScene, legacy: Path, folder: Path) -> str:
    """A run of the quickstart, in small chunks."""
    with scene.engine.client() as client:
        declare(client, quickstart(legacy, folder / "warehouse.duckdb", chunk_bytes=400_000), folder / "plan.yaml")
        run: run_pb2.Run = client.runs.StartRun(
            run_pb2.StartRunRequest(parent=PLAN), metadata=client.metadata, timeout=120
        )
    return run.name


def looked(scene: JobScene, name: str) -> run_pb2.Run:
    """The run as it is."""
    with scene.engine.client() as client:
        run: run_pb2.Run = client.runs.GetRun(run_pb2.GetRunRequest(name=name), metadata=client.metadata, timeout=10)
    return run


def troubles(scene: JobScene, name: str) -> set[str]:
    """Why hosts do not come."""
    return {failure.reason for failure in looked(scene, name).host_troubles}


def flights(run: run_pb2.Run) -> int:
    """How many were copied."""
    return run.phases["flights"].datasets["flights"].rows


def whole(scene: JobScene, name: str, folder: Path) -> run_pb2.Run:
    """The run at its end, with each row in its place."""
    with scene.engine.client() as client:
        run = ended(client, name)
    assert run.state == run_pb2.RUN_STATE_SUCCEEDED, run.failure
    for dataset in (part for phase in run.phases.values() for part in phase.datasets.values()):
        found = dataset.verification
        assert found.transfer_checksum == found.source_checksum == found.target_checksum != ""
    for pid in scene.node.pids().values():
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not scene.node.pids())
    assert _counts(folder / "warehouse.duckdb") == COUNTS
    return run


def test_a_migration_is_done_by_a_pod(scene: JobScene, legacy: Path, tmp_path: Path) -> None:
    run = whole(scene, started(scene, legacy, tmp_path), tmp_path)
    assert list(run.host_troubles) == []
    [job] = [
        each for each in scene.listed("jobs") if each["metadata"]["labels"]["pymigrate.io/host"].startswith("file-")
    ]
    assert job["metadata"]["labels"]["pymigrate.io/environment"] == "quickstart"
    [pod] = [name for name in scene.node.begun if name.startswith(job["metadata"]["name"])]
    assert "host.joined" in scene.node.log(pod)


@pytest.mark.parametrize("reason", KILLED)
def test_a_pod_that_is_killed_amid_a_copy_is_replaced_and_told(
    scene: JobScene, legacy: Path, tmp_path: Path, reason: str
) -> None:
    name = started(scene, legacy, tmp_path)
    wait_until(lambda: flights(looked(scene, name)) > 0, 60)
    [victim] = [pod for pod in scene.node.pids() if "-file-" in pod]
    scene.node.kill(victim, reason)
    expected = {"OOMKilled": "OUT_OF_MEMORY", "Evicted": "EVICTED"}[reason]
    wait_until(lambda: expected in troubles(scene, name) or is_over(looked(scene, name)), 60)
    assert expected in troubles(scene, name)
    whole(scene, name, tmp_path)
    assert len([pod for pod in scene.node.begun if "-file-" in pod]) >= 2


def test_a_pod_that_somebody_deletes_amid_a_copy_drains_and_is_replaced(
    scene: JobScene, legacy: Path, tmp_path: Path
) -> None:
    name = started(scene, legacy, tmp_path)
    wait_until(lambda: flights(looked(scene, name)) > 0, 60)
    [victim] = [pod for pod in scene.node.pids() if "-file-" in pod]
    scene.server.kubectl("delete", "pod", victim, "-n", scene.namespace, "--wait=false")
    whole(scene, name, tmp_path)


def test_an_engine_that_is_killed_amid_a_copy_adopts_the_pods_that_go_on(
    scene: JobScene, legacy: Path, tmp_path: Path
) -> None:
    name = started(scene, legacy, tmp_path)
    wait_until(lambda: flights(looked(scene, name)) > 0, 60)
    before = scene.node.pids()
    scene.engine.kill()
    scene.restart()
    whole(scene, name, tmp_path)
    assert len([pod for pod in scene.node.begun if "-file-" in pod]) == 1
    assert set(before) <= set(scene.node.begun)


def test_pods_outlive_an_engine_that_ends_in_peace(scene: JobScene, legacy: Path, tmp_path: Path) -> None:
    name = started(scene, legacy, tmp_path)
    wait_until(lambda: flights(looked(scene, name)) > 0, 60)
    before = scene.node.pids()
    scene.engine.stop()
    assert scene.node.pids() == before
    scene.restart()
    whole(scene, name, tmp_path)


@pytest.mark.parametrize("what", ["pods", "count/jobs.batch"])
def test_a_quota_that_is_used_up_is_told_until_it_is_lifted(
    scene: JobScene, legacy: Path, tmp_path: Path, what: str
) -> None:
    name = started(scene, legacy, tmp_path)
    wait_until(lambda: flights(looked(scene, name)) > 0, 60)
    scene.set_quota(what, 0)
    end_pods(scene)
    wait_until(lambda: "QUOTA_EXCEEDED" in troubles(scene, name), 60)
    told = [failure.message for failure in looked(scene, name).host_troubles if failure.reason == "QUOTA_EXCEEDED"]
    assert "few" in told[0]
    scene.lift_quota()
    whole(scene, name, tmp_path)
    assert not troubles(scene, name)


def end_pods(scene: JobScene) -> None:
    """All that run end, as though somebody had killed them."""
    for pod in scene.node.pids():
        scene.node.kill(pod)


def fill(scene: JobScene, *, is_on: bool) -> None:
    """No node takes new pods."""
    scene.node.is_full = is_on


def hide_image(scene: JobScene, *, is_on: bool) -> None:
    """The image can't be had."""
    scene.node.waiting = IMAGE_MISSING if is_on else None


@pytest.mark.parametrize(("make", "reason"), [(fill, "UNSCHEDULABLE"), (hide_image, "IMAGE_UNAVAILABLE")])
def test_a_pod_that_does_not_start_is_told_and_the_run_goes_on_once_it_does(
    scene: JobScene, legacy: Path, tmp_path: Path, make: Callable[..., None], reason: str
) -> None:
    name = started(scene, legacy, tmp_path)
    wait_until(lambda: flights(looked(scene, name)) > 0, 60)
    make(scene, is_on=True)
    end_pods(scene)
    wait_until(lambda: reason in troubles(scene, name), 60)
    make(scene, is_on=False)
    whole(scene, name, tmp_path)
    assert not troubles(scene, name)


def test_a_start_whose_image_is_missing_is_refused_with_the_reason_and_is_accepted_once_it_is_there(
    scene: JobScene, legacy: Path, tmp_path: Path
) -> None:
    hide_image(scene, is_on=True)
    with pytest.raises(grpc.RpcError) as caught:
        started(scene, legacy, tmp_path)
    error: Any = caught.value  # stubs do not say that it is a call, too
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    status = rpc_status.from_call(error)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert [detail.Unpack(found) for detail, found in zip(status.details, (info, retry), strict=True)] == [True, True]
    assert (info.reason, retry.retry_delay.seconds) == ("IMAGE_UNAVAILABLE", 1)
    hide_image(scene, is_on=False)
    whole(scene, started(scene, legacy, tmp_path), tmp_path)


def test_a_pod_whose_node_is_lost_is_taken_out_by_force_and_its_work_goes_on_elsewhere(
    scene: JobScene, legacy: Path, tmp_path: Path
) -> None:
    name = started(scene, legacy, tmp_path)
    wait_until(lambda: flights(looked(scene, name)) > 0, 60)
    [(pod, pid)] = [(pod, pid) for pod, pid in scene.node.pids().items() if "-file-" in pod]
    scene.node.is_lost = True
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: "NODE_LOST" in troubles(scene, name), 90)
    wait_until(lambda: pod not in {each["metadata"]["name"] for each in scene.listed("pods")}, 60, 1.0)
    assert scene.node.pids()[pod] == pid
    scene.node.is_lost = False
    whole(scene, name, tmp_path)
    assert len([each for each in scene.node.begun if "-file-" in each]) == 2


def test_hosts_that_idle_end_and_leave_no_pod(api_server: Cluster, legacy: Path, tmp_path: Path) -> None:
    with job_scene(api_server, tmp_path, PYMIGRATE_HOSTS_IDLE_SECONDS="1") as scene:
        name = started(scene, legacy, tmp_path)
        with scene.engine.client() as client:
            assert ended(client, name).state == run_pb2.RUN_STATE_SUCCEEDED
        wait_until(lambda: not scene.listed("pods"), 60)
        assert scene.listed("jobs") == []


def is_over(run: run_pb2.Run) -> bool:
    """Whether it has ended."""
    return run.state not in {run_pb2.RUN_STATE_PENDING, run_pb2.RUN_STATE_RUNNING}
