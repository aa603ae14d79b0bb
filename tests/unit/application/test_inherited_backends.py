"""Secret backends in layers: inherited and overridden as everything else, kept while something that holds refers to them, and each of one
environment alone."""

import json

import pytest

from pymigrate.engine.application.declared_backends import TaskBackends
from pymigrate.engine.application.inquiries import Inquiries
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.application.revisions import freeze
from pymigrate.engine.domain.errors import FailedPrecondition, InvalidDefinition
from pymigrate.engine.entrypoints.grpc.secret_backends import SecretBackendCalls
from pymigrate.v1 import secret_backend_pb2, worker_pb2
from tests.unit.application.layered import Layered, phase, told, with_base

VAULT = {"address": "https://vault.${region}.example.org", "token": "env://VAULT_TOKEN"}
PASSWORD = {"type": "secret"}


async def with_vault() -> Layered:
    """A template whose Vault is another one in each region, and which refers to nothing in it."""
    layered = Layered()
    await layered.environment(
        "base",
        isTemplate=True,
        parameters={"region": {}, "password": PASSWORD | {"defaultValue": "vault://kv/db#password"}},
    )
    await layered.backend("base", "vault", vault=VAULT, cacheSeconds=60)
    return layered


async def legacy(layered: Layered, environment: str, password: str) -> None:
    await layered.connection(
        environment, "legacy", postgres={"host": "h", "database": "d", "user": "u", "password": password}
    )


async def test_a_task_brings_the_backend_of_its_own_environment_as_the_layers_make_it() -> None:
    layered = await with_vault()
    for name, seconds in (("eu", "5"), ("us", "7")):
        await layered.environment(
            name,
            bases=["base"],
            values={"region": name},
            overrides={
                "secretBackends/vault": {"fields": {"cacheSeconds": seconds, "vault.namespace": "${region}-ns"}}
            },
        )
        await legacy(layered, name, "${password}")
    brought = {}
    for name in ("eu", "us"):
        connection = await layered.held(f"{name}/connections/legacy")
        task = worker_pb2.Task(test=worker_pb2.TestWork(connection=connection))
        await TaskBackends(layered.store).bring(task)
        backend = task.secret_backends["vault"]
        brought[name] = (backend.vault.address, backend.vault.namespace, backend.cache_seconds)
    assert brought == {
        "eu": ("https://vault.eu.example.org", "eu-ns", 5),
        "us": ("https://vault.us.example.org", "us-ns", 7),
    }


async def test_a_backend_stays_while_an_own_connection_refers_to_it_by_a_parameter() -> None:
    layered = await with_vault()
    await layered.environment("prod", parameters={"password": PASSWORD}, values={"password": "vault://kv/db#password"})
    await layered.backend("prod", "vault", vault={"address": "https://vault", "token": "env://VAULT_TOKEN"})
    await legacy(layered, "prod", "${password}")
    with pytest.raises(FailedPrecondition, match="is needed by environments/prod/connections/legacy"):
        await layered.delete("prod/secretBackends/vault")


async def test_a_backend_of_a_base_stays_while_an_heir_refers_to_it() -> None:
    layered = await with_vault()
    await layered.environment("prod", bases=["base"], values={"region": "eu"})
    await legacy(layered, "prod", "vault://kv/db#password")
    needed = "environments/prod/secretBackends/vault is needed by environments/prod/connections/legacy"
    with pytest.raises(FailedPrecondition, match=needed):
        await layered.delete("base/secretBackends/vault")
    with pytest.raises(FailedPrecondition, match=needed):
        await layered.environment(
            "prod",
            bases=["base"],
            values={"region": "eu"},
            overrides={"secretBackends/vault": {"isExcluded": True}},
        )
    with pytest.raises(FailedPrecondition, match=needed):
        await layered.environment("prod")
    await layered.delete("prod/connections/legacy")
    await layered.delete("base/secretBackends/vault")
    assert await layered.names("prod") == []


async def test_a_backend_goes_with_the_inherited_connection_that_refers_to_it() -> None:
    layered = await with_vault()
    await legacy(layered, "base", "vault://kv/db#password")
    await layered.environment("prod", bases=["base"], values={"region": "eu"})
    assert await layered.names("prod") == ["connections/legacy", "secretBackends/vault"]
    await layered.environment("prod")
    assert await layered.names("prod") == []


async def test_a_backend_of_one_environment_is_none_of_another() -> None:
    layered = Layered()
    for name in ("dev", "prod"):
        await layered.environment(name)
        await layered.department(name, "sales")
    await layered.backend("prod", "corp", env={"prefix": "CORP_"})
    await layered.backend("prod", "vault", vault={"address": "https://vault", "token": "env://VAULT_TOKEN"})
    with pytest.raises(InvalidDefinition, match="there is no secret backend `corp`"):
        await legacy(layered, "dev", "corp://PASSWORD")
    await legacy(layered, "dev", "vault://kv/db#password")
    await layered.connection("dev", "warehouse", duckdb={"path": "/w.duckdb"})
    await layered.plan("dev", "p", phases={"orders": phase()})
    connection = await layered.held("dev/connections/legacy")
    with pytest.raises(InvalidDefinition, match="declare secretBackends/vault"):
        await TaskBackends(layered.store).require("environments/dev", connection)
    task = worker_pb2.Task(test=worker_pb2.TestWork(connection=connection))
    await TaskBackends(layered.store).bring(task)
    assert dict(task.secret_backends) == {}

    def problems(unit):  # type: ignore[no-untyped-def]  # a unit of work
        return freeze(unit, unit.resources.get("environments/dev/plans/p"))[1]

    assert [each.field for each in await layered.in_unit(problems)] == ["connections.legacy.postgres.password"]


async def test_a_backend_of_a_template_is_not_tried() -> None:
    layered = await with_vault()
    inquiries = Inquiries(lambda: "id", lambda: None)
    calls = SecretBackendCalls(layered.store, layered.catalog, Requests(layered.clock), inquiries)
    asked = secret_backend_pb2.TestSecretBackendRequest(name="environments/base/secretBackends/vault")
    with pytest.raises(FailedPrecondition, match="environments/base is a template, in which nothing runs"):
        await calls.TestSecretBackend(asked, None)


async def test_a_scheme_of_nobody_is_refused_in_phases_too_in_a_plan_and_in_an_override() -> None:
    layered = await with_base()
    await layered.environment("prod", bases=["base"], values={"host": "db"})
    masked = phase()
    masked["datasets"]["orders"]["transforms"] = [
        {"mask": {"columns": {"iban": {"method": "hash"}}, "key": "nowhere://masks#key"}}
    ]
    with pytest.raises(InvalidDefinition) as refused:
        await layered.plan("prod", "mine", phases={"orders": masked})
    assert (
        "there is no secret backend `nowhere`"
        in told(refused.value)["plan.phases.orders.datasets.orders.transforms[0].mask.key"]
    )
    transforms = json.dumps(masked["datasets"]["orders"]["transforms"])
    override = {"plans/p/phases/orders": {"fields": {"datasets.orders.transforms": transforms}}}
    with pytest.raises(InvalidDefinition) as refused:
        await layered.environment("prod", bases=["base"], values={"host": "db"}, overrides=override)
    assert list(told(refused.value)) == ["plans/p/phases/orders.datasets.orders.transforms[0].mask.key"]
