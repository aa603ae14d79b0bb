"""Whatever the contract can say, its custom resource can: it is valid, and nothing of it is pruned."""

import random
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS
from pymigrate.engine.entrypoints.custom_resources import RUN
from pymigrate.v1.custom_resource_pb2 import RunSpec
from pymigrate.v1.shape import from_data, to_json_data
from tests.random_resources import KINDS, filled, messages_of, schemas_of

NESTING = ("oneOf", "anyOf", "allOf", "not")
SCHEMAS = {word: schemas_of(word) for word in KINDS}


def pruned(data: Any, schema: Mapping[str, Any]) -> Any:
    """What an API server keeps."""
    match data:
        case dict() if "additionalProperties" in schema:
            return {name: pruned(value, schema["additionalProperties"]) for name, value in data.items()}
        case dict():
            known = schema.get("properties", {})
            return {name: pruned(value, known[name]) for name, value in data.items() if name in known}
        case list():
            return [pruned(value, schema["items"]) for value in data]
        case _:
            return data


def everywhere(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A schema and all within it that is structural."""
    waiting = [schema]
    while waiting:
        found = waiting.pop()
        yield found
        waiting += [*found.get("properties", {}).values()]
        waiting += [found[key] for key in ("items", "additionalProperties") if key in found]


@pytest.mark.parametrize("word", KINDS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_whatever_the_contract_can_say_is_valid_and_is_kept(word: str, seed: int) -> None:
    for part, message in filled(word, random.Random(seed)).items():
        schema = SCHEMAS[word][part]
        data = to_json_data(message)
        assert [
            f"{error.json_path}: {error.message}" for error in jsonschema.Draft7Validator(schema).iter_errors(data)
        ] == []
        assert pruned(data, schema) == data
        read = type(message)()
        from_data(data, read)
        assert read == message


@pytest.mark.parametrize("word", KINDS)
def test_every_field_that_may_be_set_is_there(word: str) -> None:
    settable = [field.name for field in RunSpec.DESCRIPTOR.fields] if word == RUN else DEFINITION_KINDS[word].settable()
    message = messages_of(word)["spec"].DESCRIPTOR
    wanted = [message.fields_by_name[name].camelcase_name for name in settable]
    assert list(SCHEMAS[word]["spec"]["properties"]) == wanted


@pytest.mark.parametrize("word", KINDS)
def test_each_is_structural(word: str) -> None:
    """As https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema"""
    for part in ("spec", "status"):
        for found in everywhere(SCHEMAS[word][part]):
            assert ("type" in found) != found.get("x-kubernetes-int-or-string", False)
            assert not {"properties", "additionalProperties"} <= set(found)
            assert found.get("additionalProperties") is not False
            assert {"$ref", "definitions", "patternProperties", "const"}.isdisjoint(found)
            assert "items" in found or found.get("type") != "array"
            assert isinstance(found.get("type", ""), str)
            for key in NESTING:
                told = str(found.get(key, ""))
                assert all(word not in told for word in ("type", "description", "default", "properties"))
