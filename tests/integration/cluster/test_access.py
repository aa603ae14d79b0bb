"""Who speaks to a real API server: tokens and certificates that are replaced, what may not be done, and a quota."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.kubernetes.cluster import KubernetesCluster
from pymigrate.engine.adapters.kubernetes.kubeconfig import kubeconfig_access
from pymigrate.engine.adapters.kubernetes.service_account import service_account_access
from pymigrate.engine.ports.cluster import (
    PODS,
    ClusterForbidden,
    ClusterUnauthenticated,
    ClusterUnavailable,
    ResourceType,
)
from tests.certificates import replace
from tests.clusters import Cluster as ApiServer
from tests.integration.cluster.places import NAMESPACES, SECONDS_MAX, WIDGETS, fresh_namespace

QUOTAS = ResourceType("", "v1", "resourcequotas", "ResourceQuota")
READING = {"apiGroups": [WIDGETS.group], "resources": [WIDGETS.plural], "verbs": ["get", "list", "watch"]}


class Reader:
    """A service account that may read widgets of its namespace, with its token in a file."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.server = server
        self.namespace = fresh_namespace()
        self.folder = folder
        self.codes: list[str] = []
        self.verbs: list[str] = []
        self.give(server.service_account(self.namespace, "reader", [READING]))
        server.client_authority.issue(folder / "client")
        (folder / "ca.crt").write_bytes(server.certificate_file.read_bytes())
        (folder / "namespace").write_text(self.namespace)

    def give(self, token: str) -> None:
        replace(self.folder / "token", token.encode())

    def see(self, verb: str, resource: str, code: str, seconds: float) -> None:
        assert resource == WIDGETS.plural or code == "403"
        assert seconds >= 0.0
        self.verbs.append(verb)
        self.codes.append(code)

    def opened(self) -> KubernetesCluster:
        host, port = self.server.address.removeprefix("https://").split(":")
        variables, clock = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}, SystemClock()
        return KubernetesCluster(
            lambda: service_account_access(clock, variables, self.folder),
            clock,
            self.see,
        )

    def by_kubeconfig(self, path: Path) -> KubernetesCluster:
        clock = SystemClock()
        return KubernetesCluster(
            lambda: kubeconfig_access(path, clock),
            clock,
            self.see,
        )


@pytest.fixture
def reader(defined: ApiServer, tmp_path: Path) -> Reader:
    return Reader(defined, tmp_path)


@pytest.fixture
async def cluster(reader: Reader) -> AsyncIterator[KubernetesCluster]:
    made = reader.opened()
    yield made
    await made.close()


async def test_a_pod_s_service_account_may_do_what_its_role_says_and_no_more(
    reader: Reader, cluster: KubernetesCluster
) -> None:
    assert cluster.namespace == reader.namespace
    assert (await cluster.list(WIDGETS, reader.namespace)).items == []
    with pytest.raises(
        ClusterForbidden, match=f'"system:serviceaccount:{reader.namespace}:reader" cannot list'
    ) as told:
        await cluster.list(WIDGETS)
    assert not told.value.is_quota


async def test_a_token_that_is_replaced_is_used_from_the_next_call_on(
    reader: Reader, cluster: KubernetesCluster
) -> None:
    reader.give("revoked")
    with pytest.raises(ClusterUnauthenticated, match="the API said 401: Unauthorized: look after the token"):
        await cluster.list(WIDGETS, reader.namespace)
    reader.give(reader.server.account_token(reader.namespace, "reader"))
    assert (await cluster.list(WIDGETS, reader.namespace)).items == []
    assert reader.codes == ["401", "401", "200"]


async def test_a_kubeconfig_that_is_written_anew_is_read_anew_once_its_token_is_refused(
    reader: Reader,
) -> None:
    path = reader.server.kubeconfig("rotating", "revoked")
    cluster = reader.by_kubeconfig(path)
    token = reader.server.account_token(reader.namespace, "reader")
    reader.server.kubeconfig("rotating", token)
    assert (await cluster.list(WIDGETS, reader.namespace)).items == []
    assert reader.codes == ["401", "200"]
    path.write_text("half of a")
    assert (await cluster.list(WIDGETS, reader.namespace)).items == []
    await cluster.close()


async def test_a_kubeconfig_that_can_t_be_read_any_more_is_still_what_it_was(reader: Reader) -> None:
    path = reader.server.kubeconfig("breaking", "revoked")
    cluster = reader.by_kubeconfig(path)
    path.write_text("half of a")
    with pytest.raises(ClusterUnauthenticated):
        await cluster.list(WIDGETS, reader.namespace)
    reader.server.kubeconfig("breaking", reader.server.account_token(reader.namespace, "reader"))
    assert (await cluster.list(WIDGETS, reader.namespace)).items == []
    await cluster.close()


async def test_a_watch_too_is_begun_with_the_token_that_is_there_now(
    reader: Reader, cluster: KubernetesCluster
) -> None:
    reader.give("revoked")
    with pytest.raises(ClusterUnauthenticated):
        await anext(cluster.watch(WIDGETS, "1", reader.namespace))
    assert reader.codes == ["401", "401"]


async def test_a_client_is_known_by_its_certificate(reader: Reader) -> None:
    certificate = reader.folder / "client"
    path = reader.server.kubeconfig("certified", "")
    written = path.read_text().replace(
        '{"token": ""}', f'{{"client-certificate": "{certificate}/tls.crt", "client-key": "{certificate}/tls.key"}}'
    )
    path.write_text(written)
    cluster = reader.by_kubeconfig(path)
    with pytest.raises(ClusterForbidden, match='User "Engine of tests" cannot get resource "namespaces"'):
        await cluster.get(NAMESPACES, "", "default")
    await cluster.close()


async def test_a_quota_that_is_used_up_is_told_as_one(reader: Reader) -> None:
    admin = KubernetesCluster.open(reader.server.admin_kubeconfig)
    named = {"name": "few", "namespace": reader.namespace}
    await admin.create(QUOTAS, {"metadata": named, "spec": {"hard": {"pods": "0"}}})
    # No controller counts here.
    status = {"status": {"hard": {"pods": "0"}, "used": {"pods": "0"}}}
    await admin.patch(QUOTAS, reader.namespace, "few", status, subresource="status")
    pod = {"metadata": {"name": "one", "namespace": reader.namespace}}
    with pytest.raises(ClusterForbidden, match="exceeded quota: few") as told:
        await admin.create(PODS, {**pod, "spec": {"containers": [{"name": "one", "image": "none"}]}})
    assert told.value.is_quota
    await admin.close()


async def test_what_is_closed_ends_its_watches_and_makes_no_call_any_more(
    reader: Reader, cluster: KubernetesCluster
) -> None:
    listing = await cluster.list(WIDGETS, reader.namespace)
    watching = asyncio.ensure_future(anext(cluster.watch(WIDGETS, listing.resource_version, reader.namespace)))
    async with asyncio.timeout(SECONDS_MAX):
        while "watch" not in reader.verbs:
            await SystemClock().sleep(0.01)
    await cluster.close()
    with pytest.raises(ClusterUnavailable):
        await watching
    with pytest.raises(ClusterUnavailable, match="was closed here"):
        await cluster.list(WIDGETS, reader.namespace)
