"""What templates read: everything has a name that is always there, whatever is known."""

from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

import pytest

from pymigrate.engine.application.event_types import EVENT_TYPES
from pymigrate.engine.application.notice_contexts import (
    EVENTS_MAX,
    Addressed,
    gravest,
    own_context,
    shared_context,
)
from pymigrate.engine.application.notice_facts import NOTHING_KNOWN
from pymigrate.engine.application.notice_phrases import LANGUAGES, language_of, phrases_in
from pymigrate.engine.application.notice_samples import (
    DISPLAY_NAMES,
    RUN,
    SAMPLE_TIME,
    sample_contexts,
    sample_facts,
    sample_occurrence,
    sample_stakeholder,
)
from pymigrate.engine.domain.notices import Severity, Stakeholder

ENGLISH = phrases_in("en")
PLAIN = (str, int, float, bool, type(None))


def _shape(value: Any, path: str = "") -> set[str]:
    """The paths of everything in it; raises for what no template could read."""
    if isinstance(value, dict):
        return {deep for name, each in value.items() for deep in {f"{path}.{name}", *_shape(each, f"{path}.{name}")}}
    if isinstance(value, list):
        return {deep for each in value for deep in _shape(each, f"{path}[]")}
    assert isinstance(value, PLAIN), f"{path}: {type(value)}"
    return set()


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_an_event_has_every_name_whatever_its_type(event_type: str) -> None:
    usual = sample_contexts("lane.failed")[0]
    for context in sample_contexts(event_type):
        _shape(context)
        assert context.keys() == usual.keys()
        assert context["event"].keys() == usual["event"].keys()
        assert context["recipient"].keys() == usual["recipient"].keys()


def test_what_is_there_has_its_parts_and_what_is_not_is_none() -> None:
    full, sparse = sample_contexts("lane.failed")
    assert {name for name, value in sparse.items() if value is None} == {
        "plan", "run", "phase", "lane", "department", "kpis",
    }  # fmt: skip
    for path in (".plan.display_name", ".run.waiting_gates[].command", ".kpis.downtime.expected_seconds.p90"):
        assert path in _shape(full)


def test_the_parts_of_a_run_are_named_by_its_subject() -> None:
    named = {
        kind: sample_contexts(event_type)[0]["event"][kind]
        for kind, event_type in (
            ("lane", "lane.failed"),
            ("dataset", "dataset.quarantined"),
            ("gate", "gate.approved"),
            ("step", "step.step"),
        )
    }
    assert named == {"lane": "sales.orders.1", "dataset": "orders", "gate": "go-live", "step": "announce"}


def test_the_gravest_event_leads_and_the_latest_of_those() -> None:
    info, old = sample_occurrence("run.running"), sample_occurrence("phase.failed", SAMPLE_TIME - timedelta(hours=1))
    new = sample_occurrence("phase.failed")
    assert gravest([new, info, old]) is new
    shared = shared_context([new, info, old], sample_facts(new), ENGLISH, {})
    assert shared["event"]["type"] == "phase.failed"
    assert [event["time"] for event in shared["events"]] == sorted(event["time"] for event in shared["events"])


def test_of_many_events_the_latest_are_read() -> None:
    many = [sample_occurrence("lane.done", SAMPLE_TIME + timedelta(seconds=at)) for at in range(EVENTS_MAX + 7)]
    events = shared_context(many, NOTHING_KNOWN, ENGLISH, {})["events"]
    assert len(events) == EVENTS_MAX
    assert events[-1]["time"] == "2026-03-02T07:30:56Z"


def test_plans_and_departments_are_called_as_people_call_them() -> None:
    occurrence = sample_occurrence("phase.failed")
    named = shared_context([occurrence], NOTHING_KNOWN, ENGLISH, DISPLAY_NAMES)["event"]
    unnamed = shared_context([occurrence], NOTHING_KNOWN, ENGLISH, {})["event"]
    assert named["title"] == "Phase sales of Warehouse 2026 failed"
    assert named["headline"] == "Sales: its data move has stopped"
    assert unnamed["title"] == "Phase sales of warehouse failed"


