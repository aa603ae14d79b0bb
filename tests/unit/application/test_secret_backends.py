"""What may be declared of secret backends, who refers to one, and what tasks and messages bring along of them."""

import random
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.declared_backends import TaskBackends
from pymigrate.engine.application.kinds import CONNECTIONS, ENVIRONMENTS, PHASES, PLANS
from pymigrate.engine.application.notification_kinds import NOTIFICATION_CHANNELS
from pymigrate.engine.application.secret_backend_definitions import secret_backend_problems
from pymigrate.engine.application.secret_backend_kinds import SECRET_BACKENDS
from pymigrate.engine.domain.errors import FailedPrecondition, InvalidDefinition
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import connection_pb2, environment_pb2, notification_pb2, plan_pb2, worker_pb2
from pymigrate.v1 import secret_backend_pb2 as pb

ENVIRONMENT = "environments/prod"
VAULT = {"address": "https://vault:8200", "token": "env://VAULT_TOKEN"}
ROLE = "arn:aws:iam::123456789012:role/pymigrate"
CALLER = Caller("somebody", "api")


def a_backend(name: str = "vault", **fields: Any) -> pb.SecretBackend:
    named = {"name": f"{ENVIRONMENT}/secretBackends/{name}", **fields}
    return json_format.ParseDict(named, pb.SecretBackend())


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("vault", {"vault": VAULT}),
        (
            "vault",
            {"vault": {"address": "http://127.0.0.1:8200", "kubernetes": {"role": "r"}, "kvVersions": {"kv": 2}}},
        ),
        ("team-vault", {"vault": {"address": "https://v", "appRole": {"roleId": "r", "secretId": "file:///s"}}}),
        ("vault", {"vault": {"address": "http://localhost:1", "jwt": {"jwt": "env://CI_JWT"}}}),
        ("aws-sm", {"aws": {"region": "eu-central-1"}}),
        ("aws-sm", {"aws": {"region": "us-gov-west-1", "roleArn": ROLE, "externalId": "x"}}),
        ("aws-sm", {"aws": {"region": "eu-west-1", "accessKeyId": "env://A", "secretAccessKey": "env://B"}}),
        ("k8s", {"kubernetes": {"namespaces": ["a", "b-1"]}}),
        ("k8s", {"kubernetes": {"kubeconfigFile": "/k", "context": "c"}}),
        ("env", {"env": {"prefix": "PROD_"}}),
        ("prod-env", {"env": {}}),
        ("file", {"file": {"root": "/run/secrets"}, "cacheSeconds": 3600, "timeoutSeconds": 60}),
    ],
)
def test_what_can_be_declared_has_no_problem(name: str, fields: dict[str, Any]) -> None:
    assert list(secret_backend_problems(a_backend(name, **fields))) == []


