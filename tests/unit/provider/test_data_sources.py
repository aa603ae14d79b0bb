"""Data sources of what is declared elsewhere, of figures and of what lies behind a connection: what they ask, and what they tell."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tf.gen import tfplugin_pb2 as pb
from tf.utils import to_dynamic_value

from pymigrate.provider.provider import PymigrateProvider
from pymigrate.provider.sdk.states import complete, read_state
from pymigrate.v1 import audit_pb2, connection_pb2, environment_pb2, kpi_pb2, plan_pb2
from tests.unit.provider.answering_engine import AnsweringEngine, answering
from tests.unit.provider.impact_engine import configured, refuse

PLAN = "environments/prod/plans/warehouse"
CRM = "environments/prod/connections/crm"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[AnsweringEngine]:
    """An engine that answers what the test says."""
    with answering(tmp_path / "engine") as engine:
        yield engine


def read(engine: AnsweringEngine, noun: str, **config: Any) -> tuple[Any, list[str]]:
    """Reads as Terraform does: the state, and what is wrong."""
    source = next(each for each in PymigrateProvider().get_data_sources() if each.get_name() == noun)
    whole = to_dynamic_value(complete(source.get_schema().by_name, config))
    request = pb.ReadDataSource.Request(type_name=f"pymigrate_{noun}", config=whole)
    answer = configured(engine.home).ReadDataSource(request, None)
    return read_state(source.get_schema().by_name, answer.state), [
        f"{found.summary}: {found.detail}" for found in answer.diagnostics
    ]


def test_a_plan_is_told_with_its_zeros_and_whoever_declares_it(engine: AnsweringEngine) -> None:
    plan = plan_pb2.Plan(name=PLAN, display_name="Warehouse", managed_by="git", plan_hash="abc")
    engine.answers["GetPlan"] = lambda request, call: plan
    state, wrong = read(engine, "plan", name=PLAN)
    assert not wrong
    assert (state["name"], state["managed_by"], state["plan_hash"], state["lanes_max"]) == (PLAN, "git", "abc", 0)
    assert engine.asked[0].name == PLAN


def test_phases_are_told_by_name_from_every_page(engine: AnsweringEngine) -> None:
    def page(request: Any, call: Any) -> Any:
        number = int(request.page_token or 0)
        phase = plan_pb2.Phase(name=f"{PLAN}/phases/p{number}", department="sales", definition_hash=str(number))
        return plan_pb2.ListPhasesResponse(phases=[phase], next_page_token=str(number + 1) if number < 2 else "")

    engine.answers["ListPhases"] = page
    state, wrong = read(engine, "phases", plan=PLAN)
    assert not wrong
    assert {name: phase["definition_hash"] for name, phase in state["phases"].items()} == {
        "p0": "0",
        "p1": "1",
        "p2": "2",
    }
    assert [request.parent for request in engine.asked] == [PLAN] * 3


def test_kpis_are_told_with_parts_by_name_where_they_are_asked_for(engine: AnsweringEngine) -> None:
    def kpis(request: Any, call: Any) -> Any:
        parts = [kpi_pb2.Kpis(name=f"{PLAN}/phases/sales", completion=0.5)] if request.includes_parts else []
        return kpi_pb2.Kpis(name=PLAN, rows=10, rows_expected=-1, lanes={"running": 2}, parts=parts)

    engine.answers["GetKpis"] = kpis
    state, _ = read(engine, "kpis", name=PLAN)
    assert (state["rows"], state["rows_expected"], state["lanes"], state["parts"]) == (10, -1, {"running": 2}, None)
    state, _ = read(engine, "kpis", name=PLAN, includes_parts=True)
    assert state["parts"][f"{PLAN}/phases/sales"]["completion"] == 0.5


def test_what_lies_behind_a_connection_is_told_by_relation_with_columns_in_order(engine: AnsweringEngine) -> None:
    def discovered(request: Any, call: Any) -> Any:
        relation = connection_pb2.RelationSchema(relation="public.people", key=["id"], rows=0)
        for name in ("id", "name"):
            relation.columns.add(name=name)
        return connection_pb2.DiscoverSchemaResponse(relations=[relation])

    engine.answers["DiscoverSchema"] = discovered
    state, wrong = read(engine, "discovered_schema", connection=CRM, relation_glob="public.*")
    assert not wrong
    people = state["relations"]["public.people"]
    assert ([column["name"] for column in people["columns"]], people["key"], people["rows"]) == (
        ["id", "name"],
        ["id"],
        0,
    )
    assert state["is_truncated"] is False
    assert (engine.asked[0].name, engine.asked[0].relation_glob) == (CRM, "public.*")


@pytest.mark.parametrize(
    ("noun", "config", "method"),
    [
        ("plan", {"name": PLAN}, "GetPlan"),
        ("phases", {"plan": PLAN}, "ListPhases"),
        ("kpis", {"name": PLAN}, "GetKpis"),
        ("discovered_schema", {"connection": CRM}, "DiscoverSchema"),
        ("audit", {}, "ListAuditEvents"),
    ],
)
def test_what_the_engine_does_not_have_or_not_know_is_an_error(
    engine: AnsweringEngine, noun: str, config: dict[str, Any], method: str
) -> None:
    _, [wrong] = read(engine, noun, **config)
    assert "older than this provider" in wrong
    engine.answers[method] = refuse(grpc.StatusCode.NOT_FOUND, "there is none")
    _, [wrong] = read(engine, noun, **config)
    assert "there is none" in wrong


def test_a_name_of_another_kind_is_refused_before_the_engine_is_asked(engine: AnsweringEngine) -> None:
    source = {"connection": PLAN, "relation_glob": None, "relations": None, "is_truncated": None}
    request = pb.ValidateDataResourceConfig.Request(
        type_name="pymigrate_discovered_schema", config=to_dynamic_value(source)
    )
    [found] = configured(engine.home).ValidateDataResourceConfig(request, None).diagnostics
    assert "environments/prod/connections/crm" in found.detail
    assert not engine.asked


def test_what_holds_in_an_environment_is_told_from_every_page(engine: AnsweringEngine) -> None:
    def page(request: Any, call: Any) -> Any:
        number = int(request.page_token or 0)
        value = environment_pb2.ResolvedValue(value=f"db{number}", layer="base", parameters=["host"], is_override=True)
        found = environment_pb2.ResolvedObject(
            name=f"environments/prod/connections/c{number}", layer="base", fields={"postgres.host": value}
        )
        return environment_pb2.ResolveEnvironmentResponse(
            layers=["base", "prod"],
            parameters={"host": environment_pb2.ResolvedValue(value="db", layer="prod")},
            objects=[found],
            next_page_token="1" if number == 0 else "",
        )

    engine.answers["ResolveEnvironment"] = page
    state, wrong = read(engine, "environment", name="environments/prod", object="connections/c")
    assert not wrong
    assert state["layers"] == ["base", "prod"]
    assert state["parameters"]["host"] == {
        "value": "db",
        "layer": "prod",
        "parameters": [],
        "is_override": False,
    }
    assert list(state["objects"]) == ["connections/c0", "connections/c1"]
    host = state["objects"]["connections/c1"]["fields"]["postgres.host"]
    assert host == {"value": "db1", "layer": "base", "parameters": ["host"], "is_override": True}
    assert {request.object for request in engine.asked} == {"connections/c"}


def audit_page(request: Any, call: Any) -> Any:
    """Pages of as many events as are asked for, without end."""
    first = int(request.page_token or 0)
    events = [
        audit_pb2.AuditEvent(sequence=first + each + 1, action="approve", hash=bytes([first % 256, each % 256]))
        for each in range(request.page_size)
    ]
    return audit_pb2.ListAuditEventsResponse(audit_events=events, next_page_token=str(first + len(events)))


def test_the_audit_trail_is_asked_with_every_filter_that_is_given(engine: AnsweringEngine) -> None:
    engine.answers["ListAuditEvents"] = lambda request, call: audit_pb2.ListAuditEventsResponse(
        audit_events=[audit_pb2.AuditEvent(sequence=7, principal="oidc/ann", hash=b"\x00\xff", outcome="OK")]
    )
    given = {"subject": PLAN, "principal": "oidc/ann", "action": "approve", "start_time": "2026-01-31T12:00:00Z"}
    state, wrong = read(engine, "audit", environment="environments/prod", outcome="OK", **given)
    assert not wrong
    (event,) = state["events"]
    assert (event["sequence"], event["principal"], event["hash"], event["version"]) == (7, "oidc/ann", "00ff", 0)
    assert (state["is_truncated"], state["events_max"]) == (False, None)
    (asked,) = engine.asked
    assert (asked.environment, asked.subject, asked.outcome, asked.page_size) == ("environments/prod", PLAN, "OK", 100)
    assert asked.start_time.seconds == 1_769_860_800


def test_no_more_of_the_audit_trail_is_read_than_is_asked_for(engine: AnsweringEngine) -> None:
    engine.answers["ListAuditEvents"] = audit_page
    state, wrong = read(engine, "audit", events_max=1_500)
    assert not wrong
    assert [event["sequence"] for event in state["events"]] == list(range(1, 1_501))
    assert state["is_truncated"] is True
    assert [request.page_size for request in engine.asked] == [1_000, 500]


def test_pages_without_events_come_to_an_end(engine: AnsweringEngine) -> None:
    engine.answers["ListAuditEvents"] = lambda request, call: audit_pb2.ListAuditEventsResponse(next_page_token="more")
    state, wrong = read(engine, "audit")
    assert not wrong
    assert (state["events"], state["is_truncated"]) == ([], True)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"start_time": "yesterday"}, "start_time"),
        ({"events_max": 0}, "1 to 10,000"),
        ({"events_max": 10_001}, "1 to 10,000"),
    ],
)
def test_a_filter_of_the_audit_trail_that_is_none_is_refused_before_the_engine_is_asked(
    engine: AnsweringEngine, config: dict[str, Any], said: str
) -> None:
    source = next(each for each in PymigrateProvider().get_data_sources() if each.get_name() == "audit")
    whole = to_dynamic_value(complete(source.get_schema().by_name, config))
    request = pb.ValidateDataResourceConfig.Request(type_name="pymigrate_audit", config=whole)
    found = configured(engine.home).ValidateDataResourceConfig(request, None).diagnostics
    assert any(said in f"{each.summary} {each.detail}" for each in found), found
    assert not engine.asked