def test_braces_in_a_name_are_only_characters() -> None:
    occurrence = replace(sample_occurrence("gate.approved"), actor="{phase.__class__} {0}")
    event = shared_context([occurrence], NOTHING_KNOWN, ENGLISH, {})["event"]
    assert event["title"].endswith("was approved by {phase.__class__} {0}")


def test_what_downtime_costs_follows_from_what_an_hour_costs() -> None:
    department = sample_contexts("phase.failed")[0]["department"]
    assert department["cost_per_hour"] == {"currency_code": "EUR", "amount": 12_000}
    assert department["cost_so_far"] == {"currency_code": "EUR", "amount": 9_000}
    assert department["cost_expected"] == {"currency_code": "EUR", "amount": 18_000}


def test_figures_that_are_not_known_are_none() -> None:
    facts = sample_facts(occurrence := sample_occurrence("phase.failed"))
    assert facts.kpis is not None
    facts.kpis.rows_expected = -1
    facts.kpis.lag_seconds = -1
    facts.kpis.downtime.budget_seconds = -1
    for field in ("end_time", "remaining_seconds", "drift"):
        facts.kpis.ClearField(field)
    kpis = facts.contexts(occurrence)["kpis"]
    unknown = ("rows_expected", "lag_seconds", "end_time", "remaining_seconds", "drift")
    assert [kpis[name] for name in unknown] == [None] * 5
    assert kpis["downtime"]["budget_seconds"] is None


def test_what_has_no_end_is_not_known() -> None:
    facts = sample_facts(occurrence := sample_occurrence("phase.failed"))
    assert facts.kpis is not None
    facts.kpis.downtime.expected_seconds.p90 = float("inf")
    facts.kpis.drift.expected_seconds = float("nan")
    contexts = facts.contexts(occurrence)
    assert contexts["kpis"]["downtime"]["expected_seconds"] is None
    assert contexts["kpis"]["drift"] is None
    assert contexts["department"]["cost_expected"] is None


def test_a_run_tells_the_gates_that_wait_and_how_they_are_approved() -> None:
    run = sample_contexts("phase.verifying")[0]["run"]
    assert run["waiting_gates"] == [
        {"phase": "sales", "gate": "go-live", "command": f"pymigrate approve {RUN} sales go-live"}
    ]


def test_whom_it_is_for_is_read_beside_how_it_is_answered() -> None:
    told = Addressed(sample_stakeholder("de-CH"), "owner", Severity.CRITICAL, "r", 7, 1, 2, "https://a.example/x")
    own = own_context(told, phrases_in(language_of("de-CH")))
    assert own["recipient"] == {
        "id": "ada",
        "name": "Ada Lovelace",
        "role": "owner",
        "roles": ["operator", "approver"],
        "locale": "de-CH",
        "zone": "Europe/Zurich",
    }
    assert (own["severity"], own["severity_word"], own["count"]) == ("critical", "Kritisch", 7)


def test_somebody_without_a_name_is_called_by_their_id() -> None:
    own = own_context(Addressed(Stakeholder("ops", "u", zone=UTC), "", Severity.INFO), ENGLISH)
    assert (own["recipient"]["name"], own["recipient"]["zone"], own["recipient"]["locale"]) == ("ops", "UTC", "en")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_every_type_has_sentences_in_every_language(event_type: str, language: str) -> None:
    phrases = phrases_in(language)
    assert event_type in phrases.by_type
    said = phrases.of(event_type, {})
    assert said.title
    assert said.headline
    assert phrases.by_type[event_type].keys() == ENGLISH.by_type[event_type].keys()


def test_an_unknown_type_is_told_in_general_words() -> None:
    said = ENGLISH.of("moon.waxed", {"type": "moon.waxed", "object": "moons/1", "what": "Night"})
    assert said.title == "moon.waxed: moons/1"
    assert said.headline == "Night: something happened to the data move (moon.waxed)"
    assert said.advice == ""


@pytest.mark.parametrize(
    ("locale", "language"), [("de", "de"), ("de_CH", "de"), ("DE-at", "de"), ("fr", "en"), ("", "en")]
)
def test_a_locale_is_told_in_its_language_or_in_english(locale: str, language: str) -> None:
    assert language_of(locale) == language
