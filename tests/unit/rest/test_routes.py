"""The routes of the contract: every annotated call has one, none has two meanings, and what leads nowhere says what is near."""

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, empty_pb2
from google.protobuf.descriptor import FieldDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from google.api import annotations_pb2, http_pb2
from pymigrate.engine.domain.errors import NotFound
from pymigrate.engine.entrypoints.grpc.server import ADDERS
from pymigrate.engine.entrypoints.rest.bindings import Binding, Routes, bindings_of
from pymigrate.engine.entrypoints.rest.problems import Refused
from pymigrate.engine.entrypoints.rest.server import HIDDEN, contract_routes

ROUTES = contract_routes()
PLAN = "/v1/environments/prod/plans/w"


def example(binding: Binding) -> str:
    """A path that a binding is for."""
    text = "/" + "/".join("some" if segment == "*" else segment for segment in binding.template.segments)
    return f"{text}:{binding.template.verb}" if binding.template.verb else text


def test_every_call_of_every_service_has_a_route_but_those_of_worker_hosts_and_dispatchers() -> None:
    wanted = set()
    for name, (module, _) in ADDERS.items():
        methods = module.DESCRIPTOR.services_by_name[name].methods
        for method in methods:
            assert method.GetOptions().HasExtension(annotations_pb2.http), method.full_name
        if name not in HIDDEN:
            wanted |= {method.full_name for method in methods}
    assert {binding.method.full_name for binding in ROUTES.bindings} == wanted


@pytest.mark.parametrize("binding", ROUTES.bindings, ids=lambda binding: str(binding.method.name))
def test_each_path_and_method_lead_to_one_call(binding: Binding) -> None:
    found, variables = ROUTES.find(binding.http_method, example(binding))
    assert found is binding
    assert set(variables) == {variable.field for variable in binding.template.variables}
    others = [
        other
        for other in ROUTES.bindings
        if other is not binding
        and (other.http_method, other.template.verb, len(other.template.segments))
        == (binding.http_method, binding.template.verb, len(binding.template.segments))
    ]
    for other in others:
        pairs = zip(binding.template.segments, other.template.segments, strict=True)
        assert any("*" not in pair and len(set(pair)) == 2 for pair in pairs), (
            f"{binding.template} and {other.template}"
        )


@pytest.mark.parametrize("binding", ROUTES.bindings, ids=lambda binding: str(binding.method.name))
def test_every_field_of_a_request_can_be_given(binding: Binding) -> None:
    if binding.body == "*":
        return
    taken = {variable.field.partition(".")[0] for variable in binding.template.variables} | {binding.body}
    assert {field.name for field in binding.input.fields} - taken == set(binding.query_fields())


@pytest.mark.parametrize("binding", ROUTES.bindings, ids=lambda binding: str(binding.method.name))
def test_every_variable_is_a_text_field_of_the_request(binding: Binding) -> None:
    for variable in binding.template.variables:
        message = binding.input
        *outer, last = variable.field.split(".")
        for name in outer:
            message = message.fields_by_name[name].message_type
        assert message.fields_by_name[last].type == FieldDescriptor.TYPE_STRING


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (f"{PLAN}:validat", "did you mean `validate`"),
        ("/v1/environments/prod/plan", "did you mean `plans`"),
        ("/v2/environments", "there are `v1`"),
        ("/v1/enviroments/prod", "did you mean `environments`"),
        ("/v1/environments/prod%2Fplans%2Fw", "no path is written"),
        ("/nothing/at/all", "openapi"),
    ],
)
def test_a_path_that_leads_nowhere_is_told_with_the_nearest(raw: str, says: str) -> None:
    with pytest.raises(NotFound, match=says):
        ROUTES.find("GET", raw)


def test_a_method_that_a_path_does_not_have_is_told_with_those_that_it_has() -> None:
    with pytest.raises(Refused) as refused:
        ROUTES.find("PUT", PLAN)
    assert refused.value.status == 405
    assert refused.value.headers == {"allow": "DELETE, GET, PATCH"}


def test_head_asks_for_what_get_does_but_never_for_a_stream() -> None:
    assert ROUTES.find("HEAD", PLAN)[0].method.name == "GetPlan"
    with pytest.raises(Refused):
        ROUTES.find("HEAD", f"{PLAN}/runs/r:watch")


def annotated(rule: http_pb2.HttpRule) -> ServiceDescriptor:
    """A service with one call that carries the annotation."""
    file = descriptor_pb2.FileDescriptorProto(name="test/boxes.proto", package="test", syntax="proto3")
    file.dependency.append("google/protobuf/empty.proto")
    empty = ".google.protobuf.Empty"
    method = file.service.add(name="Boxes").method.add(name="Get", input_type=empty, output_type=empty)
    extension: Any = annotations_pb2.http
    method.options.Extensions[extension].CopyFrom(rule)
    pool: Any = DescriptorPool()
    pool.AddSerializedFile(empty_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    found: ServiceDescriptor = pool.FindServiceByName("test.Boxes")
    return found


def test_an_additional_binding_is_a_route_of_its_own() -> None:
    rule = http_pb2.HttpRule(get="/v1/boxes", additional_bindings=[http_pb2.HttpRule(post="/v1/boxes:find", body="*")])
    routes = Routes(bindings_of([annotated(rule)]))
    assert routes.find("GET", "/v1/boxes")[0].body == ""
    assert routes.find("POST", "/v1/boxes:find")[0].body == "*"


@pytest.mark.parametrize(
    "rule",
    [
        http_pb2.HttpRule(),
        http_pb2.HttpRule(get="/v1/**"),
        http_pb2.HttpRule(post="/v1/boxes", body="box"),
        http_pb2.HttpRule(get="/v1/boxes", response_body="box"),
    ],
)
def test_an_annotation_that_can_not_be_served_is_refused_at_the_start(rule: http_pb2.HttpRule) -> None:
    with pytest.raises(ValueError, match=r"Boxes|template|segment"):
        list(bindings_of([annotated(rule)]))