@pytest.mark.parametrize(
    ("name", "fields", "field", "said"),
    [
        ("vault", {}, "backend", "set one of vault, aws"),
        ("1vault", {"vault": VAULT}, "name", "beginning with a letter"),
        ("https", {"vault": VAULT}, "name", "a scheme of URLs"),
        ("env", {"vault": VAULT}, "name", "the scheme of what `env` reads"),
        ("vault", {"vault": VAULT, "cacheSeconds": 3601}, "cache_seconds", "0 to 3,600"),
        ("vault", {"vault": VAULT, "timeoutSeconds": -1}, "timeout_seconds", "0 to 60"),
        ("vault", {"vault": {**VAULT, "address": ""}}, "vault.address", "is required"),
        ("vault", {"vault": {**VAULT, "address": "http://vault:8200"}}, "vault.address", "must be https"),
        ("vault", {"vault": {**VAULT, "address": "https://u:hunter2@v"}}, "vault.address", "no user and no password"),
        ("vault", {"vault": {**VAULT, "address": "https://v:x"}}, "vault.address", "is no address"),
        ("vault", {"vault": {**VAULT, "token": "hunter2"}}, "vault.token", "never the secret itself"),
        ("vault", {"vault": {**VAULT, "token": "aws-sm://v#t"}}, "vault.token", "env://NAME or file:///path"),
        ("vault", {"vault": {**VAULT, "caFile": "ca.pem"}}, "vault.ca_file", "absolute path"),
        ("vault", {"vault": {**VAULT, "kvVersions": {"kv": 3}}}, "vault.kv_versions.kv", "1 or 2"),
        ("vault", {"vault": {"address": "https://v"}}, "vault.login", "token, app_role, kubernetes, jwt"),
        ("vault", {"vault": {"address": "https://v", "appRole": {"secretId": "env://S"}}}, "vault.app_role.role_id", "is required"),
        ("vault", {"vault": {"address": "https://v", "appRole": {"roleId": "r"}}}, "vault.app_role.secret_id", "must be a reference"),
        ("vault", {"vault": {"address": "https://v", "kubernetes": {}}}, "vault.kubernetes.role", "is required"),
        ("vault", {"vault": {"address": "https://v", "kubernetes": {"role": "r", "tokenFile": "t"}}}, "vault.kubernetes.token_file", "a"),
        ("vault", {"vault": {"address": "https://v", "jwt": {"jwt": "ey"}}}, "vault.jwt.jwt", "must be a reference"),
        ("aws-sm", {"aws": {}}, "aws.region", "is required"),
        ("aws-sm", {"aws": {"region": "eu-west-1", "endpointUrl": "http://x"}}, "aws.endpoint_url", "must be https"),
        ("aws-sm", {"aws": {"region": "eu-west-1", "accessKeyId": "env://A"}}, "aws.secret_access_key", "the other half"),
        ("aws-sm", {"aws": {"region": "eu-west-1", "secretAccessKey": "env://A"}}, "aws.access_key_id", "the other half"),
        ("aws-sm", {"aws": {"region": "eu-west-1", "sessionToken": "env://A"}}, "aws.access_key_id", "session_token"),
        ("aws-sm", {"aws": {"region": "eu-west-1", "roleArn": "role"}}, "aws.role_arn", "no role's ARN"),
        ("aws-sm", {"aws": {"region": "eu-west-1", "externalId": "x"}}, "aws.role_arn", "external_id"),
        ("k8s", {"kubernetes": {"context": "c"}}, "kubernetes.kubeconfig_file", "context"),
        ("k8s", {"kubernetes": {"kubeconfigFile": "/a/../b"}}, "kubernetes.kubeconfig_file", "absolute"),
        ("k8s", {"kubernetes": {"namespaces": ["a", "B"]}}, "kubernetes.namespaces[1]", "no namespace"),
        ("env", {"env": {"prefix": "A B"}}, "env.prefix", "beginning of a variable's name"),
        ("file", {"file": {"root": "secrets"}}, "file.root", "absolute"),
        ("safe", {"plugin": {"kind": "vault"}}, "plugin.kind", "one of PyMigrate's own"),
        ("safe", {"plugin": {"kind": "A B"}}, "plugin.kind", "is no name"),
        ("safe", {"plugin": {"kind": "nobody-brings-it"}}, "plugin.kind", "no installed package"),
        ("safe", {"plugin": {"kind": "x", "options": {"token": "hunter2"}}}, "plugin.options.token", "must be a reference"),
        ("safe", {"plugin": {"kind": "x", "options": {"a": "vault://a/b#c"}}}, "plugin.options.a", "must lie in env or file"),
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused_at_its_field_and_no_secret_is_repeated(
    name: str, fields: dict[str, Any], field: str, said: str
) -> None:
    found = {problem.field: problem.description for problem in secret_backend_problems(a_backend(name, **fields))}
    assert said in found[field]
    assert "hunter2" not in "".join(found.values())


class Declared:
    """An environment in a store in memory."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        numbers = random.Random(7)
        self.catalog = Catalog(Surroundings(ManualClock(), lambda: f"{numbers.getrandbits(64):016x}"))

    async def create(self, kind: Any, parent: str, name: str, message: Any) -> Any:
        return await self.store.transact(lambda unit: self.catalog.create(unit, kind, parent, name, message, CALLER))

    async def delete(self, kind: Any, name: str) -> None:
        await self.store.transact(lambda unit: self.catalog.delete(unit, kind, name, "", CALLER))

    async def connection(self, name: str, password: str, user: str = "reader") -> connection_pb2.Connection:
        message = connection_pb2.Connection()
        json_format.ParseDict({"postgres": {"host": "h", "database": "d", "user": user, "password": password}}, message)
        found: connection_pb2.Connection = await self.create(CONNECTIONS, ENVIRONMENT, name, message)
        return found


@pytest.fixture
async def declared() -> Declared:
    made = Declared()
    await made.create(ENVIRONMENTS, "", "prod", environment_pb2.Environment())
    return made


async def test_a_backend_is_not_deleted_while_a_definition_refers_to_it(declared: Declared) -> None:
    for name in ("vault", "aws-sm", "env"):
        backend = a_backend(name, **({"env": {}} if name == "env" else {"vault": VAULT}))
        await declared.create(SECRET_BACKENDS, ENVIRONMENT, name, backend)
    await declared.connection("legacy", "vault://kv/legacy#password")
    await declared.connection("other", "env://OTHER")
    with pytest.raises(FailedPrecondition, match="needed by environments/prod/connections/legacy"):
        await declared.delete(SECRET_BACKENDS, f"{ENVIRONMENT}/secretBackends/vault")
    for name in ("aws-sm", "env"):
        await declared.delete(SECRET_BACKENDS, f"{ENVIRONMENT}/secretBackends/{name}")
    await declared.delete(CONNECTIONS, f"{ENVIRONMENT}/connections/legacy")
    await declared.delete(SECRET_BACKENDS, f"{ENVIRONMENT}/secretBackends/vault")


async def test_a_backend_is_not_deleted_while_a_channel_or_a_phase_refers_to_it(declared: Declared) -> None:
    await declared.create(SECRET_BACKENDS, ENVIRONMENT, "vault", a_backend(vault=VAULT))
    channel = notification_pb2.NotificationChannel(apprise=notification_pb2.AppriseChannel(url="vault://kv/chat#url"))
    await declared.create(NOTIFICATION_CHANNELS, ENVIRONMENT, "chat", channel)
    with pytest.raises(FailedPrecondition, match="needed by environments/prod/notificationChannels/chat"):
        await declared.delete(SECRET_BACKENDS, f"{ENVIRONMENT}/secretBackends/vault")
    await declared.delete(NOTIFICATION_CHANNELS, f"{ENVIRONMENT}/notificationChannels/chat")
    await declared.create(PLANS, ENVIRONMENT, "p", plan_pb2.Plan())
    phase = plan_pb2.Phase()
    call = {"url": "https://x", "headers": {"authorization": "vault://kv/x#token"}}
    json_format.ParseDict({"department": "d", "steps": {"tell": {"call": call}}}, phase)
    await declared.store.transact(
        lambda unit: declared.catalog.create(
            unit, PHASES, f"{ENVIRONMENT}/plans/p", "a", phase, CALLER, is_checked=True
        )
    )
    with pytest.raises(FailedPrecondition, match="needed by environments/prod/plans/p/phases/a"):
        await declared.delete(SECRET_BACKENDS, f"{ENVIRONMENT}/secretBackends/vault")


async def test_a_backend_becomes_none_of_another_kind(declared: Declared) -> None:
    await declared.create(SECRET_BACKENDS, ENVIRONMENT, "vault", a_backend(vault=VAULT))
    other = a_backend(kubernetes={})
    with pytest.raises(InvalidDefinition, match="the secret backend is vault and can't become kubernetes"):
        await declared.store.transact(
            lambda unit: declared.catalog.update(unit, SECRET_BACKENDS, other, FieldMask(), CALLER)
        )


async def test_a_scheme_of_one_s_own_must_be_declared_before_it_is_referred_to(declared: Declared) -> None:
    with pytest.raises(InvalidDefinition, match=r"connection.postgres.password: there is no secret backend `corp`"):
        await declared.connection("legacy", "corp://legacy#password")
    await declared.create(SECRET_BACKENDS, ENVIRONMENT, "corp", a_backend("corp", vault=VAULT))
    await declared.connection("legacy", "corp://legacy#password")
    await declared.connection("early", "aws-sm://legacy#password")  # which may be declared in the same file, after it


async def test_a_test_of_a_connection_whose_scheme_nobody_declared_is_refused_with_its_field(
    declared: Declared,
) -> None:
    connection = await declared.connection("legacy", "aws-sm://legacy#password", "vault://kv/legacy#username")
    with pytest.raises(InvalidDefinition) as refused:
        await TaskBackends(declared.store).require(ENVIRONMENT, connection, "connection.")
    assert {problem.field for problem in refused.value.problems} == {
        "connection.postgres.password",
        "connection.postgres.user",
    }
    assert "declare secretBackends/aws-sm" in str(refused.value)


async def test_a_task_brings_the_backends_of_its_references_and_no_others(declared: Declared) -> None:
    described = a_backend("vault", vault=VAULT, description="ours", labels={"a": "b"})
    await declared.create(SECRET_BACKENDS, ENVIRONMENT, "vault", described)
    await declared.create(SECRET_BACKENDS, ENVIRONMENT, "env", a_backend("env", env={"prefix": "VAULT_"}))
    await declared.create(SECRET_BACKENDS, ENVIRONMENT, "aws-sm", a_backend("aws-sm", aws={"region": "eu-west-1"}))
    connection = await declared.connection("legacy", "vault://kv/legacy#password")
    tasks, dataset = TaskBackends(declared.store), worker_pb2.DatasetWork(source=connection, target=connection)
    for task in (
        worker_pb2.Task(test=worker_pb2.TestWork(connection=connection)),
        worker_pb2.Task(copy=worker_pb2.CopyWork(dataset=dataset)),
        worker_pb2.Task(publish=worker_pb2.PublishWork(datasets=[dataset])),
    ):
        await tasks.bring(task)
        assert set(task.secret_backends) == {"vault", "env"}
        assert task.secret_backends["vault"] == pb.SecretBackend(vault=json_format.ParseDict(VAULT, pb.VaultBackend()))
    step = worker_pb2.Task(step=worker_pb2.StepWork(key=f"{ENVIRONMENT}/plans/p/runs/r/phases/a/steps/s"))
    step.step.call.headers["authorization"] = "aws-sm://x#token"
    await tasks.bring(step)
    assert set(step.secret_backends) == {"aws-sm"}
    look = await tasks.brought(ENVIRONMENT, "vault", "vault://kv/legacy#password")
    assert set(look.secret_backends) == {"vault", "env"}
    await tasks.bring(look)
    assert set(look.secret_backends) == {"vault", "env"}
