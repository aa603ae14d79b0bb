"""The Job of a worker host: its name, its marks, and what it says of itself once it is in a cluster."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from pymigrate.engine.adapters.executors.kubernetes_template import HOME_PATH, TEMPORARY_PATH
from pymigrate.engine.ports.cluster import Object

HOST_LABEL = "pymigrate.io/host"
ENVIRONMENT_LABEL = "pymigrate.io/environment"
INSTANCE_LABEL = "pymigrate.io/instance"
INCARNATION_LABEL = "pymigrate.io/incarnation"
AFFINITY_ANNOTATION = "pymigrate.io/affinity"
DIGEST_ANNOTATION = "pymigrate.io/digest"
JOB_UID_LABEL = "controller-uid"
STEM_CHARACTERS_MAX = 40
DIGEST_CHARACTERS = 8
LABEL_CHARACTERS_MAX = 63
WORKLOAD_PARTS = 5


@dataclass(frozen=True, slots=True)
class Place:
    """Where a host runs: the pod of a Job. As text it is what the host tells when it registers."""

    namespace: str
    job: str
    job_uid: str
    pod: str

    @staticmethod
    def parse(workload: str) -> "Place | None":
        """None for what no Job of Kubernetes runs."""
        word, *parts = workload.split("/")
        if word != "jobs" or len(parts) + 1 != WORKLOAD_PARTS or not all(parts):
            return None
        return Place(*parts)


@dataclass(frozen=True, slots=True)
class JobTerms:
    """What the Jobs of one engine have in common. `owner` is an owner reference, empty for none; times are in seconds, 0: none."""

    instance: str
    namespace: str
    template: Mapping[str, Any]
    drain_seconds: float
    ttl_seconds: int
    deadline_seconds: int = 0
    owner: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def selector(self) -> str:
        """The labels of all of them."""
        return f"app.kubernetes.io/managed-by=pymigrate,{INSTANCE_LABEL}={self.instance}"


def job_name(instance: str, host: str, incarnation: int) -> str:
    """The same for the same host, whichever engine of this instance asks; a pod's name, which is longer, is a label too."""
    stem = re.sub(r"[^a-z0-9]+", "-", f"{instance}-{host}".lower())[:STEM_CHARACTERS_MAX].strip("-")
    digest = hashlib.sha256(f"{instance}/{host}".encode()).hexdigest()[:DIGEST_CHARACTERS]
    return f"{stem}-{digest}-{incarnation}"


def job_of(terms: JobTerms, host: str, affinity: str, incarnation: int) -> dict[str, Any]:
    """The Job that runs a host."""
    name = job_name(terms.instance, host, incarnation)
    labels = {
        "app.kubernetes.io/name": "pymigrate-worker",
        "app.kubernetes.io/component": "worker",
        "app.kubernetes.io/part-of": "pymigrate",
        "app.kubernetes.io/managed-by": "pymigrate",
        "app.kubernetes.io/instance": terms.instance,
        INSTANCE_LABEL: terms.instance,
        HOST_LABEL: label_value(host),
        ENVIRONMENT_LABEL: label_value(affinity.rpartition("@")[2]),
        INCARNATION_LABEL: str(incarnation),
    }
    annotations = {AFFINITY_ANNOTATION: affinity, DIGEST_ANNOTATION: digest_of(terms, host, affinity)}
    given = terms.template["metadata"]
    spec: dict[str, Any] = {
        "backoffLimit": 0,
        "completions": 1,
        "parallelism": 1,
        # To newer servers: no pod is replaced before it has ended. Older ones drop it, and the engine turns the second one away.
        "podReplacementPolicy": "Failed",
        "ttlSecondsAfterFinished": terms.ttl_seconds,
        "template": {
            "metadata": {
                "labels": {**(given.get("labels") or {}), **labels},
                "annotations": {**(given.get("annotations") or {}), **annotations},
            },
            "spec": _pod_spec(terms, name, host, affinity),
        },
    }
    if terms.deadline_seconds:
        spec["activeDeadlineSeconds"] = terms.deadline_seconds
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": terms.namespace,
        "labels": labels,
        "annotations": annotations,
    }
    if terms.owner:
        metadata["ownerReferences"] = [dict(terms.owner)]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def digest_of(terms: JobTerms, host: str, affinity: str) -> str:
    """Tells Jobs of one host that run alike from those that were made under other terms."""
    alike = [terms.template, terms.drain_seconds, terms.deadline_seconds, dict(terms.environment), host, affinity]
    return hashlib.sha256(orjson.dumps(alike, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _pod_spec(terms: JobTerms, name: str, host: str, affinity: str) -> dict[str, Any]:
    spec = dict(terms.template["spec"])
    container = dict(spec["containers"][0])
    variables: Sequence[Mapping[str, Any]] = (
        _from_field("PYMIGRATE_POD_NAMESPACE", "metadata.namespace"),
        _from_field("PYMIGRATE_POD_NAME", "metadata.name"),
        _from_field("PYMIGRATE_JOB_UID", f"metadata.labels['{JOB_UID_LABEL}']"),
        {"name": "HOME", "value": TEMPORARY_PATH},
        {"name": "TMPDIR", "value": TEMPORARY_PATH},
        *({"name": key, "value": _escaped(value)} for key, value in sorted(terms.environment.items())),
    )
    container["env"] = [*(container.get("env") or ()), *variables]
    container["args"] = [
        f"--home={HOME_PATH}",
        f"--host={host}",
        f"--affinity={_escaped(affinity)}",
        f"--drain-seconds={terms.drain_seconds:g}",
        f"--workload=jobs/$(PYMIGRATE_POD_NAMESPACE)/{name}/$(PYMIGRATE_JOB_UID)/$(PYMIGRATE_POD_NAME)",
    ]
    spec["containers"] = [container]
    return spec


def _from_field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _escaped(text: str) -> str:
    """Kubernetes puts variables in place of `$(NAME)`, and `$` in place of `$$`."""
    return text.replace("$", "$$")


def label_value(text: str) -> str:
    """A name as labels have it, which are shorter than names may be."""
    if len(text) <= LABEL_CHARACTERS_MAX:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:DIGEST_CHARACTERS]
    return f"{text[: LABEL_CHARACTERS_MAX - DIGEST_CHARACTERS - 1]}-{digest}"


def label(found: Object, name: str) -> str:
    """A label of it; empty where it has none."""
    return str((found["metadata"].get("labels") or {}).get(name, ""))


def annotation(found: Object, name: str) -> str:
    """An annotation of it; empty where it has none."""
    return str((found["metadata"].get("annotations") or {}).get(name, ""))


def incarnation_of(job: Object) -> int:
    """Which Job of its host it is."""
    told = label(job, INCARNATION_LABEL)
    return int(told) if told.isdecimal() else 0


def is_deleting(found: Object) -> bool:
    """Whether it is on its way out."""
    return bool(found["metadata"].get("deletionTimestamp"))


def finish_of(job: Object) -> Mapping[str, Any] | None:
    """The condition that says how the Job ended; None while it has not."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("type") in {"Complete", "Failed"} and condition.get("status") == "True":
            found: Mapping[str, Any] = condition
            return found
    return None


def is_active(job: Object) -> bool:
    """Whether it may run a host still, or yet."""
    return not is_deleting(job) and finish_of(job) is None


def has_pod_ended(pod: Object) -> bool:
    """Whether its processes are gone for certain."""
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
