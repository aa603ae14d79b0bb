"""A stand-in for the nodes of a cluster: it takes pods, runs each as a process of this machine, and tells how they are.

It binds pods, fills volumes, sends SIGTERM when a pod is deleted and SIGKILL when its time is over, and takes the pod out of the API only
when the process is gone, as a kubelet does. Init containers and probes are not run. Tests make it out of memory, full, lost and so on.
"""

import json
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pymigrate.engine.adapters.clock import SystemClock
from tests.clusters import Cluster
from tests.kubelet_pods import Pod, PodMisconfigured, PodProcess

LOOK_SECONDS = 0.1
REFRESH_LOOKS = 10
STOP_SECONDS_MAX = 10.0
NODE = "node-1"
NOT_FOUND = 404
ENDED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container does not start, in the kubelet's words."""

    reason: str
    message: str


IMAGE_MISSING = Waiting("ErrImagePull", 'failed to pull image "pymigrate:missing": not found')


class Kubelet:
    """All attributes may be set at any time. `waiting` keeps new containers from starting; with `is_full` no node takes new pods; while
    `is_lost` nothing is done and nothing told, and processes go on."""

    def __init__(self, cluster: Cluster, folder: Path, namespace: str = "") -> None:
        self.waiting: Waiting | None = None
        self.is_full = False
        self.is_lost = False
        self.begun: list[str] = []
        self._cluster = cluster
        self._folder = folder
        self._namespace = namespace
        self._running: dict[str, PodProcess] = {}  # by the pod's uid
        self._told: dict[str, Mapping[str, Any]] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelet", daemon=True)

    def start(self) -> None:
        """Begins to take pods."""
        self._thread.start()

    def stop(self) -> None:
        """Ends with all its processes."""
        self._over.set()
        self._thread.join(STOP_SECONDS_MAX)
        for each in self._running.values():
            each.end(signal.SIGKILL)
            each.process.wait(STOP_SECONDS_MAX)

    def pids(self) -> dict[str, int]:
        """The processes that run, by their pod's name."""
        with self._lock:
            return {
                each.pod["metadata"]["name"]: each.process.pid
                for each in self._running.values()
                if each.exit_code is None
            }

    def kill(self, pod: str, reason: str = "Error") -> None:
        """Ends a pod's process with SIGKILL: `OOMKilled`, `Evicted`, or for no reason that a node knows."""
        with self._lock:
            for each in self._running.values():
                if each.pod["metadata"]["name"] == pod:
                    each.ended_as = reason
                    each.end(signal.SIGKILL)

    def log(self, pod: str) -> str:
        """What the pod's process has said."""
        return (self._folder / pod / "log").read_text()

    def _run(self) -> None:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        looks = 0
        with self._cluster.api() as api:
            while not self._over.wait(LOOK_SECONDS):
                looks += 1
                if self.is_lost:
                    continue
                with suppress(ApiException, HTTPError, OSError):  # the API may be away: the next look finds it again
                    self._look(api, is_refreshing=looks % REFRESH_LOOKS == 0)

    def _look(self, api: Any, *, is_refreshing: bool) -> None:
        listed = (
            api.list_namespaced_pod(self._namespace, _preload_content=False)
            if self._namespace
            else api.list_pod_for_all_namespaces(_preload_content=False)
        )
        pods: dict[str, Pod] = {pod["metadata"]["uid"]: pod for pod in json.loads(listed.data)["items"]}
        for uid, process in list(self._running.items()):
            if uid not in pods:  # taken out of the API by force
                process.end(signal.SIGKILL)
                process.process.wait(STOP_SECONDS_MAX)
                self._forget(uid)
        for uid, pod in pods.items():
            running = self._running.get(uid)
            if running is not None:
                self._follow(api, uid, running, pod, is_refreshing=is_refreshing)
            elif pod["metadata"].get("deletionTimestamp"):
                self._remove(api, pod)
            elif pod.get("status", {}).get("phase") not in ENDED:
                self._begin(api, uid, pod)

    def _begin(self, api: Any, uid: str, pod: Pod) -> None:
        if not pod["spec"].get("nodeName"):
            if self.is_full:
                message = "0/1 nodes are available: 1 Insufficient memory."
                unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
                self._tell(api, pod, {"phase": "Pending", "conditions": [unscheduled]})
                return
            self._bind(api, pod)
            self._tell(api, pod, {"conditions": [{"type": "PodScheduled", "status": "True"}]})
        waiting = self.waiting
        if waiting is None:
            name = pod["metadata"]["name"]
            folder = self._folder / name
            folder.mkdir(parents=True, exist_ok=True)
            try:
                process = PodProcess(pod, folder, self._folder / "claims", lambda *asked: stored(api, *asked))
            except PodMisconfigured as error:
                waiting = Waiting("CreateContainerConfigError", str(error))
            else:
                with self._lock:
                    self._running[uid] = process
                    self.begun.append(name)
                running = {"running": {"startedAt": _time()}}
                self._tell(api, pod, {"phase": "Running", "containerStatuses": [_status(pod, running, is_ready=True)]})
                return
        state = {"waiting": {"reason": waiting.reason, "message": waiting.message}}
        self._tell(api, pod, {"phase": "Pending", "containerStatuses": [_status(pod, state)]})

    def _follow(self, api: Any, uid: str, process: PodProcess, pod: Pod, *, is_refreshing: bool) -> None:
        code, deleted = process.exit_code, pod["metadata"].get("deletionTimestamp")
        if code is not None:
            self._tell_end(api, process, pod, code)
            if deleted:
                self._remove(api, pod)
            self._forget(uid)
            return
        if not deleted:
            if is_refreshing:
                with suppress(PodMisconfigured):
                    process.refresh()
            return
        if not process.is_asked_to_end:
            process.is_asked_to_end = True
            process.end(signal.SIGTERM)
        if SystemClock().now() >= datetime.fromisoformat(deleted):
            process.end(signal.SIGKILL)

    def _tell_end(self, api: Any, process: PodProcess, pod: Pod, code: int) -> None:
        if pod.get("status", {}).get("phase") in ENDED:
            return
        if process.ended_as == "Evicted":
            self._tell(
                api, pod, {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
            )
            return
        reason = process.ended_as or ("Completed" if code == 0 else "Error")
        ended = {"terminated": {"exitCode": code, "reason": reason, "finishedAt": _time()}}
        self._tell(api, pod, {"phase": "Failed" if code else "Succeeded", "containerStatuses": [_status(pod, ended)]})

    def _forget(self, uid: str) -> None:
        with self._lock:
            del self._running[uid]

    def _bind(self, api: Any, pod: Pod) -> None:
        metadata = pod["metadata"]
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        body = {"metadata": {"name": metadata["name"]}, "target": target}
        api.create_namespaced_pod_binding(metadata["name"], metadata["namespace"], body, _preload_content=False)

    def _tell(self, api: Any, pod: Pod, status: Mapping[str, Any]) -> None:
        metadata = pod["metadata"]
        if self._told.get(metadata["uid"]) == status:
            return
        api.patch_namespaced_pod_status(
            metadata["name"], metadata["namespace"], {"status": status}, _preload_content=False
        )
        self._told[metadata["uid"]] = status

    def _remove(self, api: Any, pod: Pod) -> None:
        from kubernetes.client.exceptions import ApiException

        metadata = pod["metadata"]
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
        try:
            api.delete_namespaced_pod(metadata["name"], metadata["namespace"], body=body, _preload_content=False)
        except ApiException as error:
            if error.status != NOT_FOUND:
                raise


def stored(api: Any, kind: str, namespace: str, name: str) -> Mapping[str, str]:
    """The data of a Secret or a ConfigMap as it is now. Raises PodMisconfigured where it is not there."""
    from kubernetes.client.exceptions import ApiException

    read = api.read_namespaced_secret if kind == "secret" else api.read_namespaced_config_map
    try:
        found = json.loads(read(name, namespace, _preload_content=False).data)
    except ApiException as error:
        if error.status == NOT_FOUND:
            raise PodMisconfigured(f'{kind} "{name}" not found') from error
        raise
    data: Mapping[str, str] = found.get("data") or {}
    return data


def _status(pod: Pod, state: Mapping[str, Any], *, is_ready: bool = False) -> dict[str, Any]:
    [container] = pod["spec"]["containers"]
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": is_ready,
        "restartCount": 0,
        "state": dict(state),
    }


def _time() -> str:
    return SystemClock().now().strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def kubelet(cluster: Cluster, folder: Path, namespace: str = "") -> Iterator[Kubelet]:
    """A node of a namespace, or of all; its processes are gone afterwards."""
    made = Kubelet(cluster, folder, namespace)
    made.start()
    try:
        yield made
    finally:
        made.stop()
