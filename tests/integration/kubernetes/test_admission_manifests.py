"""The operator's webhook as `examples/kubernetes` lays it out: called where it is, and known by its certificate."""

import subprocess
from pathlib import Path

import pytest

from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.entrypoints.server_certificate import ServerCertificate
from tests.certificates import CertificateFiles
from tests.kubernetes_example import EXAMPLE, NAMESPACES, copied, found, pods, rendered


@pytest.mark.parametrize("namespace", [NAMESPACES["prod"], "other"])
def test_the_api_server_calls_the_operator_where_it_is_and_knows_it_by_its_certificate(
    namespace: str, tmp_path: Path
) -> None:
    path = copied(tmp_path) / "overlays/prod/kustomization.yaml"
    path.write_text(path.read_text().replace(f"namespace: {NAMESPACES['prod']}", f"namespace: {namespace}"))
    documents = rendered(path.parent)
    [configuration] = found(documents, "ValidatingWebhookConfiguration")
    [webhook] = configuration["webhooks"]
    called = webhook["clientConfig"]["service"]
    [service] = found(documents, "Service", called["name"])
    [pod] = [each for each in pods(documents) if each.owner == "pymigrate-operator"]
    [port] = [each for each in service["spec"]["ports"] if each["port"] == called["port"]]
    [listened] = [each for each in pod.containers[0]["ports"] if each["name"] == port["targetPort"]]
    told = {each["name"]: each.get("value", "") for each in pod.containers[0]["env"]}
    assert told["PYMIGRATE_OPERATOR_ADMISSION_LISTEN"] == f"0.0.0.0:{listened['containerPort']}"
    assert (called["namespace"], service["metadata"]["namespace"]) == (namespace, namespace)
    [certificate] = found(documents, "Certificate", "pymigrate-operator")
    assert certificate["spec"]["dnsNames"] == [f"{called['name']}.{namespace}.svc"]
    annotation = configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
    assert annotation == f"{namespace}/{certificate['metadata']['name']}"
    mounted = [each.get("secret", {}).get("secretName") for each in pod.spec["volumes"]]
    assert certificate["spec"]["secretName"] in mounted


def test_without_cert_manager_a_certificate_of_the_operator_s_is_made_by_which_the_api_server_knows_it(
    tmp_path: Path,
) -> None:
    subprocess.run(
        [EXAMPLE / "secrets.sh", tmp_path / "operator", "team", "pymigrate-operator"],
        check=True,
        capture_output=True,
    )
    files = CertificateFiles(tmp_path / "operator")
    made = {path.name for path in files.folder.iterdir()}
    assert made == {"tls.crt", "tls.key", "ca.crt"}
    ServerCertificate(files.certificate, files.key, files.authorities, name="pymigrate-operator.team.svc")
    with pytest.raises(PermanentError, match="pymigrate-operator"):
        ServerCertificate(files.certificate, files.key, files.authorities, name="pymigrate-operator.other.svc")
