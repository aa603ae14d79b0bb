"""What can be set for worker hosts that are Jobs of Kubernetes, read from the environment once, at the root. No secret is in it."""

import re
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

GRACE_FACTOR = 1.25
OWNER = re.compile(
    r"(?P<group>(?:[a-z0-9.-]+/)?v[0-9a-z]+)/(?P<kind>[A-Z][A-Za-z]+)/(?P<name>[a-z0-9.-]+)/(?P<uid>[0-9a-f-]{36})"
)
LABEL_NAME = r"^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)?$"


class KubernetesSettings(BaseSettings):
    """The settings, each as `PYMIGRATE_KUBERNETES_<NAME>` in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="PYMIGRATE_KUBERNETES_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    kubeconfig: Path | None = None
    """File by whose current context the cluster is reached. Default: none, as the pod's service account."""

    namespace: str = Field(default="", pattern=LABEL_NAME)
    """Namespace of the Jobs. Default empty: that of the kubeconfig's context or of the service account."""

    image: str = ""
    """Image of the workers, of this engine's version, where the pod template names none. Default empty: the template must."""

    pod_template: Path | None = None
    """File with a PodTemplateSpec in YAML. Default: none, a pod with nothing but the worker."""

    engine_secret: str = Field(default="pymigrate-engine", pattern=r"^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$")
    """Secret with `endpoint`, `token` and, with TLS, `ca.crt`, by which workers reach the engine. Default `pymigrate-engine`."""

    owner: str = ""
    """What owns the Jobs, so that none outlives it, as `apps/v1/StatefulSet/<name>/<uid>`. Default empty: nothing does."""

    memory_bytes: int = Field(default=1_000_000_000, ge=400_000_000)
    """Bytes that each worker may hold, where the pod template sets no limit; PYMIGRATE_MEMORY_BYTES_MAX divided by it bounds how many there
    are. Default 1 GB: what sixteen lanes hold at once."""

    deadline_seconds: int = Field(default=0, ge=0, le=31_536_000)
    """How long a Job may run at most; what it had goes on in another. Default 0: as long as it has work."""

    ttl_seconds: int = Field(default=3_600, ge=60, le=2_592_000)
    """How long a Job is kept after its end, with its pod's log. Default 3600: long enough to look why it failed."""

    start_seconds: int = Field(default=600, ge=30, le=86_400)
    """How long a Job may take until its worker calls, images and nodes included; then it is made anew. Default 600."""

    tokens: bool = False
    """Whether service accounts of this cluster may call the engine by their tokens. Default no."""

    tokens_audience: str = Field(default="pymigrate", min_length=1, max_length=200)
    """Audience that these tokens must be made for, so that nobody else who is shown one can show it here. Default `pymigrate`."""

    @field_validator("owner")
    @classmethod
    def _is_owner(cls, value: str) -> str:
        if value and not OWNER.fullmatch(value):
            raise ValueError("is no owner: write it as apps/v1/StatefulSet/<name>/<uid>")
        return value


def owner_reference(owner: str) -> dict[str, str]:
    """The reference that the setting says; empty without one."""
    found = OWNER.fullmatch(owner)
    if found is None:
        return {}
    return {"apiVersion": found["group"], "kind": found["kind"], "name": found["name"], "uid": found["uid"]}
