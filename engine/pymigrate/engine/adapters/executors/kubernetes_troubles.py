"""Why a worker host does not come, or went, as its Job and its pod tell it, in words that say what to do."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pymigrate.engine.adapters.executors.kubernetes_jobs import finish_of, is_deleting
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.ports.cluster import ClusterForbidden, Object, ObjectRefused

IMAGE_REASONS = frozenset(
    {
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)
CONFIG_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
OUT_OF_MEMORY_CODE = 137
TOLD_CHARACTERS_MAX = 300
PODLESS_SECONDS = 5.0
# Beyond what a pod was given to end: its node does not answer, or can't end it. That is told soon, and acted on later.
SILENT_SECONDS = 5.0
OVERDUE_SECONDS = 30.0


def refusal_trouble(error: PyMigrateError, host: str, namespace: str) -> Failure:
    """Why the API did not make a Job."""
    what, said = f"no Job could be made for {host} in {namespace}", _told(error.message)
    match error:
        case ClusterForbidden(is_quota=True):
            return Failure(
                "QUOTA_EXCEEDED",
                f"{what}, as a quota is used up ({said}): raise the quota, or end what uses it",
                is_temporary=True,
            )
        case ClusterForbidden():
            return Failure(
                error.reason,
                f"{what} ({said}): let the engine's service account create, delete, get, list and watch Jobs",
            )
        case ObjectRefused():
            return Failure(
                "ADMISSION_REFUSED",
                f"{what}, as the cluster refuses it ({said}): change the pod template or the cluster's policy",
            )
        case _:
            return Failure(error.reason, f"{what} ({said}): it is tried again", is_temporary=error.is_temporary)


def job_trouble(job: Object, pods: Sequence[Object], now: datetime, events: Sequence[str] = ()) -> Failure | None:
    """What is wrong with a Job and its pods; None while all is as it should be. `events` are what the cluster said of one without pods."""
    for pod in pods:
        if found := pod_trouble(pod, now):
            return found
    finish = finish_of(job)
    name = job["metadata"]["name"]
    if finish is not None:
        return _finish_trouble(name, finish)
    if not pods and not is_deleting(job) and _age_seconds(job, now) >= PODLESS_SECONDS:
        return _podless_trouble(name, events)
    return None


def pod_trouble(pod: Object, now: datetime) -> Failure | None:
    """What is wrong with a pod."""
    status, name = pod.get("status") or {}, pod["metadata"]["name"]
    node = (pod.get("spec") or {}).get("nodeName", "")
    if status.get("reason") == "Evicted":
        return Failure(
            "EVICTED",
            f"pod {name} was evicted from node {node} ({_told(status.get('message', ''))}): give hosts less to do or the nodes more room",
            is_temporary=True,
        )
    if is_node_lost(pod, now, SILENT_SECONDS):
        return Failure(
            "NODE_LOST",
            f"node {node} of pod {name} does not answer: its work goes on elsewhere; mend or remove the node",
            is_temporary=True,
        )
    if status.get("reason") == "DeadlineExceeded":
        return _deadline_trouble(f"pod {name}")
    for condition in status.get("conditions") or ():
        if (condition.get("type"), condition.get("status")) == ("PodScheduled", "False"):
            return Failure(
                "UNSCHEDULABLE",
                f"no node takes pod {name} ({_told(condition.get('message', ''))}): add nodes, or ask for less in the pod template",
                is_temporary=True,
            )
    return next((found for each in _statuses(status) if (found := _container_trouble(name, each))), None)


def is_node_lost(pod: Object, now: datetime, overdue_seconds: float = OVERDUE_SECONDS) -> bool:
    """Whether nobody can say any more what the pod does: its node is away, or it was to end so long ago."""
    status = pod.get("status") or {}
    if status.get("reason") == "NodeLost" or status.get("phase") == "Unknown":
        return True
    asked = pod["metadata"].get("deletionTimestamp")
    return bool(asked) and (now - datetime.fromisoformat(asked)).total_seconds() > overdue_seconds


def _statuses(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for kind in ("initContainerStatuses", "containerStatuses"):
        yield from status.get(kind) or ()


def _container_trouble(pod: str, status: Mapping[str, Any]) -> Failure | None:
    state = status.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    reason, said = waiting.get("reason", ""), _told(waiting.get("message", ""))
    if reason in IMAGE_REASONS:
        return Failure(
            "IMAGE_UNAVAILABLE",
            f"the image {status.get('image', '')} of pod {pod} can't be had ({reason}: {said}): correct its name, or give access to it",
            is_temporary=True,
        )
    if reason in CONFIG_REASONS:
        return Failure(
            "POD_MISCONFIGURED",
            f"pod {pod} can't be started ({reason}: {said}): see that the Secrets, ConfigMaps and volumes that it names are there",
            is_temporary=True,
        )
    code = ended.get("exitCode", 0)
    if ended.get("reason") == "OOMKilled" or code == OUT_OF_MEMORY_CODE:
        return Failure(
            "OUT_OF_MEMORY",
            f"pod {pod} was killed for its memory (exit code {code}): raise the limit of memory, or let it run fewer tasks at once",
            is_temporary=True,
        )
    if code:
        return Failure(
            "HOST_ENDED",
            f"pod {pod} ended by itself with code {code} ({_told(ended.get('reason', ''))}): see its log",
            is_temporary=True,
        )
    return None


def _finish_trouble(job: str, finish: Mapping[str, Any]) -> Failure | None:
    if finish.get("type") != "Failed":
        return None
    if finish.get("reason") == "DeadlineExceeded":
        return _deadline_trouble(f"Job {job}")
    said = _told(f"{finish.get('reason', '')}: {finish.get('message', '')}")
    return Failure("HOST_ENDED", f"Job {job} failed ({said}): see the events of its pod", is_temporary=True)


def _deadline_trouble(what: str) -> Failure:
    return Failure(
        "DEADLINE_EXCEEDED",
        f"{what} was ended at its deadline: its work goes on in another; raise PYMIGRATE_KUBERNETES_DEADLINE_SECONDS if it is too short",
        is_temporary=True,
    )


def _podless_trouble(job: str, events: Sequence[str]) -> Failure:
    said = _told(events[-1]) if events else ""
    if "exceeded quota" in said or "for quota" in said:
        return Failure(
            "QUOTA_EXCEEDED",
            f"Job {job} gets no pod, as a quota is used up ({said}): raise the quota, or end what uses it",
            is_temporary=True,
        )
    if said:
        return Failure(
            "ADMISSION_REFUSED",
            f"Job {job} gets no pod, as the cluster refuses it ({said}): change the pod template or the cluster's policy",
            is_temporary=True,
        )
    return Failure("NO_POD", f"Job {job} has no pod yet: see whether the cluster's controllers work", is_temporary=True)


def _age_seconds(found: Object, now: datetime) -> float:
    made = found["metadata"].get("creationTimestamp")
    return (now - datetime.fromisoformat(made)).total_seconds() if made else 0.0


def _told(text: str) -> str:
    """What the cluster says, on one line and bounded."""
    plain = " ".join(text.split())
    return plain if len(plain) <= TOLD_CHARACTERS_MAX else f"{plain[: TOLD_CHARACTERS_MAX - 1]}…"
