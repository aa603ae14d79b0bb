"""The pod that runs a worker host: what a template asks for, and what holds whatever it asks for.

A template that contradicts what must hold is refused when the engine starts, field by field, lest pods be refused one by one later.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pymigrate.engine.domain.errors import InvalidDefinition, Problem

CONTAINER = "worker"
HOME_VOLUME, TEMPORARY_VOLUME = "pymigrate-engine", "pymigrate-temporary"
HOME_PATH = "/var/run/pymigrate"
TEMPORARY_PATH = "/tmp"  # noqa: S108 (of the pod, where nobody else is)
ACCESS_ANNOTATION = "pymigrate.io/service-account-token"
OWN_PREFIXES = ("pymigrate.io/", "app.kubernetes.io/")
OWN_VARIABLES = ("HOME", "TMPDIR", "PYMIGRATE_POD", "PYMIGRATE_JOB_UID")
COMMAND = ("python", "-m", "pymigrate.engine.main.worker")
CPU_REQUEST = "250m"
TEMPLATE_BYTES_MAX = 200_000
SHARED_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")


@dataclass(frozen=True, slots=True)
class PodTerms:
    """What every pod has: the image where the template names none, the Secret with `endpoint`, `token` and `ca.crt`, the bytes that the
    host may hold, and how long it may take to end."""

    image: str
    engine_secret: str
    memory_bytes: int
    grace_seconds: int


def read_template(path: Path | None) -> Mapping[str, Any]:
    """The PodTemplateSpec of a file; an empty one without a file. Raises InvalidDefinition."""
    if path is None:
        return {}
    try:
        text = path.read_bytes()
    except OSError as error:
        raise _refused(
            str(path), f"can't be read ({error.strerror}): give the path of a file with a PodTemplateSpec"
        ) from error
    if len(text) > TEMPLATE_BYTES_MAX:
        raise _refused(str(path), f"is larger than {TEMPLATE_BYTES_MAX} bytes: no pod template is")
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _refused(str(path), f"is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise _refused(str(path), "must be a mapping with `metadata` and `spec`, as below `template` of a Deployment")
    return found


def pod_template(given: Mapping[str, Any], terms: PodTerms) -> dict[str, Any]:
    """The template with what must hold set over it, all but what differs from host to host. Raises InvalidDefinition with every
    contradiction."""
    if problems := tuple(_problems(given, terms)):
        raise InvalidDefinition(problems)
    metadata, spec = dict(given.get("metadata") or {}), dict(given.get("spec") or {})
    container: dict[str, Any] = dict(_worker_of(spec) or {"name": CONTAINER})
    has_token = _asks_for_token(metadata)
    container |= {
        "image": container.get("image") or terms.image,
        "command": container.get("command") or list(COMMAND),
        "securityContext": {
            **(container.get("securityContext") or {}),
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": _resources(container.get("resources") or {}, terms.memory_bytes),
        "volumeMounts": [
            *(container.get("volumeMounts") or ()),
            {"name": HOME_VOLUME, "mountPath": HOME_PATH, "readOnly": True},
            {"name": TEMPORARY_VOLUME, "mountPath": TEMPORARY_PATH},
        ],
    }
    spec |= {
        "containers": [container],
        "restartPolicy": "Never",
        "automountServiceAccountToken": has_token,
        "enableServiceLinks": spec.get("enableServiceLinks", False),
        "terminationGracePeriodSeconds": max(spec.get("terminationGracePeriodSeconds") or 0, terms.grace_seconds),
        "securityContext": {
            "seccompProfile": {"type": "RuntimeDefault"},
            **(spec.get("securityContext") or {}),
            "runAsNonRoot": True,
        },
        "volumes": [
            *(spec.get("volumes") or ()),
            {"name": HOME_VOLUME, "secret": {"secretName": terms.engine_secret}},
            {"name": TEMPORARY_VOLUME, "emptyDir": {}},
        ],
    }
    return {"metadata": metadata, "spec": spec}


def memory_limit_bytes(given: Mapping[str, Any]) -> int | None:
    """What the template's worker may hold; None where it does not say. Raises InvalidDefinition."""
    container = _worker_of(given.get("spec") or {})
    limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
    if limit is None:
        return None
    try:
        return _bytes(str(limit))
    except ValueError as error:
        field = "spec.containers[0].resources.limits.memory"
        raise _refused(field, f"is no amount of memory ({limit}): write it as 1Gi or 1000M") from error


