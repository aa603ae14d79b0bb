"""The cluster that a pod runs in, as the pod's service account."""

from collections.abc import Mapping
from pathlib import Path

from pymigrate.engine.adapters.kubernetes.access import Access, FileToken, checked_server, verifying
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.cluster import ClusterMisconfigured

FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SAID_BY = "the pod's service account"


def service_account_access(clock: Clock, variables: Mapping[str, str], folder: Path = FOLDER) -> Access:
    """By the variables and files that a kubelet gives each pod. Raises ClusterMisconfigured where there are none."""
    host, port = variables.get("KUBERNETES_SERVICE_HOST", ""), variables.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise ClusterMisconfigured(
            "there is no cluster here: KUBERNETES_SERVICE_HOST is not set, as it is in a pod; name a kubeconfig"
        )
    named = f"[{host}]" if ":" in host else host
    try:
        namespace = (folder / "namespace").read_text().strip()
    except (OSError, UnicodeDecodeError):
        namespace = ""
    return Access(
        server=checked_server(f"https://{named}:{port}", SAID_BY),
        namespace=namespace or "default",
        token=FileToken(folder / "token", clock),
        tls=verifying(SAID_BY, "", folder / "ca.crt"),
    )
