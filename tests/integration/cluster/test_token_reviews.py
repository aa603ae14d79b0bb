"""Tokens of service accounts on a real API server: reviewed for an audience, by one right, and gone with their account."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import yaml

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.identity.kubernetes_tokens import KubernetesAuthenticator
from pymigrate.engine.adapters.kubernetes.cluster import KubernetesCluster
from pymigrate.engine.domain.errors import Unauthenticated
from pymigrate.engine.ports.cluster import Cluster
from pymigrate.engine.ports.identity import IdentityUnavailable
from tests.clusters import Cluster as ApiServer
from tests.integration.cluster.places import fresh_namespace

COMPONENT = Path(__file__).resolve().parents[3] / "examples/kubernetes/components/tokens/access.yaml"
Open = Callable[[str], Cluster]


@pytest.fixture
def namespace(api_server: ApiServer) -> str:
    found = fresh_namespace()
    api_server.service_account(found, "runner", [])
    return found


@pytest.fixture
async def opened(api_server: ApiServer, namespace: str) -> AsyncIterator[Open]:
    made: list[KubernetesCluster] = []

    def opened(token: str) -> Cluster:
        cluster = KubernetesCluster.open(api_server.kubeconfig(f"{namespace}-{len(made)}", token), clock=SystemClock())
        made.append(cluster)
        return cluster

    yield opened
    for cluster in made:
        await cluster.close()


def token(api_server: ApiServer, namespace: str, audience: str = "pymigrate") -> str:
    """A token of the account, as the cluster projects it into a pod."""
    asked = {"spec": {"audiences": [audience], "expirationSeconds": 600}}
    with api_server.api() as api:
        return str(api.create_namespaced_service_account_token("runner", namespace, asked).status.token)


async def test_one_right_is_enough_to_know_a_service_account(
    api_server: ApiServer, namespace: str, opened: Open
) -> None:
    role, _ = yaml.safe_load_all(COMPONENT.read_text())
    assert len(role["rules"]) == 1
    engine = opened(api_server.service_account(namespace, f"engine-{namespace}", role["rules"], is_cluster_wide=True))
    found = await KubernetesAuthenticator(engine, "pymigrate", SystemClock()).identify(token(api_server, namespace))
    assert found is not None
    assert found.principal == f"kubernetes/{namespace}/runner"
    assert f"system:serviceaccounts:{namespace}" in found.groups


async def test_without_that_right_nobody_is_known(api_server: ApiServer, namespace: str, opened: Open) -> None:
    engine = opened(api_server.service_account(namespace, "engine", []))
    with pytest.raises(IdentityUnavailable, match="tokenreviews"):
        await KubernetesAuthenticator(engine, "pymigrate", SystemClock()).identify(token(api_server, namespace))


async def test_a_token_for_another_audience_or_one_that_was_changed_is_refused(
    api_server: ApiServer, namespace: str, opened: Open
) -> None:
    way_in = KubernetesAuthenticator(opened(api_server.token), "pymigrate", SystemClock())
    right = token(api_server, namespace)
    with pytest.raises(Unauthenticated):
        await way_in.identify(token(api_server, namespace, "vault"))
    header, claims, signature = right.split(".")
    with pytest.raises(Unauthenticated):
        await way_in.identify(f"{header}.{claims}.{signature[:-8]}AAAAAAAA")
    assert await way_in.identify(right) is not None


async def test_the_token_of_an_account_that_is_gone_is_refused(
    api_server: ApiServer, namespace: str, opened: Open
) -> None:
    gone = token(api_server, namespace)
    with api_server.api() as api:
        api.delete_namespaced_service_account("runner", namespace)
    with pytest.raises(Unauthenticated):
        await KubernetesAuthenticator(opened(api_server.token), "pymigrate", SystemClock()).identify(gone)
