"""Which rules tell of an occurrence, whom, and what is said of everybody who is not told."""

from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any

import pytest

from pymigrate.engine.domain.calendar import WeeklyWindow
from pymigrate.engine.domain.delivery import DeliveryState
from pymigrate.engine.domain.notices import (
    Address,
    Directory,
    Escalation,
    EventMatch,
    KpiThreshold,
    Occurrence,
    Recipients,
    Rotation,
    Rule,
    Schedule,
    Severity,
    Silence,
)
from pymigrate.engine.domain.routing import Routed, Routes, Routing
from tests.unit.domain.notified import NOW, below, directory, occurrence, person, rule

PHASES = EventMatch(types=("phase.*",))
RUNS = EventMatch(types=("run.*",))
WAITING, SUPPRESSED, UNDELIVERABLE = DeliveryState.WAITING, DeliveryState.SUPPRESSED, DeliveryState.UNDELIVERABLE


def route(found: Directory, told: Occurrence | None = None, now: datetime = NOW) -> Routing:
    routes, told = Routes(found, now), told or occurrence()
    routing = routes.route(told, now)
    plain = [
        (each.rule.id, reached.stakeholder, reached.address)
        for each in routes.told(told, now)
        for reached in each.audience
    ]
    assert plain == [(each.rule.id, each.reached.stakeholder, each.reached.address) for each in routing.routed]
    return routing


def rules_of(*rules: Rule, told: Occurrence | None = None) -> list[str]:
    """The rules that tell ann, in their order."""
    return [each.rule.id for each in route(directory([person("ann", "engineer")], rules), told).routed]


def one(routing: Routing) -> Routed:
    (routed,) = routing.routed
    return routed


def outcomes(routing: Routing) -> list[tuple[str, str, DeliveryState, str]]:
    return [
        (r.reached.stakeholder, r.reached.address, r.state, r.reached.failure.reason if r.reached.failure else "")
        for r in routing.routed
    ]


# The tree --------------------------------------------------------------------------------------------------------------------------


def test_the_first_rule_that_matches_is_the_only_one() -> None:
    assert rules_of(rule("b", "engineer"), rule("a", "engineer", match=RUNS), rule("c", "engineer")) == ["b"]


def test_rules_are_tried_in_their_order_and_then_by_name() -> None:
    assert rules_of(rule("a", "engineer", order=2), rule("c", "engineer", order=1), rule("b", "engineer", order=1)) == [
        "b"
    ]


def test_a_rule_that_continues_lets_those_after_it_be_tried() -> None:
    first = rule("a", "engineer", continues=True)
    assert rules_of(first, rule("b", "engineer"), rule("c", "engineer")) == ["a", "b"]


def test_a_child_that_matches_tells_instead_of_its_parent() -> None:
    assert rules_of(rule("top", "engineer"), below("top", rule("phases", "engineer", match=PHASES))) == ["phases"]


def test_a_parent_tells_itself_where_no_child_matches() -> None:
    assert rules_of(rule("top", "engineer"), below("top", rule("runs", "engineer", match=RUNS))) == ["top"]


def test_children_are_tried_only_below_a_parent_that_matches() -> None:
    assert rules_of(rule("top", "engineer", match=RUNS), below("top", rule("all", "engineer"))) == []


def test_several_children_tell_where_they_let_each_other() -> None:
    children = [below("top", rule(name, "engineer", continues=name == "a")) for name in ("a", "b", "c")]
    assert rules_of(rule("top", "engineer"), *children) == ["a", "b"]


def test_what_a_child_says_of_continuing_is_of_its_siblings_alone() -> None:
    child = below("top", rule("child", "engineer", continues=True))
    assert rules_of(rule("top", "engineer"), child, rule("z", "engineer")) == ["child"]
    assert rules_of(rule("top", "engineer", continues=True), child, rule("z", "engineer")) == ["child", "z"]


def test_the_deepest_rules_tell() -> None:
    chain = [rule("a", "engineer"), *(below(up, rule(name, "engineer")) for up, name in ("ab", "bc", "cd"))]
    assert rules_of(*chain) == ["d"]


def test_a_paused_rule_is_left_out_with_all_that_lies_below_it() -> None:
    paused = rule("a", "engineer", is_paused=True)
    assert rules_of(paused, below("a", rule("child", "engineer")), rule("b", "engineer")) == ["b"]


