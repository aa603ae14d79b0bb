"""The provider's schemas are held to the contract: every field is there with its type, and what is left out is named here."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from tf.gen import tfplugin_pb2 as pb

from pymigrate.provider.declared import DeclaredResource
from pymigrate.provider.engine import MODULES
from pymigrate.provider.provider import PymigrateProvider
from tests.unit.provider.schemas import served

DECLARED = [each for each in PymigrateProvider().get_resources() if issubclass(each, DeclaredResource)]
# What the engine alone tells, and no configuration needs; a plan's phases are resources of their own; where a source stands changes with
# every commit.
LEFT_OUT = {"etag", "create_time", "update_time", "managed_by", "plan_hash"}
ALSO_LEFT_OUT = {"plan": {"phases"}, "git_source": {"status"}}
# A token is told once, and a state would keep it.
NO_RESOURCES = {"ServiceToken"}
NUMBERS = {"int32", "int64", "uint32", "uint64", "double", "float"}
NAMES = {
    value: name.removeprefix("TYPE_").lower()
    for name, value in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}


def attributes(resource: Any) -> dict[str, Any]:
    """A resource's attributes on the wire."""
    block = served().resource_schemas[f"pymigrate_{resource.get_name()}"].block
    return {attribute.name: attribute for attribute in block.attributes}


def differences(descriptor: Descriptor, found: dict[str, Any], path: str = "") -> Iterator[str]:
    """Where attributes are not what the fields of a message say."""
    for field in descriptor.fields:
        place = f"{path}{field.name}"
        if field.name not in found:
            yield f"{place} is missing"
            continue
        yield from _difference(field, found[field.name], place)
    yield from (f"{path}{name} is none of its fields" for name in found.keys() - descriptor.fields_by_name.keys())


def _difference(field: FieldDescriptor, attribute: Any, place: str) -> Iterator[str]:
    message = field.message_type
    is_map = message is not None and message.GetOptions().map_entry
    inner = message.fields_by_name["value"] if is_map else field
    held = inner.message_type
    if held is not None and held.fields and held.full_name != "google.protobuf.Timestamp":
        nesting = "MAP" if is_map else "LIST" if field.label == FieldDescriptor.LABEL_REPEATED else "SINGLE"
        if attribute.nested_type.nesting != getattr(pb.Schema.Object, nesting):
            yield f"{place} does not nest as {nesting}"
        yield from differences(held, {each.name: each for each in attribute.nested_type.attributes}, f"{place}.")
        return
    word = _word(inner)
    if is_map:
        word = ["map", word]
    elif field.label == FieldDescriptor.LABEL_REPEATED:
        word = ["list", word]
    if json.loads(attribute.type) != word:
        yield f"{place} is {attribute.type.decode()}, not {word}"


def _word(field: FieldDescriptor) -> Any:
    name = NAMES[field.type]
    if name == "message" and not field.message_type.fields:
        return ["map", "string"]  # an object without fields: that it is there is all it says
    return "number" if name in NUMBERS else "bool" if name == "bool" else "string"


@pytest.mark.parametrize("resource", DECLARED, ids=lambda each: each.get_name())
def test_a_resource_has_exactly_the_fields_of_its_message(resource: Any) -> None:
    kind = resource.declaration
    found = attributes(resource)
    own = {f"{kind.noun}_id", kind.parent} - {""}
    left_out = LEFT_OUT | ALSO_LEFT_OUT.get(kind.noun, set())
    said = [
        line
        for line in differences(kind.message().DESCRIPTOR, {name: found[name] for name in found.keys() - own})
        if line.removesuffix(" is missing") not in left_out
    ]
    assert said == []
    assert own <= found.keys()


@pytest.mark.parametrize("resource", DECLARED, ids=lambda each: each.get_name())
def test_what_only_the_engine_sets_is_computed_and_all_else_can_be_written(resource: Any) -> None:
    for name, attribute in attributes(resource).items():
        is_engines = name in {"name", "uid", *resource.declaration.outputs}
        assert is_engines is not (attribute.required or attribute.optional), name
        assert attribute.computed or not is_engines, name


@pytest.mark.parametrize("resource", DECLARED, ids=lambda each: each.get_name())
def test_what_is_required_or_checked_is_a_field(resource: Any) -> None:
    kind = resource.declaration
    for path in (*kind.required, *kind.checks):
        nested, parts = resource.attributes(), path.split(".")
        for part in parts[:-1]:
            nested = nested[part].nested
        assert parts[-1] in nested, path
        assert nested[parts[-1]].required is (path in kind.required), path


@pytest.mark.parametrize("resource", DECLARED, ids=lambda each: each.get_name())
def test_every_call_of_a_resource_is_one_of_its_service(resource: Any) -> None:
    kind = resource.declaration
    methods = kind.module.DESCRIPTOR.services_by_name[kind.service].methods_by_name
    assert kind.service in MODULES
    for verb, answer in (("Create", kind.title), ("Get", kind.title), ("Update", kind.title), ("Delete", "Empty")):
        assert methods[f"{verb}{kind.title}"].output_type.name == answer
        assert kind.request(verb).DESCRIPTOR is methods[f"{verb}{kind.title}"].input_type


def test_everything_that_can_be_declared_is_a_resource() -> None:
    found = {
        method.name.removeprefix("Create")
        for resource in DECLARED
        for service in resource.declaration.module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if method.name.startswith("Create")
    }
    assert found - NO_RESOURCES == {resource.declaration.title for resource in DECLARED}
