"""The JSON Schemas of definitions: valid themselves, and of one mind with the engine on what is shown and on what is wrong."""

import json
import re
from typing import Any

import jsonschema
import pytest

from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS
from pymigrate.engine.application.gitops.documents import Documents
from pymigrate.engine.application.gitops.envelopes import read_definitions
from pymigrate.engine.entrypoints.definition_schemas import ALL, definition_schemas
from pymigrate.v1.definition_pb2 import DefinitionFile
from tests.definitions import shown_definitions
from tools.definition_schemas import FOLDER, rendered

SCHEMAS = definition_schemas()
VALIDATORS = {name: jsonschema.Draft7Validator(schema) for name, schema in SCHEMAS.items()}
SHOWN = [
    pytest.param(document.data, name, content, id=f"{where}+{document.line}")
    for where, name, content in shown_definitions()
    for document in Documents(name, content).documents
]


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_is_a_schema(name: str) -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMAS[name])


def test_there_is_one_for_every_kind_and_one_for_all() -> None:
    assert set(SCHEMAS) == {*DEFINITION_KINDS, ALL}


def test_what_is_committed_is_what_the_contract_says() -> None:
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == rendered()


def test_definitions_are_shown() -> None:
    assert len(SHOWN) > 40


@pytest.mark.parametrize(("data", "name", "content"), SHOWN)
def test_what_is_shown_is_valid_to_the_schemas_and_to_the_engine(
    data: dict[str, Any], name: str, content: bytes
) -> None:
    for schema in (data["kind"], ALL):
        assert [f"{error.json_path}: {error.message}" for error in VALIDATORS[schema].iter_errors(data)] == []
    assert list(read_definitions([DefinitionFile(path=name, content=content)], "shown").problems) == []


def document(kind: str, spec: Any, **metadata: Any) -> dict[str, Any]:
    """A definition."""
    return {
        "apiVersion": "pymigrate.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": "x", **metadata},
        "spec": spec,
    }


def is_read(data: Any) -> bool:
    """Whether the engine reads it as a definition."""
    scope = "" if data["kind"] == "GitSource" else "x"
    return not read_definitions([DefinitionFile(path="a.json", content=json.dumps(data).encode())], scope).problems


BAD = {
    "an unknown field": document("Department", {"ownr": "Ann"}),
    "an unknown field below": document("Plan", {"phases": {"a": {"datasets": {"o": {"lans": 1}}}}}),
    "a wrong kind of value": document("Department", {"owner": 7}),
    "text for a truth": document("Environment", {"isTemplate": "yes"}),
    "a fraction": document("Environment", {"lanesMax": 1.5}),
    "no number": document("Environment", {"lanesMax": "many"}),
    "an unknown word": document("Plan", {"phases": {"a": {"downtimePolicy": "some"}}}),
    "a number for a word": document("Plan", {"phases": {"a": {"downtimePolicy": 1}}}),
    "two systems": document("Connection", {"sqlite": {"path": "/a"}, "duckdb": {"path": "/b"}}),
    "what the engine says": document("Department", {"uid": "1"}),
    "what the engine says of a phase": document("Plan", {"phases": {"a": {"definitionHash": "1"}}}),
    "the status of a source": document("GitSource", {"status": {}}),
    "a list for a map": document("Plan", {"phases": []}),
    "a map for a list": document("Environment", {"bases": {}}),
    "an unknown kind": document("Departments", {}),
    "another version": {**document("Department", {}), "apiVersion": "v1"},
    "no metadata": {"apiVersion": "pymigrate.io/v1alpha1", "kind": "Department"},
    "no name": {**document("Department", {}), "metadata": {}},
    "no such name": document("Department", {}, name="Sales"),
    "an environment within one": document("Environment", {}, environment="e"),
    "a key of the envelope": {**document("Department", {}), "status": {}},
    "a key of the metadata": document("Department", {}, annotations={}),
    "labels of what has none": document("Silence", {}, labels={"a": "b"}),
    "a label that is no text": document("Department", {}, labels={"a": 1}),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_what_the_engine_does_not_read_is_refused_by_the_schemas(data: dict[str, Any]) -> None:
    assert not is_read(data)
    assert not VALIDATORS[ALL].is_valid(data)
    if data["kind"] in VALIDATORS:
        assert not VALIDATORS[data["kind"]].is_valid(data)


@pytest.mark.parametrize(
    "spec", [{"lanesMax": 4}, {"lanesMax": "4"}, {"rollbackWindowSeconds": "604800"}, {"rollbackWindowSeconds": -1}]
)
def test_whole_numbers_may_be_numbers_or_texts_of_digits(spec: dict[str, Any]) -> None:
    assert is_read(document("Plan", spec))
    assert VALIDATORS["Plan"].is_valid(document("Plan", spec))


@pytest.mark.parametrize(
    ("kind", "spec", "too_much"),
    [
        ("Environment", {"policy": {"approvalsMin": 10}}, {"policy": {"approvalsMin": 11}}),
        ("GitSource", {"url": "u", "intervalSeconds": 0}, {"url": "u", "intervalSeconds": 86_401}),
        ("Department", {"displayName": "x" * 200}, {"displayName": "x" * 201}),
        ("AlertRule", {"escalations": [{}] * 10}, {"escalations": [{}] * 11}),
        ("Department", {"labels": {str(at): "" for at in range(64)}}, {"labels": {str(at): "" for at in range(65)}}),
        ("Connection", {"http": {"baseUrl": "u", "retriesMax": -1}}, {"http": {"baseUrl": "u", "retriesMax": -2}}),
    ],
)
def test_bounds_that_the_contract_gives_as_numbers_hold(kind: str, spec: Any, too_much: Any) -> None:
    assert VALIDATORS[kind].is_valid(document(kind, spec))
    assert not VALIDATORS[kind].is_valid(document(kind, too_much))


def test_fields_are_told_with_what_the_contract_says_of_them() -> None:
    owner = SCHEMAS["Department"]["definitions"]["Department"]["properties"]["owner"]
    assert owner["description"].startswith("Who answers for it")
    assert SCHEMAS["Department"]["description"]


def test_the_schemas_that_examples_name_to_editors_are_there() -> None:
    named = {
        path: match[1]
        for path in sorted((FOLDER.parent / "examples").rglob("*.yaml"))
        if (match := re.match(r"# yaml-language-server: \$schema=(\S+)", path.read_text()))
    }
    assert named
    assert [str(path) for path, schema in named.items() if not (path.parent / schema).is_file()] == []
