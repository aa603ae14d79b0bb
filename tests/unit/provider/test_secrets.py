"""A secret that is written where a reference belongs is refused before it can reach a plan or a state, and never repeated."""

from typing import Any

import pytest

from pymigrate.engine.application.connection_definitions import connection_problems
from pymigrate.provider.contract import to_message
from pymigrate.provider.resources.connection import ConnectionResource
from pymigrate.provider.sdk.values import Unknown
from pymigrate.v1 import connection_pb2
from tests.unit.provider.schemas import full, refused, resource

CONNECTION = {"environment": "environments/prod", "connection_id": "crm"}
SERVER = {"host": "db", "database": "crm", "user": "reader"}
WRITTEN = "hunter2"


def connection(**systems: Any) -> list[str]:
    """What is said of a connection."""
    parts = ConnectionResource.attributes()
    whole = {name: dict.fromkeys(parts[name].nested) | system for name, system in systems.items()}
    return refused("pymigrate_connection", **CONNECTION, **whole)


@pytest.mark.parametrize(
    ("system", "values", "place"),
    [
        ("postgres", {**SERVER, "password": WRITTEN}, "postgres"),
        ("mysql", {**SERVER, "password": WRITTEN}, "mysql"),
        ("sqlalchemy", {"url": "sqlite://", "password": WRITTEN}, "sqlalchemy"),
        ("sqlalchemy", {"url": f"oracle+oracledb://reader:{WRITTEN}@host:1521/"}, "sqlalchemy"),
        ("files", {"root": f"sftp://reader:{WRITTEN}@host/exports"}, "files"),
        ("files", {"root": "s3://exports", "options": {"secret": WRITTEN}}, "files"),
        ("files", {"root": "s3://exports", "options": {"client_kwargs": f'{{"aws_token": "{WRITTEN}"}}'}}, "files"),
        ("http", {"base_url": "https://api", "headers": {"Authorization": f"Bearer {WRITTEN}"}}, "http"),
        ("http", {"base_url": f"https://reader:{WRITTEN}@api/"}, "http"),
        ("plugin", {"kind": "lines", "options": {"api_key": WRITTEN}}, "plugin"),
    ],
)
def test_a_secret_of_a_connection_is_refused_at_its_place_and_not_repeated(
    system: str, values: dict[str, Any], place: str
) -> None:
    (wrong,) = connection(**{system: values})
    assert wrong.startswith(f"{place}: {place}.")
    assert WRITTEN not in wrong


@pytest.mark.parametrize(
    ("system", "values"),
    [
        ("postgres", {**SERVER, "password": "env://CRM_PASSWORD"}),
        ("mysql", {**SERVER, "password": "file:///run/secrets/crm#password"}),
        ("postgres", {**SERVER, "password": Unknown}),
        ("sqlalchemy", {"url": "oracle+oracledb://reader@host:1521/?service_name=erp"}),
        ("files", {"root": "s3://exports", "options": {"secret": "env://SECRET", "anon": "false"}}),
        ("files", {"root": "s3://exports", "options": {"secret": Unknown}}),
        ("files", {"root": "/srv/a:b@c"}),
        ("http", {"base_url": "https://api", "headers": {"Authorization": "env://API", "Accept": "text/csv"}}),
    ],
)
def test_a_reference_and_what_is_no_secret_and_what_is_not_known_yet_are_taken(
    system: str, values: dict[str, Any]
) -> None:
    assert connection(**{system: values}) == []


@pytest.mark.parametrize(
    ("system", "field", "names"),
    [
        ("files", "options", ["key", "secret", "Account_Key", "sas", "sas_url", "keyed", "anon", "my_passphrase"]),
        ("plugin", "options", ["credentials", "signature_version", "connection_string", "token_file", "root"]),
        (
            "http",
            "headers",
            ["Cookie", "x-api-key", "API-Key", "Proxy-Authorization", "X-Auth-Token", "Accept", "X-Token-Kind"],
        ),
    ],
)
def test_engine_and_provider_hold_the_same_names_for_secrets(system: str, field: str, names: list[str]) -> None:
    base = {"files": {"root": "s3://exports"}, "plugin": {"kind": "lines"}, "http": {"base_url": "https://api"}}
    for name in names:
        config = full("pymigrate_connection", **CONNECTION, **{system: {**base[system], field: {name: WRITTEN}}})
        message = connection_pb2.Connection()
        to_message(config, message, ConnectionResource.attributes())
        told = {problem.field for problem in connection_problems(message)}
        assert bool(connection(**{system: {**base[system], field: {name: WRITTEN}}})) == (
            f"{system}.{field}.{name}" in told
        ), name


def test_secrets_of_a_phase_are_references_too() -> None:
    parts = resource("pymigrate_phase").attributes()
    call = dict.fromkeys(parts["steps"].nested["call"].nested) | {"url": "https://lb/", "headers": {"X-Token": WRITTEN}}
    step = dict.fromkeys(parts["steps"].nested) | {"call": call}
    dataset = parts["datasets"].nested
    masked = dict.fromkeys(dataset["transforms"].nested) | {
        "mask": {"columns": ["name"], "method": "hash", "key": WRITTEN}
    }
    told = refused(
        "pymigrate_phase",
        plan="environments/prod/plans/warehouse",
        phase_id="sales",
        department="sales",
        steps={"switch": step},
        datasets={"people": dict.fromkeys(dataset) | {"transforms": [masked]}},
    )
    assert sorted(each.partition(":")[0] for each in told) == ["datasets.people", "steps.switch"]
    assert WRITTEN not in "".join(told)
