"""Secrets of a Kubernetes cluster: `k8s://namespace/name#key`. A version is the Secret's resourceVersion; the API keeps no former one.

The client is imported by what opens one, and asks once: whoever reads asks again with patience.
"""

import base64
import binascii
import json
import logging
import threading
from typing import Any

from pymigrate.engine.domain.errors import PyMigrateError, SecretMissing, SecretRefused, SecretsUnavailable
from pymigrate.engine.ports.secret_backend import BackendOptions, Lease, SecretDocument
from pymigrate.engine.ports.secrets import Secret, SecretRef

UNAUTHORIZED, FORBIDDEN, NOT_FOUND, CONFLICT_MAX = 401, 403, 404, 499
TOO_MANY = 429
RETRY_SECONDS_MAX = 60.0


class KubernetesBackend:
    """One cluster, as one user or service account. `options` are the fields of the contract's message."""

    def __init__(self, options: BackendOptions) -> None:
        self._options = options
        self._namespaces = frozenset(json.loads(options.options.get("namespaces") or "[]"))
        self._lock = threading.Lock()
        self._client: Any = None

    def login(self) -> str:
        """Asks for the cluster's version."""
        from kubernetes import client

        asked = f"{self._options.scheme}://"
        opened = self._present(asked, None)
        try:
            found = client.VersionApi(opened).get_code(_request_timeout=self._options.timeout_seconds)
        except Exception as error:  # noqa: BLE001 (translated, or raised as it is)
            raise _translated(asked, error) from None
        return f"Kubernetes {found.git_version}"

    def read(self, ref: SecretRef, version: str = "") -> SecretDocument:
        """All keys of the Secret that are text."""
        namespace, separator, name = ref.location.partition("/")
        if not separator or not namespace or not name or "/" in name:
            raise SecretMissing(f"{ref}: is no Secret: write k8s://namespace/name#key")
        if self._namespaces and namespace not in self._namespaces:
            raise SecretRefused(
                f"{ref}: only namespaces that the backend names may be read: {namespace} is none of them"
            )
        if version:
            raise SecretMissing(f"{ref}: a cluster keeps no former versions of a Secret")
        found = self._secret(ref, namespace, name)
        number = str(found.metadata.resource_version)
        values = {key: _text(encoded, number) for key, encoded in (found.data or {}).items()}
        if ref.key in values and values[ref.key] is None:
            raise SecretMissing(f"{ref}: is not text in UTF-8")
        return SecretDocument({key: secret for key, secret in values.items() if secret is not None}, number)

    def renew(self, lease: Lease) -> Lease:
        """Nothing is leased."""
        raise SecretMissing("Secrets of a cluster are not leased")

    def revoke(self, lease: Lease) -> None:
        """Nothing is leased."""

    def close(self) -> None:
        """Gives up connections and the token."""
        with self._lock:
            opened, self._client = self._client, None
        if opened is not None:
            opened.close()

    def _secret(self, ref: SecretRef, namespace: str, name: str) -> Any:
        from kubernetes import client
        from kubernetes.client.exceptions import ApiException

        opened = None
        for is_last in (False, True):
            opened = self._present(str(ref), opened)
            try:
                return client.CoreV1Api(opened).read_namespaced_secret(
                    name, namespace, _request_timeout=self._options.timeout_seconds
                )
            except Exception as error:  # noqa: BLE001 (translated, or raised as it is)
                # The token may have been replaced where the configuration says that it is.
                if is_last or not isinstance(error, ApiException) or error.status != UNAUTHORIZED:
                    raise _translated(str(ref), error) from None
        raise AssertionError("the last try returns or raises")

    def _present(self, asked: str, former: Any) -> Any:
        """The client; another one where `former` is it still."""
        with self._lock:
            if self._client is None or self._client is former:
                self._client = self._opened(asked)
            return self._client

    def _opened(self, asked: str) -> Any:
        from kubernetes import client, config

        logging.getLogger("kubernetes.client.rest").setLevel(logging.WARNING)  # below that it tells whole answers
        found, said = client.Configuration(), self._options.options
        try:
            if path := said.get("kubeconfig_file"):
                context = said.get("context") or None
                config.load_kube_config(path, context, client_configuration=found, persist_config=False)
            else:
                config.load_incluster_config(client_configuration=found)
        except (config.ConfigException, OSError, ValueError, KeyError) as error:
            where = said.get("kubeconfig_file") or "the pod's service account"
            raise SecretRefused(f"{asked}: {where} leads to no cluster ({type(error).__name__})") from None
        if not found.verify_ssl:
            raise SecretRefused(f"{asked}: the kubeconfig does not verify the cluster: name its authority in it")
        found.retries = 0
        return client.ApiClient(found)


class KubernetesKind:
    """Opens clusters."""

    kind = "kubernetes"

    def open(self, options: BackendOptions) -> KubernetesBackend:
        """Nothing is contacted."""
        return KubernetesBackend(options)


def _text(encoded: str, version: str) -> Secret | None:
    try:
        return Secret(base64.b64decode(encoded, validate=True).decode().removesuffix("\n").removesuffix("\r"), version)
    except (binascii.Error, UnicodeDecodeError):
        return None


def _translated(asked: str, error: Exception) -> Exception:
    """What the client raised, in the engine's words; what is none of its errors as it is."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    if isinstance(error, PyMigrateError):
        return error
    if isinstance(error, HTTPError | OSError):
        return SecretsUnavailable(f"{asked}: the cluster does not answer ({type(error).__name__})")
    if not isinstance(error, ApiException):
        return error
    status = int(error.status or 0)
    said = f"{asked}: the cluster said {status}"
    if status == NOT_FOUND:
        return SecretMissing(f"{said}: there is no such Secret")
    if status == FORBIDDEN:
        return SecretRefused(f"{said}: let its user `get` this Secret by a Role")
    if status == TOO_MANY or status > CONFLICT_MAX or not status:
        return SecretsUnavailable(said, retry_after_seconds=_retry_after(error))
    return SecretRefused(said)


def _retry_after(error: Any) -> float:
    text = (error.headers or {}).get("Retry-After", "")
    return min(float(text), RETRY_SECONDS_MAX) if text.isdigit() else 1.0