@pytest.mark.parametrize(
    ("match", "other"),
    [
        (EventMatch(types=("phase.failed",)), {"type_": "phase.skipped"}),
        (EventMatch(severity_min=Severity.ERROR), {"severity": Severity.INFO}),
        (EventMatch(plans=("warehouse",)), {"plan": "p"}),
        (EventMatch(phases=("sales",)), {"phase": "books"}),
        (EventMatch(departments=("retail",)), {"department": "finance"}),
        (EventMatch(reasons=("SOURCE_UNAVAILABLE",)), {"failure": None}),
    ],
    ids=str,
)
def test_what_was_found_for_one_occurrence_is_not_taken_for_another(match: EventMatch, other: dict[str, Any]) -> None:
    routes = Routes(directory([person("ann", "engineer")], [rule("r", "engineer", match=match)]), NOW)
    asked = [occurrence(), occurrence(**other), occurrence()]
    assert [len(routes.told(each, NOW)) for each in asked] == [1, 0, 1]


def test_what_one_rule_found_is_not_taken_for_what_another_did() -> None:
    lag = EventMatch(kpi=KpiThreshold("lag_seconds", is_above=True, bound=60))
    routes = Routes(directory([person("ann", "engineer")], [rule("lag", "engineer", match=lag)]), NOW)
    asked = [occurrence("kpi.crossed", rule=name) for name in ("lag", "another", "lag")]
    assert [len(routes.told(each, NOW)) for each in asked] == [1, 0, 1]


def test_rules_below_one_another_in_a_circle_are_reached_by_nothing() -> None:
    circle = [
        below("b", rule("a", "engineer")),
        below("a", rule("b", "engineer")),
        below("self", rule("self", "engineer")),
    ]
    routing = route(directory([person("ann", "engineer")], [*circle, rule("top", "engineer")]))
    assert [each.rule.id for each in routing.routed] == ["top"]
    assert "Rule a is not tried: it lies below b, which is paused, gone or below itself." in routing.steps


def test_a_tree_of_a_thousand_levels_is_gone_through() -> None:
    chain = [rule("r0", "engineer"), *(below(f"r{n}", rule(f"r{n + 1}", "engineer")) for n in range(1_000))]
    assert rules_of(*chain) == ["r1000"]


def test_a_rule_without_recipients_is_a_place_for_others_and_tells_nobody() -> None:
    place = rule("place")
    below_it = below("place", rule("runs", "engineer", match=RUNS))
    found = directory([person("ann", "engineer")], [place, below_it, rule("z", "engineer")])
    routing = route(found)
    assert routing.routed == ()
    assert routing.steps[-2:] == (
        "Rule place names no recipients, and no rule below it matches.",
        "No rule tells of it.",
    )
    assert [each.rule.id for each in route(found, occurrence("run.failed")).routed] == ["runs"]


def test_a_dry_run_says_which_rules_were_tried_and_why_not() -> None:
    rules = [rule("a", "engineer", match=RUNS), rule("b", "engineer"), rule("p", "engineer", is_paused=True)]
    assert route(directory([person("ann", "engineer")], rules)).steps == (
        "Rule a does not match: its type phase.failed is none of run.*.",
        "Rule b matches.",
        "Rule b tells of it.",
        "Rule p is paused.",
    )


def test_a_dry_run_says_that_no_rule_tells() -> None:
    assert route(directory()).steps == ("No rule tells of it.",)


# Recipients ------------------------------------------------------------------------------------------------------------------------


def told(recipients: Recipients, about: Occurrence | None = None, now: datetime = NOW) -> list[tuple[str, str]]:
    """Who is told, and in which role, of a directory of everybody that these tests know."""
    people = [
        person("all", "engineer", "owner"),
        person("retail", "engineer", "owner", departments=frozenset({"retail"})),
        person("other", "engineer", "owner", departments=frozenset({"finance"})),
        person("plain"),
    ]
    duty = Schedule("ops", rotations={"first": Rotation(("plain", "all"), NOW, 1)})
    found = directory(people, [rule("r", recipients=recipients)], [duty])
    return [(each.reached.stakeholder, each.reached.role) for each in route(found, about, now).routed]


def test_a_role_means_those_whom_the_department_concerns() -> None:
    assert told(Recipients(roles=("engineer",))) == [("all", "engineer"), ("retail", "engineer")]


def test_what_has_no_department_concerns_everybody() -> None:
    everybody = [("all", "engineer"), ("other", "engineer"), ("retail", "engineer")]
    assert told(Recipients(roles=("engineer",)), occurrence(department="")) == everybody


def test_owners_are_those_who_name_the_department() -> None:
    assert told(Recipients(includes_owners=True)) == [("retail", "owner")]


def test_who_is_named_is_told_whatever_the_department_is() -> None:
    assert told(Recipients(stakeholders=("other", "plain"))) == [("other", "engineer"), ("plain", "")]