def _worker_of(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The template's worker; empty where it names none."""
    containers: Sequence[Mapping[str, Any]] = spec.get("containers") or ()
    return containers[0] if containers else {}


def _resources(given: Mapping[str, Any], memory_bytes: int) -> dict[str, Any]:
    requests, limits = dict(given.get("requests") or {}), dict(given.get("limits") or {})
    limits.setdefault("memory", str(memory_bytes))
    # A host that is promised less than it may hold is the first to be evicted.
    requests.setdefault("memory", limits["memory"])
    requests.setdefault("cpu", CPU_REQUEST)
    return {**given, "requests": requests, "limits": limits}


def _problems(given: Mapping[str, Any], terms: PodTerms) -> Iterator[Problem]:
    for field in sorted(given.keys() - {"metadata", "spec"}):
        yield Problem(field, "is no field of a PodTemplateSpec: give `metadata` and `spec` alone")
    metadata, spec = given.get("metadata") or {}, given.get("spec") or {}
    for kind in ("labels", "annotations"):
        for key in sorted(metadata.get(kind) or {}):
            if key.startswith(OWN_PREFIXES) and key != ACCESS_ANNOTATION:
                yield Problem(f"metadata.{kind}.{key}", "is set by the engine: leave it out")
    yield from _pod_problems(metadata, spec, terms)
    containers = spec.get("containers") or ()
    for at, container in enumerate(containers[1:], 1):
        yield Problem(
            f"spec.containers[{at}]",
            f"`{container.get('name', '')}` would keep the Job from ending: make it an init container with restartPolicy Always",
        )
    if containers:
        yield from _container_problems(containers[0])
    if not terms.image and not (containers and containers[0].get("image")):
        yield Problem("spec.containers[0].image", "is missing: name it here, or as PYMIGRATE_KUBERNETES_IMAGE")


def _pod_problems(metadata: Mapping[str, Any], spec: Mapping[str, Any], terms: PodTerms) -> Iterator[Problem]:
    if spec.get("restartPolicy", "Never") != "Never":
        yield Problem("spec.restartPolicy", "must be Never: the engine decides when a host is started again")
    for field in SHARED_NAMESPACES:
        if spec.get(field):
            yield Problem(f"spec.{field}", "must not be true: a worker needs nothing of its node")
    if spec.get("automountServiceAccountToken") and not _asks_for_token(metadata):
        yield Problem(
            "spec.automountServiceAccountToken",
            f'a worker has no service-account token: leave it out, or set the annotation {ACCESS_ANNOTATION}: "true" '
            "where secrets are read from Kubernetes",
        )
    if "activeDeadlineSeconds" in spec:
        yield Problem("spec.activeDeadlineSeconds", "is the Job's: set PYMIGRATE_KUBERNETES_DEADLINE_SECONDS")
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is not None and grace < terms.grace_seconds:
        yield Problem(
            "spec.terminationGracePeriodSeconds",
            f"must be {terms.grace_seconds} at least, as draining may take so long: raise it, or lower PYMIGRATE_DRAIN_SECONDS",
        )
    yield from _identity_problems("spec.securityContext", spec.get("securityContext") or {})
    for at, volume in enumerate(spec.get("volumes") or ()):
        if volume.get("name") in {HOME_VOLUME, TEMPORARY_VOLUME}:
            yield Problem(f"spec.volumes[{at}].name", f"`{volume['name']}` is the engine's: choose another name")


def _container_problems(container: Mapping[str, Any]) -> Iterator[Problem]:
    at = "spec.containers[0]"
    if container.get("name") != CONTAINER:
        yield Problem(f"{at}.name", f"must be `{CONTAINER}`: other containers would keep the Job from ending")
    if container.get("args"):
        yield Problem(f"{at}.args", "are the engine's: leave them out")
    for number, variable in enumerate(container.get("env") or ()):
        if str(variable.get("name", "")).startswith(OWN_VARIABLES):
            yield Problem(f"{at}.env[{number}].name", f"`{variable['name']}` is set by the engine: leave it out")
    for number, mount in enumerate(container.get("volumeMounts") or ()):
        if str(mount.get("mountPath", "")).rstrip("/") in {HOME_PATH, TEMPORARY_PATH}:
            yield Problem(
                f"{at}.volumeMounts[{number}].mountPath", f"{mount['mountPath']} is the engine's: mount it elsewhere"
            )
    security = container.get("securityContext") or {}
    where = f"{at}.securityContext"
    yield from _identity_problems(where, security)
    for field in ("privileged", "allowPrivilegeEscalation"):
        if security.get(field):
            yield Problem(f"{where}.{field}", "must not be true: a worker needs no privilege")
    if security.get("readOnlyRootFilesystem") is False:
        yield Problem(f"{where}.readOnlyRootFilesystem", f"must not be false: {TEMPORARY_PATH} is there to write to")
    if (security.get("capabilities") or {}).get("add"):
        yield Problem(f"{where}.capabilities.add", "must be empty: a worker needs no capability")


def _identity_problems(where: str, security: Mapping[str, Any]) -> Iterator[Problem]:
    if security.get("runAsNonRoot") is False:
        yield Problem(f"{where}.runAsNonRoot", "must not be false: a worker never runs as root")
    if security.get("runAsUser") == 0:
        yield Problem(f"{where}.runAsUser", "must not be 0: a worker never runs as root")


def _asks_for_token(metadata: Mapping[str, Any]) -> bool:
    return str((metadata.get("annotations") or {}).get(ACCESS_ANNOTATION, "")).lower() == "true"


def _bytes(quantity: str) -> int:
    """An amount as Kubernetes writes it. Raises ValueError."""
    for exponent, prefix in enumerate("kMGTPE", 1):
        for suffix, base in ((f"{prefix}i" if prefix != "k" else "Ki", 1024), (prefix, 1000)):
            if quantity.endswith(suffix):
                return int(float(quantity[: -len(suffix)]) * base**exponent)
    return int(float(quantity))


def _refused(field: str, description: str) -> InvalidDefinition:
    return InvalidDefinition((Problem(field, description),))
