"""The settings of the Kubernetes operator, which nobody else needs."""

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pymigrate.engine.entrypoints.operator.objects import EnvironmentRule

LISTEN = "127.0.0.1:7436"
PORT_MAX = 65_535
NAME = r"^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)?$"


class OperatorSettings(BaseSettings):
    """The settings, each as `PYMIGRATE_OPERATOR_<NAME>` in the environment."""

    model_config = SettingsConfigDict(
        env_prefix="PYMIGRATE_OPERATOR_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    environments: EnvironmentRule = EnvironmentRule.NAMESPACE
    """How the environment of a custom resource is found: `namespace`, it has the namespace's name; `annotation`, the annotation
    `pymigrate.io/environment` says it. Default `namespace`: who may write in a namespace may write in that environment."""

    namespace: str = Field(default="", pattern=NAME)
    """The only namespace that is looked at. Default empty: all of them."""

    workers: int = Field(default=256, ge=4, le=1_024)
    """Passes over custom resources at once, a quarter of them kept for what failed. Default 256: those that start runs of one plan at
    once share a look at its systems, so that many at once cost the engine less than few after one another."""

    kubeconfig: Path | None = None
    """File by whose current context the cluster is reached. Default none: as the pod's service account."""

    lease: str = Field(default="pymigrate-operator", pattern=NAME, min_length=1)
    """Name of the Lease by which one operator of several leads. Default `pymigrate-operator`: one for each namespace that they run in."""

    lease_namespace: str = Field(default="", pattern=NAME)
    """Namespace of the Lease. Default empty: that of the context or of the service account."""

    listen: str = LISTEN
    """Address and port of probes and metrics, over plain HTTP and without a token: they hold figures alone. Default: loopback; in a pod
    `0.0.0.0:7436`, so that the kubelet reaches it. Empty: none."""

    admission_listen: str = ""
    """Address and port of the webhook that the API server asks before it stores a custom resource, with the certificate that
    PYMIGRATE_TLS_CERTIFICATE and PYMIGRATE_TLS_KEY name. Default empty: none, as the API server has to be told of it too. 7437 is the
    customary port."""

    @field_validator("kubeconfig", mode="before")
    @classmethod
    def _is_path_or_none(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("listen", "admission_listen")
    @classmethod
    def _is_listened_on(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if value and not (host and port.isascii() and port.isdecimal() and int(port) <= PORT_MAX):
            raise ValueError(f"{value!r} is no address: write it as {LISTEN}")
        return value
