"""The CustomResourceDefinitions: what is committed, how large they are, and what they say of fields."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import pytest
from google.protobuf import struct_pb2

from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS
from pymigrate.engine.application.revisions import phase_hash
from pymigrate.engine.entrypoints import structural_schemas
from pymigrate.engine.entrypoints.custom_resources import RUN, SHORT_NAMES, as_yaml, custom_resource_definitions
from pymigrate.engine.entrypoints.rest.comments import contract_comments
from pymigrate.engine.entrypoints.structural_schemas import StructuralSchemas
from pymigrate.engine.main.checking import check_files
from pymigrate.v1 import custom_resource_pb2, plan_pb2
from pymigrate.v1.definition_pb2 import DefinitionFile
from tools.custom_resources import FOLDER, rendered

DEFINITIONS = custom_resource_definitions()
ANNOTATION_BYTES_MAX = 262_144


def schema_of(word: str) -> dict[str, Any]:
    found: dict[str, Any] = DEFINITIONS[word]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def parts(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every schema within one, by where it stands."""
    waiting = [(path, schema)]
    while waiting:
        place, found = waiting.pop()
        yield place, found
        waiting += [(f"{place}.{name}", each) for name, each in found.get("properties", {}).items()]
        waiting += [(f"{place}[]", found[key]) for key in ("items", "additionalProperties") if key in found]


EVERY_PART = [(f"{word}{place}", part) for word in DEFINITIONS for place, part in parts(schema_of(word))]


def test_there_is_one_for_every_kind_and_for_runs() -> None:
    assert set(DEFINITIONS) == {*DEFINITION_KINDS, RUN}
    assert len(set(SHORT_NAMES.values())) == len(DEFINITIONS)


def test_the_guide_names_every_kind_with_its_short_name() -> None:
    guide = (FOLDER.parents[2] / "docs" / "kubernetes_resources.md").read_text()
    assert dict(re.findall(r"^\| `(\w+)` \| `(pm\w+)` \|", guide, re.MULTILINE)) == SHORT_NAMES


def test_what_is_committed_is_what_the_contract_says() -> None:
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == rendered()


@pytest.mark.parametrize("word", DEFINITIONS)
def test_each_fits_into_the_annotation_of_plain_kubectl_apply(word: str) -> None:
    assert len(as_yaml(DEFINITIONS[word]).encode()) < ANNOTATION_BYTES_MAX / 2


def test_every_field_is_described_in_the_words_of_yaml() -> None:
    fields = [
        (place, part) for place, part in EVERY_PART if re.search(r"\.(spec|status)\b", place) and place[-1] != "]"
    ]
    assert [place for place, part in fields if not part.get("description")] == []
    told = {place: part["description"] for place, part in fields}
    assert [
        place for place, text in told.items() if re.search(r"Output only|phase calls|by call\b|field mask|etag", text)
    ] == []
    names = {
        field.name
        for message in (custom_resource_pb2.RunSpec, custom_resource_pb2.LaneScaling, plan_pb2.Dataset)
        for field in message.DESCRIPTOR.fields
        if "_" in field.name and field.name != "dry_run"
    }
    assert [place for place, text in told.items() if names & set(re.findall(r"`(\w+)`", text))] == []


def test_what_the_engine_says_is_no_part_of_a_spec() -> None:
    said = {"uid", "etag", "createTime", "updateTime", "managedBy", "planHash", "definitionHash", "name"}
    assert said.isdisjoint(schema_of("Plan")["properties"]["spec"]["properties"])
    phase = schema_of("Plan")["properties"]["spec"]["properties"]["phases"]["additionalProperties"]
    assert said.isdisjoint(phase["properties"])


def test_words_that_replace_comments_and_bounds_are_of_things_that_there_are() -> None:
    tables = (
        structural_schemas.WORDING,
        structural_schemas.REQUIRED,
        structural_schemas.NARROWED,
        structural_schemas.DEFAULTS,
        structural_schemas.KEYS,
    )
    known = contract_comments()
    assert [name for table in tables for name in table if f"pymigrate.v1.{name}" not in known] == []


def test_defaults_are_what_the_contract_says_of_the_unset() -> None:
    """Only of runs, and each the value that its comment names."""
    given = {place: part["default"] for place, part in EVERY_PART if "default" in part}
    assert {place.split(".")[0] for place in given} == {RUN}
    comments = contract_comments()
    for name, value in structural_schemas.DEFAULTS.items():
        comment = comments[f"pymigrate.v1.{name}"]
        assert f"Unspecified means `{value}`" in comment or f"0 means {value}" in comment or f"{value}: " in comment


def test_a_default_in_a_definition_would_be_another_plan() -> None:
    """Which is why no definition has any."""
    unsaid = plan_pb2.Phase(department="sales")
    said = plan_pb2.Phase(department="sales", downtime_policy=plan_pb2.DOWNTIME_POLICY_OFFLINE)
    assert phase_hash(unsaid, {}) != phase_hash(said, {})


def test_what_holds_itself_is_kept_as_it_is_where_it_comes_again() -> None:
    found = StructuralSchemas({}, is_status=False).reference(struct_pb2.Struct.DESCRIPTOR)
    value = found["properties"]["fields"]["additionalProperties"]
    again = value["properties"]["structValue"]
    assert again["x-kubernetes-preserve-unknown-fields"] is True
    assert again["description"]
    assert "properties" not in again


ENVIRONMENT = {"apiVersion": "pymigrate.io/v1alpha1", "kind": "Environment", "metadata": {"name": "x"}}
MOVED = {"source": {"connection": "c", "relation": "a"}, "target": {"connection": "c", "relation": "b"}}
INCOMPLETE = [
    ("Connection", {}),
    ("SecretBackend", {}),
    ("SecretBackend", {"vault": {"address": "https://vault"}}),
    ("Silence", {}),
    ("Plan", {"phases": {"p": {"datasets": {"a": {**MOVED, "transforms": [{}]}}}}}),
    ("Plan", {"phases": {"p": {"downtimePolicy": "online", "datasets": {"a": {**MOVED, "catchUp": {}}}}}}),
]


@pytest.mark.parametrize(("word", "spec"), INCOMPLETE)
def test_what_a_resource_must_have_the_engine_demands_too(word: str, spec: dict[str, Any]) -> None:
    schema = schema_of(word)["properties"]["spec"]
    assert not jsonschema.Draft7Validator(schema).is_valid(spec)
    definition = {**ENVIRONMENT, "kind": word, "metadata": {"name": "y", "environment": "x"}, "spec": spec}
    files = [
        DefinitionFile(path=f"{at}.json", content=json.dumps(each).encode())
        for at, each in enumerate((ENVIRONMENT, definition))
    ]
    told = [problem.description for problem in check_files(files, "").problems]
    assert [text for text in told if re.search(r"set one of|set `logical` or|is required: say", text)]
