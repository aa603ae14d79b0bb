"""`examples/kubernetes` as docs/kubernetes.md says, in an empty cluster: from nothing to a migration that is done, and away again."""

from collections.abc import Iterator

import pytest

from tests.clusters import cluster
from tests.e2e.engines import wait_until
from tests.e2e.kubernetes_scene import NAMESPACE, Installation, installed, wait_for_probe
from tests.kube_audit import KubeAudit
from tests.servers import running_cluster

pytestmark = pytest.mark.measured


@pytest.fixture
def audit(tmp_path_factory: pytest.TempPathFactory) -> KubeAudit:
    return KubeAudit(tmp_path_factory.mktemp("audit"))


@pytest.fixture
def installation(tmp_path_factory: pytest.TempPathFactory, audit: KubeAudit) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("kubernetes")
    with (
        cluster(tmp_path_factory.mktemp("cluster"), controllers=True, audit=audit) as made,
        running_cluster("machine") as postgres,
        installed(made, postgres, folder) as found,
    ):
        yield found


def test_the_engine_serves_under_just_its_role(installation: Installation, audit: KubeAudit) -> None:
    installation.start_engine()
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        wait_for_probe(installation, "pymigrate-engine", probe)
    wait_until(lambda: bool(audit.used(NAMESPACE, "pymigrate-engine")))
    assert audit.refused(NAMESPACE, "pymigrate-engine") == set()
