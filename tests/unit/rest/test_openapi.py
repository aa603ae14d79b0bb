"""The OpenAPI document: valid, whole, and told in the words of the contract."""

from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from pymigrate.engine.entrypoints.rest.bindings import bindings_of
from pymigrate.engine.entrypoints.rest.comments import comments_of, contract_comments
from pymigrate.engine.entrypoints.rest.openapi import document, openapi_path, operation_id
from pymigrate.engine.entrypoints.rest.server import contract_routes
from pymigrate.v1 import kpi_pb2

BINDINGS = contract_routes().bindings
DOCUMENT: dict[str, Any] = document(BINDINGS)


def test_the_document_is_openapi() -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_every_binding_is_an_operation_and_no_other_is() -> None:
    told = {
        (method.upper(), path): operation.get("operationId")
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/v1/")
    }
    assert told == {
        (binding.http_method, openapi_path(binding.template)[0]): operation_id(binding) for binding in BINDINGS
    }
    assert {"/livez", "/readyz"} <= set(DOCUMENT["paths"])


@pytest.mark.parametrize("binding", BINDINGS, ids=lambda binding: str(binding.method.name))
def test_an_operation_tells_its_parameters_in_the_order_of_its_path(binding: Any) -> None:
    path, names = openapi_path(binding.template)
    operation = DOCUMENT["paths"][path][binding.http_method.lower()]
    assert [found["name"] for found in operation["parameters"] if found["in"] == "path"] == names
    assert operation["description"]
    assert all(found["description"] for found in operation["parameters"])
    assert {"400", "401", "500", "503"} < set(operation["responses"])


def test_everything_that_is_described_carries_its_comment() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert schema["description"], name
        for field, told in schema.get("properties", {}).items():
            assert told.get("description"), f"{name}.{field}"


def test_values_are_those_of_the_one_shape() -> None:
    phase, plan = (DOCUMENT["components"]["schemas"][name]["properties"] for name in ("Phase", "Plan"))
    assert phase["downtimePolicy"]["enum"] == ["offline", "read_only", "online"]
    assert plan["phases"]["additionalProperties"] == {"$ref": "#/components/schemas/Phase"}
    assert plan["createTime"]["format"] == "date-time"


def test_a_stream_answers_with_events_and_a_deletion_with_nothing() -> None:
    runs, plans = (
        "/v1/environments/{environment}/plans/{plan}/runs/{run}",
        "/v1/environments/{environment}/plans/{plan}",
    )
    events = DOCUMENT["paths"][f"{runs}:watch"]["get"]["responses"]["200"]["content"]["text/event-stream"]["schema"]
    told = events["properties"]["data"]["contentSchema"]["anyOf"]
    assert told[0] == {"$ref": "#/components/schemas/WatchRunResponse"}
    assert "content" not in DOCUMENT["paths"][plans]["delete"]["responses"]["204"]


def test_every_answer_that_can_come_is_told_by_its_status() -> None:
    def statuses(path: str, method: str) -> set[str]:
        return set(DOCUMENT["paths"][path][method]["responses"])

    always = {"400", "401", "403", "404", "413", "414", "429", "500", "503", "504"}
    run = "/v1/environments/{environment}/plans/{plan}/runs/{run}"
    assert statuses("/v1/environments/{environment}", "get") == always | {"200", "304"}
    assert statuses("/v1/environments/{environment}", "delete") == always | {"204", "409", "412"}
    assert statuses("/v1/environments", "post") == always | {"200", "409", "412", "415"}
    assert statuses(f"{run}:watch", "get") == always | {"200", "409"}
    retried = DOCUMENT["components"]["responses"]["TooManyRequests"]
    assert set(retried["headers"]) == {"Retry-After"}


def test_the_contract_s_own_problem_is_not_hidden_by_problem_details() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert set(schemas["Problem"]["properties"]) == {"field", "description"}
    assert "status" in schemas["ProblemDetails"]["required"]


def test_a_call_that_is_made_in_many_ways_is_told_apart_by_what_it_is_of() -> None:
    bindings = [*bindings_of([kpi_pb2.DESCRIPTOR.services_by_name["KpiService"]])]
    told = [operation_id(binding) for binding in bindings]
    assert len(set(told)) == len(bindings)
    assert {"GetKpis", "GetKpisOfEnvironmentPlanRunPhase", "WatchKpisOfEnvironmentDepartment"} < set(told)
    assert [error.message for error in OpenAPIV31SpecValidator(document(bindings)).iter_errors()] == []


def test_a_message_that_holds_itself_is_told_by_reference() -> None:
    bindings = [*bindings_of([kpi_pb2.DESCRIPTOR.services_by_name["KpiService"]])]
    parts = document(bindings)["components"]["schemas"]["Kpis"]["properties"]["parts"]
    assert parts["items"] == {"$ref": "#/components/schemas/Kpis"}


def test_headers_are_told_where_they_mean_something() -> None:
    def names(path: str, method: str) -> set[str]:
        return {found["name"] for found in DOCUMENT["paths"][path][method]["parameters"] if found["in"] == "header"}

    plans = "/v1/environments/{environment}/plans"
    assert names(plans, "post") == {"Idempotency-Key"}
    assert names(f"{plans}/{{plan}}", "patch") == {"If-Match"}
    assert names(f"{plans}/{{plan}}", "get") == {"If-None-Match"}
    assert names(f"{plans}/{{plan}}/runs/{{run}}:watch", "get") == {"Last-Event-ID"}


def test_comments_are_found_by_what_they_stand_above() -> None:
    found = comments_of(
        """
// Of the file.

// A box.
message Box {
  // How high.
  optional int32 height = 1 [deprecated = true];
  // What it holds.
  oneof content {
    // A cat.
    Cat cat = 2;
  }
  // Inner.
  message Lid {
    // By name.
    map<string, Hinge> hinges = 1;
  }
  // After.
  repeated string notes = 3;
}
// Calls.
service Boxes {
  // Opens
  // it.
  rpc Open(OpenRequest) returns (Box) {
    option (google.api.http) = {get: "/v1/{name=boxes/*}"};
  }
}
"""
    )
    assert found == {
        "pymigrate.v1.Box": "A box.",
        "pymigrate.v1.Box.height": "How high.",
        "pymigrate.v1.Box.content": "What it holds.",
        "pymigrate.v1.Box.cat": "A cat.",
        "pymigrate.v1.Box.Lid": "Inner.",
        "pymigrate.v1.Box.Lid.hinges": "By name.",
        "pymigrate.v1.Box.notes": "After.",
        "pymigrate.v1.Boxes": "Calls.",
        "pymigrate.v1.Boxes.Open": "Opens it.",
    }
    assert contract_comments()["pymigrate.v1.Plan.phases"]
