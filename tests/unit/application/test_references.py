"""References to secrets are told from what only looks like one, and found wherever a definition holds one."""

import re
from pathlib import Path

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.application.references import (
    ALWAYS,
    SOMETIMES,
    URL_SCHEMES,
    is_reference,
    needed_backends,
    references_in,
    secret_problems,
    undeclared_problems,
)
from pymigrate.engine.ports.secrets import WELL_KNOWN_SCHEMES
from pymigrate.v1 import connection_pb2, git_source_pb2, notification_pb2, plan_pb2, secret_backend_pb2, worker_pb2

MESSAGES = {
    name: descriptor
    for module in (connection_pb2, git_source_pb2, notification_pb2, plan_pb2, secret_backend_pb2, worker_pb2)
    for name, descriptor in module.DESCRIPTOR.message_types_by_name.items()
}
BESIDE = {("TestSecretBackendRequest", "reference"), ("TestWork", "secret_version")}  # of calls, not of definitions


@pytest.mark.parametrize(
    "text",
    [
        "env://PG_PASSWORD",
        "env://JSON#key",
        "file:///run/secrets/pg",
        "file:///run/secrets.json#pg",
        "vault://kv/legacy#password",
        "vault://team/kv/a/b/c#password",
        "vault://transit/decrypt/key#vault:v1:aGk=",
        "aws-sm://prod/legacy#password",
        "aws-sm://arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/legacy-AbCdEf#password",
        "aws-sm://whole-text",
        "k8s://team-a/legacy.db#password",
        "corp-safe://legacy#password",
    ],
)
def test_references_of_every_shape_are_some(text: str) -> None:
    assert is_reference(text)
    assert not list(secret_problems("password", text))


@pytest.mark.parametrize(
    "text",
    [
        "hunter2",
        "env://",
        "env://1X",
        "env://A B",
        "file://relative",
        "file:///a#b c",
        "vault://legacy",
        "vault://kv/",
        "vault://kv//x",
        "k8s://legacy#password",
        "k8s://ns/name",
        "k8s://NS/name#a",
        "aws-sm://a b",
        "https://user:hunter2@host",
        "slack://tokenA/tokenB",
        "postgresql://reader:hunter2@db/x",
        "Vault://kv/a#b",
        "://x",
    ],
)
def test_what_is_no_reference_is_none_and_is_not_repeated(text: str) -> None:
    assert not is_reference(text)
    assert all(text not in problem.description for problem in secret_problems("password", text) if text != "env://")
    assert [problem.field for problem in secret_problems("password", text)] == ["password"]


@given(st.text(min_size=1).filter(lambda text: "://" not in text))
def test_nothing_without_a_scheme_is_a_reference(text: str) -> None:
    assert not is_reference(text)


def test_the_tables_name_fields_of_the_contract_and_every_field_that_its_comments_call_a_reference() -> None:
    for message, field in ALWAYS | SOMETIMES:
        assert field in MESSAGES[message].fields_by_name
    assert not URL_SCHEMES & WELL_KNOWN_SCHEMES
    said = set[tuple[str, str]]()
    for file in ("connection", "notification", "plan", "secret_backend", "worker", "git_source"):
        text = (Path(connection_pb2.__file__).parent / f"{file}.proto").read_text()
        for body in re.finditer(r"^message (\w+) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
            for comment, field in re.findall(r"((?:^ +//[^\n]*\n)+) +[\w<>, .]+ (\w+) = \d+", body[2], re.MULTILINE):
                words = " ".join(comment.replace("//", " ").split())
                if re.search(
                    r"[Rr]eferences? (to|such)|secret reference|a reference|(must|may) be a? ?references?", words
                ):
                    said.add((body[1], field))
    foreign = {(message, field) for message, field in said if message in {"Reference", "Dataset", "ForeignKey"}}
    assert said - foreign - BESIDE <= ALWAYS | SOMETIMES


def a_phase() -> plan_pb2.Phase:
    phase = {
        "datasets": {
            "orders": {
                "transforms": [
                    {"drop": {"columns": ["vault://kv/x#y"]}},
                    {"mask": {"key": "vault://kv/mask#key", "columns": {}}},
                ]
            }
        },
        "steps": {
            "tell": {
                "call": {"url": "https://x", "headers": {"authorization": "corp://x#y", "x-to": "https://x"}},
                "undo": {"headers": {"authorization": "env://TOKEN"}},
            }
        },
    }
    return json_format.ParseDict(phase, plan_pb2.Phase())


def test_references_are_found_with_their_fields_wherever_they_are() -> None:
    found = {(field, str(ref), is_always) for field, ref, is_always in references_in(a_phase(), {"corp"})}
    assert found == {
        ("datasets.orders.transforms[1].mask.key", "vault://kv/mask#key", True),
        ("steps.tell.call.headers.authorization", "corp://x#y", False),
        ("steps.tell.undo.headers.authorization", "env://TOKEN", False),
    }
    assert "corp" not in {ref.scheme for _, ref, _ in references_in(a_phase(), ())}


def test_a_scheme_without_a_backend_is_a_problem_with_its_field_and_what_to_declare() -> None:
    problems = list(undeclared_problems(a_phase(), {"vaults", "corp"}, prefix="phases.sales."))
    assert [problem.field for problem in problems] == ["phases.sales.datasets.orders.transforms[1].mask.key"]
    assert "no secret backend `vault` in this environment; did you mean `vaults`?" in problems[0].description
    assert "declare secretBackends/vault" in problems[0].description
    assert not list(undeclared_problems(a_phase(), {"corp"}, known=WELL_KNOWN_SCHEMES))


def test_a_message_needs_the_backends_of_its_references_and_of_their_own() -> None:
    declared = {scheme: secret_backend_pb2.SecretBackend() for scheme in ("vault", "aws-sm", "file", "corp")}
    declared["env"] = secret_backend_pb2.SecretBackend(env=secret_backend_pb2.EnvBackend(prefix="P_"))
    declared["vault"].vault.app_role.secret_id = "file:///run/secrets/vault"
    connection = connection_pb2.Connection()
    connection.postgres.password = "vault://kv/legacy#password"
    assert needed_backends(connection, declared).keys() == {"vault", "file"}
    connection.postgres.user = "corp://x#y"
    assert needed_backends(connection, declared).keys() == {"vault", "file", "corp"}
    connection.postgres.password = "env://PG"
    connection.postgres.user = "reader"
    assert needed_backends(connection, declared).keys() == {"env"}
    assert not needed_backends(connection_pb2.Connection(), declared)
