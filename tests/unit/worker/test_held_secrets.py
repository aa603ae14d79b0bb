"""A task reads the secrets that its definitions refer to, and no others."""

import pytest
from google.protobuf import json_format

from pymigrate.engine.domain.errors import SecretRefused
from pymigrate.engine.entrypoints.held_secrets import HeldSecrets, held_secrets
from pymigrate.engine.ports.secrets import SecretRef, parse_secret_ref
from pymigrate.engine.testing.secrets import MemorySecrets
from pymigrate.v1 import secret_backend_pb2, worker_pb2

WORK = {
    "source": {
        "name": "environments/prod/connections/legacy",
        "postgres": {"host": "db", "user": "vault://kv/legacy#username", "password": "vault://kv/legacy#password"},
    },
    "target": {
        "name": "environments/prod/connections/lake",
        "files": {"root": "s3://lake/x", "options": {"key": "safe://lake#key", "endpoint_url": "https://minio:9000"}},
    },
    "dataset": {"transforms": [{"mask": {"key": "env://KEY", "columns": {}}}]},
}
HELD = ("vault://kv/legacy#username", "vault://kv/legacy#password", "safe://lake#key", "env://KEY")


def held() -> HeldSecrets:
    task = worker_pb2.Task()
    json_format.ParseDict(WORK, task.copy.dataset)
    login = secret_backend_pb2.VaultBackend(address="https://v", token="env://VAULT_TOKEN")
    task.secret_backends["vault"].vault.CopyFrom(login)
    task.secret_backends["safe"].plugin.kind = "safe"
    values = dict.fromkeys((*HELD, "env://VAULT_TOKEN", "vault://kv/other#password"), "hunter22")
    return held_secrets(task, MemorySecrets(values), task.secret_backends)


@pytest.mark.parametrize("text", HELD)
def test_what_the_definitions_refer_to_is_read_in_every_way(text: str) -> None:
    secrets, ref = held(), parse_secret_ref(text, "x")
    assert (
        secrets.read(ref).reveal() == secrets.reread(ref).reveal() == secrets.at("1").read(ref).reveal() == "hunter22"
    )
    assert secrets.previous(ref) is None
    assert ref.scheme in secrets.schemes


@pytest.mark.parametrize(
    "text", ["env://VAULT_TOKEN", "vault://kv/other#password", "vault://kv/legacy", "https://minio:9000"]
)
def test_everything_else_is_refused_what_backends_log_in_with_too(text: str) -> None:
    secrets, ref = held(), parse_secret_ref(text, "x")
    for read in (secrets.read, secrets.reread, secrets.previous, secrets.at("1").read):
        with pytest.raises(SecretRefused, match="is no secret that is referred to here"):
            read(ref)


def test_at_no_version_it_is_itself() -> None:
    secrets = held()
    assert secrets.at("") is secrets
    assert secrets.at("1").schemes == secrets.schemes
    assert SecretRef("env", "KEY") in secrets.held