def test_who_is_on_duty_at_the_moment_is_told() -> None:
    assert told(Recipients(on_call_schedules=("ops",))) == [("plain", "")]
    assert told(Recipients(on_call_schedules=("ops",)), now=NOW + timedelta(days=1)) == [("all", "engineer")]


def test_who_is_a_recipient_for_several_reasons_is_told_once() -> None:
    several = Recipients(roles=("owner", "engineer"), stakeholders=("all",), includes_owners=True)
    assert told(several) == [("all", "owner"), ("retail", "owner")]


def test_a_rule_that_nobody_follows_is_undeliverable_and_says_so() -> None:
    routed = one(route(directory([], [rule("r", "engineer", recipients=Recipients(("engineer",), (), ("ops",)))])))
    assert (routed.state, routed.reached.stakeholder) == (UNDELIVERABLE, "")
    assert routed.reached.failure is not None
    assert routed.reached.failure.reason == "NO_RECIPIENT"
    assert routed.reached.because == ("rule r tells nobody now (role engineer, whoever is on duty by ops).",)


def test_a_dry_run_says_that_nobody_is_on_duty() -> None:
    several = Recipients(roles=("engineer",), on_call_schedules=("ops",))
    routing = route(directory([person("ann", "engineer")], [rule("r", recipients=several)], [Schedule("ops")]))
    assert [each.reached.stakeholder for each in routing.routed] == ["ann"]
    assert routing.steps[-1] == "Nobody is on duty by schedule ops."


def test_a_dry_run_says_who_is_told_next() -> None:
    escalations = (Escalation(600.0, Recipients(stakeholders=("ben",))), Escalation(90.5, Recipients(roles=("boss",))))
    people = [person("ann", "engineer"), person("ben")]
    routing = route(directory(people, [rule("r", "engineer", escalations=escalations)]))
    assert [each.reached.stakeholder for each in routing.routed] == ["ann"]
    assert routing.steps[-2:] == (
        "Where nobody acknowledges it, step 1 tells ben, 600 s after the message before.",
        "Where nobody acknowledges it, step 2 tells nobody as things stand, 90.5 s after the message before.",
    )


def test_owners_of_what_has_no_department_are_nobody() -> None:
    routing = route(directory([], [rule("r", recipients=Recipients(includes_owners=True))]), occurrence(department=""))
    assert outcomes(routing) == [("", "", UNDELIVERABLE, "NO_RECIPIENT")]


def test_a_stakeholder_who_is_named_and_gone_is_undeliverable() -> None:
    found = directory([person("ann")], [rule("r", recipients=Recipients(stakeholders=("ann", "gone")))])
    assert outcomes(route(found)) == [("ann", "work", WAITING, ""), ("gone", "", UNDELIVERABLE, "UNKNOWN_STAKEHOLDER")]


def test_a_stakeholder_is_told_once_by_each_rule() -> None:
    rules = [rule("a", "engineer", continues=True), rule("b", "engineer")]
    routing = route(directory([person("ann", "engineer")], rules))
    assert [(each.rule.id, each.reached.stakeholder) for each in routing.routed] == [("a", "ann"), ("b", "ann")]


# Addresses -------------------------------------------------------------------------------------------------------------------------

MAIL = Address("mail", "ann@example.com")
PAGER = Address("hook", "https://example.com/pager", Severity.CRITICAL)


def test_every_address_that_takes_the_severity_is_told() -> None:
    found = directory([person("ann", "engineer", addresses={"pager": PAGER, "mail": MAIL})], [rule("r", "engineer")])
    assert outcomes(route(found)) == [("ann", "mail", WAITING, "")]
    critical = occurrence(severity=Severity.CRITICAL)
    assert outcomes(route(found, critical)) == [("ann", "mail", WAITING, ""), ("ann", "pager", WAITING, "")]


def test_who_has_no_address_for_the_severity_is_undeliverable_with_the_reason() -> None:
    found = directory([person("ann", "engineer", addresses={"pager": PAGER})], [rule("r", "engineer")])
    assert outcomes(route(found)) == [("ann", "", UNDELIVERABLE, "NO_ADDRESS")]
    failure = one(route(found)).reached.failure
    assert failure is not None
    assert failure.message == "ann has no address for what is error: theirs begin at critical"


def test_who_has_no_address_at_all_is_undeliverable() -> None:
    found = directory([person("ann", "engineer", addresses={})], [rule("r", "engineer")])
    assert outcomes(route(found)) == [("ann", "", UNDELIVERABLE, "NO_ADDRESS")]


