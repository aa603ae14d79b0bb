"""HTTP requests as requests of the contract: body, path, query and headers, each refused where it says what can't be."""

from typing import Any

import pytest

from pymigrate.engine.domain.errors import InvalidDefinition
from pymigrate.engine.entrypoints.rest.problems import Refused
from pymigrate.engine.entrypoints.rest.requests import Given, read_request
from pymigrate.engine.entrypoints.rest.server import contract_routes
from pymigrate.v1 import plan_pb2

ROUTES = contract_routes()
JSON = {"content-type": "application/json"}
PLAN = "/v1/environments/prod/plans/w"


def read(http_method: str, path: str, body: str = "", query: str = "", **headers: str) -> Any:
    binding, variables = ROUTES.find(http_method, path)
    pairs = [(name, value) for name, _, value in (part.partition("=") for part in query.split("&") if part)]
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_request(binding, Given(variables, pairs, JSON | told, body.encode()))


def problem(*arguments: str, **headers: str) -> tuple[str, str]:
    """The field that a request is refused for, and why."""
    with pytest.raises(InvalidDefinition) as refused:
        read(*arguments, **headers)
    (found,) = refused.value.problems
    return found.field, found.description


def test_a_body_that_is_a_field_and_the_query_make_one_request() -> None:
    request = read("POST", "/v1/environments/prod/plans", '{"displayName": "W"}', "planId=w&validateOnly=true")
    wanted = plan_pb2.CreatePlanRequest(
        parent="environments/prod", plan_id="w", plan=plan_pb2.Plan(display_name="W"), validate_only=True
    )
    assert request == wanted


def test_a_body_that_is_the_whole_request_takes_the_name_from_the_path() -> None:
    request = read("POST", f"{PLAN}:validate", '{"checkSystems": true}')
    assert request == plan_pb2.ValidatePlanRequest(name="environments/prod/plans/w", check_systems=True)
    assert read("POST", f"{PLAN}:validate").name == "environments/prod/plans/w"


def test_numbers_words_and_times_are_those_of_the_one_shape() -> None:
    body = '{"seed": "9007199254740993", "draws": 5, "startTime": "2026-01-31T12:00:00Z", "probeSecondsMax": -1}'
    request = read("POST", f"{PLAN}:analyzeImpact", body)
    assert (request.seed, request.draws, request.probe_seconds_max) == (9007199254740993, 5, -1.0)
    assert request.start_time.ToJsonString() == "2026-01-31T12:00:00Z"


def test_a_name_in_the_body_that_is_not_that_of_the_path_is_refused() -> None:
    assert read("PATCH", PLAN, '{"name": "environments/prod/plans/w", "displayName": "x"}').plan.display_name == "x"
    field, why = problem("PATCH", PLAN, '{"name": "environments/prod/plans/other", "displayName": "x"}')
    assert (field, "other" in why) == ("plan.name", True)


def test_a_patch_changes_what_its_body_names() -> None:
    request = read("PATCH", PLAN, '{"displayName": null, "lanesMax": 3, "etag": "e", "uid": "u"}')
    assert list(request.update_mask.paths) == ["display_name", "lanes_max"]


def test_a_mask_in_the_query_is_taken_as_it_is_in_either_spelling() -> None:
    request = read("PATCH", PLAN, "{}", "updateMask=displayName,lanes_max")
    assert list(request.update_mask.paths) == ["display_name", "lanes_max"]
    assert list(read("PATCH", PLAN, "{}", "updateMask=*").update_mask.paths) == ["*"]


