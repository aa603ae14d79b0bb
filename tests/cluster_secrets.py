"""Secrets of a real cluster, and service accounts that may read them."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

from pymigrate.engine.adapters.secrets.kubernetes import KubernetesKind
from pymigrate.engine.ports.secret_backend import BackendOptions, SecretBackend
from pymigrate.engine.ports.secrets import SecretRef
from pymigrate.engine.testing.secrets import MemorySecrets
from tests.clusters import Cluster

READER = "reader"
NOT_FOUND, CONFLICT = 404, 409


class ClusterPlace:
    """Secrets of a namespace as the contract suite sees them, read by a service account that may get Secrets in it."""

    def __init__(self, made: Cluster, namespace: str) -> None:
        self._cluster = made
        self._namespace = namespace
        self._kubeconfig = made.kubeconfig(f"reader-of-{namespace}", reader_token(made, namespace))
        self.opened: list[SecretBackend] = []

    def open(self) -> SecretBackend:
        options = {"kubeconfig_file": str(self._kubeconfig)}
        backend = KubernetesKind().open(BackendOptions("k8s", options, {}, MemorySecrets(), timeout_seconds=10.0))
        self.opened.append(backend)
        return backend

    def ref(self, name: str, key: str = "") -> SecretRef:
        return SecretRef("k8s", f"{self._namespace}/{name}", key)

    def put(self, name: str, values: Mapping[str, str]) -> str:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        put_secret(self._cluster, self._namespace, name, data)
        return ""

    def happen(self, what: str, name: str) -> None:
        if what == "away":
            token = reader_token(self._cluster, self._namespace)
            self._kubeconfig = self._cluster.kubeconfig("away", token, address="https://127.0.0.1:9")
        else:
            with self._cluster.api() as api:
                rules(api).delete_namespaced_role_binding(READER, self._namespace)


def put_secret(made: Cluster, namespace: str, name: str, data: Mapping[str, str]) -> str:
    """Makes or replaces a Secret; its resourceVersion."""
    from kubernetes.client.exceptions import ApiException

    body = {"metadata": {"name": name}, "data": dict(data)}
    with made.api() as api:
        try:
            found = api.replace_namespaced_secret(name, namespace, body)
        except ApiException as error:
            if error.status != NOT_FOUND:
                raise
            found = api.create_namespaced_secret(namespace, body)
    return str(found.metadata.resource_version)


def rules(api: Any) -> Any:
    """RBAC, as the same client."""
    from kubernetes import client

    return client.RbacAuthorizationV1Api(api.api_client)


def reader_token(made: Cluster, namespace: str) -> str:
    """A token of a service account that may get Secrets of a namespace, which is made where it is not there."""
    from kubernetes.client.exceptions import ApiException

    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    subject = {"kind": "ServiceAccount", "name": READER, "namespace": namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": READER}
    with made.api() as api:
        named, roles = {"metadata": {"name": READER}}, rules(api)
        makers: list[Callable[[], object]] = [
            lambda: api.create_namespace({"metadata": {"name": namespace}}),
            lambda: api.create_namespaced_service_account(namespace, named),
            lambda: roles.create_namespaced_role(namespace, {**named, "rules": [rule]}),
            lambda: roles.create_namespaced_role_binding(
                namespace, {**named, "subjects": [subject], "roleRef": reference}
            ),
        ]
        for make in makers:
            try:
                make()
            except ApiException as error:
                if error.status != CONFLICT:  # it is there
                    raise
        found = api.create_namespaced_service_account_token(READER, namespace, {"spec": {"audiences": ["api"]}})
    return str(found.status.token)