def test_a_rule_may_say_how_grave_what_it_tells_is() -> None:
    people = [person("ann", "engineer", addresses={"pager": PAGER})]
    routed = one(route(directory(people, [rule("r", "engineer", severity=Severity.CRITICAL)])))
    assert (routed.reached.address, routed.severity) == ("pager", Severity.CRITICAL)


def test_an_address_by_a_channel_that_is_gone_is_undeliverable() -> None:
    ann = person("ann", "engineer", addresses={"old": Address("gone", "x"), "work": MAIL})
    assert outcomes(route(directory([ann], [rule("r", "engineer")]))) == [
        ("ann", "old", UNDELIVERABLE, "UNKNOWN_CHANNEL"),
        ("ann", "work", WAITING, ""),
    ]


def test_who_is_paused_is_told_nothing_and_the_ledger_says_so() -> None:
    found = directory([person("ann", "engineer", is_paused=True)], [rule("r", "engineer")])
    assert outcomes(route(found)) == [("ann", "work", SUPPRESSED, "STAKEHOLDER_PAUSED")]


def test_who_is_always_in_quiet_hours_is_told_what_is_critical_only() -> None:
    found = directory(
        [person("ann", "engineer", quiet_hours=(WeeklyWindow(time(0), time(0)),))], [rule("r", "engineer")]
    )
    assert outcomes(route(found)) == [("ann", "work", SUPPRESSED, "ALWAYS_QUIET")]
    assert outcomes(route(found, occurrence(severity=Severity.CRITICAL))) == [("ann", "work", WAITING, "")]


def test_two_who_share_an_address_are_told_there_once() -> None:
    shared = {"team": Address("hook", "https://example.com/team")}
    people = [person("ann", "engineer", addresses=shared), person("ben", "engineer", addresses=shared)]
    routing = route(directory(people, [rule("r", "engineer")]))
    assert outcomes(routing) == [("ann", "team", WAITING, ""), ("ben", "team", SUPPRESSED, "TOLD_AT_THE_SAME_ADDRESS")]


def test_one_who_is_paused_takes_nobodys_message_away() -> None:
    shared = {"team": Address("hook", "https://example.com/team")}
    people = [person("ann", "engineer", addresses=shared, is_paused=True), person("ben", "engineer", addresses=shared)]
    assert outcomes(route(directory(people, [rule("r", "engineer")])))[1] == ("ben", "team", WAITING, "")


def test_ones_own_second_name_for_an_address_adds_nothing() -> None:
    ann = person("ann", "engineer", addresses={"a": MAIL, "b": replace(MAIL, severity_min=Severity.ERROR)})
    assert outcomes(route(directory([ann], [rule("r", "engineer")]))) == [("ann", "a", WAITING, "")]


def test_a_dry_run_says_why_somebody_is_told() -> None:
    ann = person("ann", "engineer", departments=frozenset({"retail"}))
    assert one(route(directory([ann], [rule("r", "engineer")]))).reached.because == (
        "ann has the role engineer, whom retail concerns.",
        "Their address work takes what is info or graver.",
    )


# Silences --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minutes", "state"), [(-61, WAITING), (-60, SUPPRESSED), (59, SUPPRESSED), (60, WAITING)], ids=str
)
def test_a_silence_holds_from_its_start_to_before_its_end(minutes: int, state: DeliveryState) -> None:
    hour = timedelta(hours=1)
    silence = Silence("upkeep", PHASES, NOW - hour, NOW + hour)
    found = directory([person("ann", "engineer")], [rule("r", "engineer")], silences=[silence])
    assert one(route(found, now=NOW + timedelta(minutes=minutes))).state is state


def test_a_silence_keeps_back_what_it_means_alone_and_is_named() -> None:
    silence = Silence("upkeep", RUNS, NOW, NOW + timedelta(hours=1))
    found = directory([person("ann", "engineer")], [rule("r", "engineer")], silences=[silence])
    assert one(route(found)).silence == ""
    routing = route(found, occurrence("run.failed"))
    assert (one(routing).silence, one(routing).state) == ("upkeep", SUPPRESSED)
    assert "Silence upkeep keeps it back until 2026-05-05T13:00:00+00:00." in routing.steps


def test_what_is_undeliverable_is_that_under_a_silence_too() -> None:
    silence = Silence("upkeep", EventMatch(), NOW, NOW + timedelta(hours=1))
    found = directory([person("ann", "engineer", addresses={})], [rule("r", "engineer")], silences=[silence])
    assert one(route(found)).state is UNDELIVERABLE
