"""What a Job and its pod say of a host that does not come, or has gone, in words that say what to do."""

from datetime import timedelta
from typing import Any

import pytest

from pymigrate.engine.adapters.executors.kubernetes_troubles import TOLD_CHARACTERS_MAX, job_trouble, pod_trouble
from pymigrate.engine.testing.clock import START

NOW = START + timedelta(hours=1)


def pod(status: dict[str, Any], **metadata: str) -> dict[str, Any]:
    """A pod on a node."""
    return {"metadata": {"name": "p", **metadata}, "spec": {"nodeName": "node-1"}, "status": status}


def container(**state: Any) -> dict[str, Any]:
    """The status of a pod whose worker is so."""
    return {"containerStatuses": [{"name": "worker", "image": "pymigrate:1", "state": state}]}


def job(*conditions: dict[str, str], made_seconds_ago: float = 3_600) -> dict[str, Any]:
    """A Job as the controller tells of it."""
    made = (NOW - timedelta(seconds=made_seconds_ago)).isoformat()
    return {
        "metadata": {"name": "j", "uid": "u", "creationTimestamp": made},
        "status": {"conditions": list(conditions)},
    }


@pytest.mark.parametrize(
    ("status", "reason", "said"),
    [
        (container(waiting={"reason": "ImagePullBackOff", "message": "not found"}), "IMAGE_UNAVAILABLE", "pymigrate:1"),
        (container(waiting={"reason": "ErrImagePull", "message": "401"}), "IMAGE_UNAVAILABLE", "401"),
        (container(waiting={"reason": "InvalidImageName"}), "IMAGE_UNAVAILABLE", "InvalidImageName"),
        (
            container(waiting={"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}),
            "POD_MISCONFIGURED",
            'secret "x" not found',
        ),
        (container(terminated={"reason": "OOMKilled", "exitCode": 137}), "OUT_OF_MEMORY", "limit of memory"),
        (container(terminated={"reason": "Error", "exitCode": 137}), "OUT_OF_MEMORY", "137"),
        (container(terminated={"reason": "Error", "exitCode": 3}), "HOST_ENDED", "code 3"),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "EVICTED", "low on memory"),
        (
            {"phase": "Failed", "reason": "DeadlineExceeded"},
            "DEADLINE_EXCEEDED",
            "PYMIGRATE_KUBERNETES_DEADLINE_SECONDS",
        ),
        ({"phase": "Running", "reason": "NodeLost"}, "NODE_LOST", "node-1"),
        ({"phase": "Unknown"}, "NODE_LOST", "node-1"),
        (
            {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
                ]
            },
            "UNSCHEDULABLE",
            "0/3 nodes",
        ),
    ],
)
def test_a_pod_that_is_in_trouble_says_which(status: dict[str, Any], reason: str, said: str) -> None:
    found = pod_trouble(pod(status), NOW)
    assert found is not None
    assert found.reason == reason
    assert said in found.message
    assert "p" in found.message
    assert found.is_temporary


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]},
        container(waiting={"reason": "ContainerCreating"}),
        container(running={}),
        {"phase": "Succeeded", **container(terminated={"reason": "Completed", "exitCode": 0})},
    ],
)
def test_a_pod_that_is_as_it_should_be_says_nothing(status: dict[str, Any]) -> None:
    assert pod_trouble(pod(status), NOW) is None


def test_the_trouble_of_an_init_container_is_told_too() -> None:
    waiting = container(waiting={"reason": "ErrImagePull"})["containerStatuses"]
    found = pod_trouble(pod({"initContainerStatuses": waiting}), NOW)
    assert found is not None
    assert found.reason == "IMAGE_UNAVAILABLE"


def test_a_pod_that_was_to_end_and_has_not_is_on_a_node_that_is_lost() -> None:
    running = {"phase": "Running"}
    lately = pod(running, deletionTimestamp=(NOW - timedelta(seconds=4)).isoformat())
    long_ago = pod(running, deletionTimestamp=(NOW - timedelta(seconds=6)).isoformat())
    assert pod_trouble(lately, NOW) is None
    found = pod_trouble(long_ago, NOW)
    assert found is not None
    assert found.reason == "NODE_LOST"


def test_a_job_says_what_its_pod_says_and_otherwise_how_it_ended() -> None:
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
    killed = pod(container(terminated={"reason": "OOMKilled", "exitCode": 137}))
    late = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}
    told = [job_trouble(job(failed), [killed], NOW), job_trouble(job(failed), [], NOW), job_trouble(job(late), [], NOW)]
    assert [each.reason for each in told if each] == ["OUT_OF_MEMORY", "HOST_ENDED", "DEADLINE_EXCEEDED"]


def test_a_job_that_went_well_or_has_just_been_made_says_nothing() -> None:
    assert job_trouble(job({"type": "Complete", "status": "True"}), [], NOW) is None
    assert job_trouble(job(made_seconds_ago=1), [], NOW) is None


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ((), "NO_POD"),
        (("exceeded quota: few",), "QUOTA_EXCEEDED"),
        (("violates PodSecurity", 'status unknown for quota: "few"'), "QUOTA_EXCEEDED"),
        (("exceeded quota: few", "violates PodSecurity"), "ADMISSION_REFUSED"),
    ],
)
def test_a_job_without_a_pod_says_what_was_heard_of_it_last(events: tuple[str, ...], reason: str) -> None:
    found = job_trouble(job(), [], NOW, events)
    assert found is not None
    assert found.reason == reason


def test_what_the_cluster_says_at_length_is_cut() -> None:
    found = pod_trouble(pod(container(waiting={"reason": "ErrImagePull", "message": "x" * 10_000})), NOW)
    assert found is not None
    assert len(found.message) < TOLD_CHARACTERS_MAX + 200