@pytest.mark.parametrize("body", ["", "{}", '{"etag": "e"}'])
def test_a_patch_that_names_nothing_is_refused_instead_of_clearing_everything(body: str) -> None:
    assert problem("PATCH", PLAN, body)[1].startswith("names no field to change")


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ('{"displayNam": "x"}', "plan.displayNam", "did you mean `displayName`"),
        ('{"phases": {"a": {"downtimePolicy": "onlin"}}}', "plan.phases.a.downtimePolicy", "offline"),
        ('{"lanesMax": "many"}', "plan.lanesMax", "whole number"),
        ('{"lanesMax": 123456789012345678901234567890}', "plan.lanesMax", "must be"),
        ('{"displayName"', "body", "is no JSON"),
        ("[]", "body", "must be a map"),
        ("NaN", "body", "is no JSON"),
        ('"\\ud800"', "body", "is no JSON"),
        ("[" * 5000, "body", "is no JSON"),
        ('{"labels": ' * 101 + "{}" + "}" * 101, "body", "is nested more than 100 deep"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_with_the_place(body: str, field: str, says: str) -> None:
    found, why = problem("POST", "/v1/environments/prod/plans", body)
    assert found == field
    assert says in why


@pytest.mark.parametrize(
    ("query", "field", "says"),
    [
        ("pageSiz=3", "pageSiz", "did you mean `pageSize`"),
        ("pageSize=x", "page_size", "whole number"),
        ("pageSize=1&pageSize=2", "pageSize", "twice"),
        ("parent=environments/other", "parent", "path or the body"),
        ("pageToken=a\0b", "pageToken", "control"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused_by_its_name(query: str, field: str, says: str) -> None:
    found, why = problem("GET", "/v1/environments/prod/plans", "", query)
    assert found == field
    assert says in why


def test_a_flag_is_true_or_false() -> None:
    assert read("DELETE", PLAN, "", "force=true").force
    assert "true or false" in problem("DELETE", PLAN, "", "force=yes")[1]


def test_a_parameter_of_a_call_with_a_whole_body_belongs_into_it() -> None:
    assert problem("POST", f"{PLAN}:validate", "", "checkSystems=true") == ("checkSystems", "belongs into the body")


def test_a_call_without_a_body_refuses_one() -> None:
    assert problem("DELETE", PLAN, '{"force": true}')[0] == "body"


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "text/plain"},
        {"content_type": ""},
        {"content_type": "application/json; charset=latin-1"},
        {"content_encoding": "gzip"},
    ],
)
def test_a_body_of_another_type_is_refused_with_those_that_are_read(headers: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        read("POST", f"{PLAN}:validate", "{}", **headers)
    assert refused.value.status == 415
    assert "application/json" in refused.value.headers["accept"]


def test_if_match_is_the_etag_of_what_is_changed_or_deleted() -> None:
    assert read("PATCH", PLAN, '{"lanesMax": 1}', if_match='"e-1"').plan.etag == "e-1"
    assert read("DELETE", PLAN, if_match='"e-1"').etag == "e-1"
    assert not read("DELETE", PLAN, if_match="*").etag


@pytest.mark.parametrize("tag", ['W/"e"', "e", '"a", "b"', '"'])
def test_a_precondition_that_is_no_strong_tag_is_refused(tag: str) -> None:
    assert problem("DELETE", PLAN, if_match=tag)[0] == "if-match"


@pytest.mark.parametrize(("http_method", "path"), [("GET", PLAN), ("POST", f"{PLAN}:validate")])
def test_a_precondition_that_nothing_would_hold_is_refused(http_method: str, path: str) -> None:
    assert problem(http_method, path, if_match='"e"')[0] == "if-match"


def test_a_header_and_a_field_that_differ_are_refused() -> None:
    assert problem("PATCH", PLAN, '{"etag": "a", "lanesMax": 1}', if_match='"b"')[0] == "if-match"
    assert read("PATCH", PLAN, '{"etag": "a", "lanesMax": 1}', if_match='"a"').plan.etag == "a"


def test_an_idempotency_key_is_the_request_id_quoted_or_not() -> None:
    for key in ("k-1", '"k-1"'):
        assert read("POST", f"{PLAN}/runs", idempotency_key=key).request_id == "k-1"
    assert problem("POST", f"{PLAN}/runs", '{"requestId": "other"}', idempotency_key="k-1")[0] == "idempotency-key"


def test_the_last_event_id_is_where_a_stream_goes_on() -> None:
    assert read("GET", f"{PLAN}/runs/r:watch", last_event_id="17").resume_token == "17"
    assert read("GET", f"{PLAN}/runs/r:watch", "", "resumeToken=17").resume_token == "17"
