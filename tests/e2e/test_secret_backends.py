"""Secret backends through real processes: declared at the command line, tried on a worker host, and told to nobody."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import hvac
import pytest

from pymigrate.v1 import connection_pb2
from tests.e2e.engines import EngineProcess
from tests.e2e.test_command_line import CommandLine
from tests.vaults.program import vault_process

VALUE = "s3cret-0f-the-vault"
VAULT = "environments/prod/secretBackends/vault"
DECLARED = """
apiVersion: pymigrate.io/v1alpha1
kind: Environment
metadata: {{name: prod}}
---
apiVersion: pymigrate.io/v1alpha1
kind: SecretBackend
metadata: {{name: vault, environment: prod}}
spec: {{vault: {{address: "{address}", token: "file://{token}"}}, timeoutSeconds: 5}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {{name: legacy, environment: prod}}
spec: {{http: {{baseUrl: "http://127.0.0.1:9", headers: {{authorization: "vault://kv/legacy#password"}}}}}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {{name: lost, environment: prod}}
spec: {{http: {{baseUrl: "http://127.0.0.1:9", headers: {{authorization: "aws-sm://legacy#password"}}}}}}
"""


@pytest.fixture
def vault() -> Iterator[tuple[str, str]]:
    """A Vault that keeps one secret: where it is, and its token."""
    with vault_process() as (address, token):
        admin = hvac.Client(address, token)
        admin.sys.enable_secrets_engine("kv", path="kv", options={"version": "2"})
        admin.secrets.kv.v2.create_or_update_secret("legacy", {"password": VALUE}, mount_point="kv")
        yield address, token


def test_a_backend_is_declared_tried_and_not_deleted_while_something_refers_to_it(
    engine: EngineProcess, vault: tuple[str, str], tmp_path: Path
) -> None:
    pymigrate, (address, token) = CommandLine(engine), vault
    (tmp_path / "token").write_text(token)
    (tmp_path / "declared.yaml").write_text(DECLARED.format(address=address, token=tmp_path / "token"))
    assert f"{VAULT} created" in pymigrate("apply", "-f", str(tmp_path / "declared.yaml"))
    assert f"{VAULT} unchanged" in pymigrate("apply", "-f", str(tmp_path / "declared.yaml"))
    assert pymigrate("secret-backends", "list", "environments/prod").split() == [VAULT, "vault"]
    assert address in pymigrate("secret-backends", "get", VAULT)
    said = [pymigrate("secret-backends", "test", VAULT)]
    said.append(pymigrate("secret-backends", "test", VAULT, "vault://kv/legacy#password"))
    assert "lets in, vault://kv/legacy#password was read at version 1" in said[-1]
    said.append(pymigrate("secret-backends", "test", VAULT, "vault://kv/legacy#nothing", code=1))
    assert "nothing" in said[-1]
    said.append(pymigrate("secret-backends", "test", VAULT, "vault://kv/nowhere#password", code=1))
    said.append(pymigrate("secret-backends", "test", VAULT, "env://PATH", code=1))
    assert "no reference into this backend" in said[-1]
    said.append(pymigrate("delete", VAULT, code=1))
    assert "needed by environments/prod/connections/legacy" in said[-1]
    request = connection_pb2.TestConnectionRequest(name="environments/prod/connections/lost")
    with engine.client() as client:
        test = client.connections.TestConnection
        with pytest.raises(grpc.RpcError) as refused:
            test(request, metadata=client.metadata, timeout=30)
    assert "there is no secret backend `aws-sm` in this environment" in str(refused.value.details())
    told = "".join(said) + (engine.home / "engine.log").read_text()
    assert VALUE not in told
    assert token not in told
