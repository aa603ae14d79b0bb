"""A cluster that knows the project's custom resources, for all tests of a file."""

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client

from tests.clusters import Cluster, cluster
from tests.kubectl import Kubectl
from tools.custom_resources import FOLDER


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture(scope="module")
def kubectl(api_server: Cluster) -> Kubectl:
    found = Kubectl(api_server)
    found("apply", "-k", str(FOLDER))
    found("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    return found


@pytest.fixture(scope="module")
def objects(api_server: Cluster, kubectl: Kubectl) -> Iterator[Any]:
    """Custom resources as Kubernetes' own client has them: faster than kubectl, where nothing of it is tested."""
    del kubectl  # it made them known
    with api_server.api() as api:
        yield client.CustomObjectsApi(api.api_client)
