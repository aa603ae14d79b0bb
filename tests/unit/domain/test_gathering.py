"""What becomes of occurrences: messages that are made, added to, held back, or not told and yet in the ledger."""

from dataclasses import replace
from datetime import time, timedelta
from typing import Any

import pytest

from pymigrate.engine.domain.calendar import WeeklyWindow
from pymigrate.engine.domain.delivery import ENTRIES_MAX, Delivery, DeliveryState
from pymigrate.engine.domain.notices import (
    Digest,
    Escalation,
    EventMatch,
    Occurrence,
    Recipients,
    Rule,
    Severity,
    Silence,
    Stakeholder,
)
from tests.unit.domain.ledger import Ledger
from tests.unit.domain.notified import NOW, directory, occurrence, person, rule

ANN = person("ann", "engineer")
NOON = WeeklyWindow(time(11), time(13))
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
OTHER: dict[str, Any] = {"phase": "stock", "subject": "environments/prod/plans/warehouse/runs/r1/phases/stock"}
ESCALATIONS = (Escalation(600.0, Recipients(roles=("boss",))),)


def ledger(told: Rule, *people: Stakeholder, silences: tuple[Silence, ...] = ()) -> Ledger:
    return Ledger(directory(people or (ANN,), [told], silences=silences))


def only(found: Ledger) -> Delivery:
    (delivery,) = found.deliveries.values()
    return delivery


def entries(found: Ledger) -> list[list[int]]:
    return [each.entries for each in found.deliveries.values()]


# What a message is -----------------------------------------------------------------------------------------------------------------


def test_a_message_says_who_is_told_of_what_by_which_rule() -> None:
    found = ledger(rule("r", "engineer", template="short", confirm_seconds_max=60.0, confirm_state="delivered"))
    found.tell(NOW, occurrence(entry=7))
    made = only(found)
    assert (made.rule, made.stakeholder, made.address, made.channel) == ("r", "ann", "work", "mail")
    assert (made.to, made.severity, made.entries, made.entry_count) == ("ann@example.com", Severity.ERROR, [7], 1)
    assert (made.template, made.template_role, made.confirm_state) == ("short", "engineer", "delivered")
    assert (made.state, made.create_time, made.due_time) == (DeliveryState.WAITING, NOW, NOW)
    assert made.confirm_by_time == NOW + MINUTE
    assert made.run == "environments/prod/plans/warehouse/runs/r1"
    assert not made.needs_acknowledgement


def test_what_is_told_apart_is_a_message_each() -> None:
    found = ledger(rule("r", "engineer"))
    found.tell(NOW, occurrence(entry=1), occurrence(entry=2))
    found.tell(NOW, occurrence(entry=3))
    assert entries(found) == [[1], [2], [3]]
    assert len({each.key for each in found.of()}) == 3


def test_the_key_is_the_same_for_the_same_message_and_another_for_any_other() -> None:
    first, again = ledger(rule("r", "engineer")), ledger(rule("r", "engineer"))
    first.tell(NOW, occurrence(entry=1))
    again.tell(NOW + HOUR, occurrence(entry=1))
    assert only(first).key == only(again).key
    anew = ledger(replace(rule("r", "engineer"), uid="another"))
    anew.tell(NOW, occurrence(entry=1))
    assert only(anew).key != only(first).key


def test_nobody_is_told_where_no_rule_matches() -> None:
    found = ledger(rule("r", "engineer", match=EventMatch(types=("run.*",))))
    found.tell(NOW, occurrence())
    assert found.deliveries == {}


# Groups ----------------------------------------------------------------------------------------------------------------------------

BY_PHASE = rule("r", "engineer", group_by=("run", "phase"), group_wait_seconds=30.0, group_interval_seconds=300.0)


def test_what_has_a_group_in_common_is_one_message() -> None:
    found = ledger(BY_PHASE)
    found.tell(NOW, occurrence(entry=1), occurrence(entry=2, **OTHER), occurrence(entry=3, severity=Severity.INFO))
    assert entries(found) == [[1, 3], [2]]


def test_a_group_waits_and_takes_in_what_comes_meanwhile() -> None:
    found = ledger(BY_PHASE)
    found.tell(NOW, occurrence(entry=1, severity=Severity.INFO))
    found.tell(NOW + 10 * SECOND, occurrence(entry=2))
    made = only(found)
    assert (made.entries, made.entry_count, made.severity) == ([1, 2], 2, Severity.ERROR)
    assert (made.due_time, made.create_time) == (NOW + 30 * SECOND, NOW)


def test_later_messages_of_a_group_keep_the_interval() -> None:
    found = ledger(BY_PHASE)
    found.tell(NOW, occurrence(entry=1))
    found.freeze(NOW + 30 * SECOND)
    found.tell(NOW + MINUTE, occurrence(entry=2))
    found.tell(NOW + 2 * MINUTE, occurrence(entry=3, severity=Severity.CRITICAL))
    assert entries(found) == [[1], [2, 3]]
    assert [each.due_time for each in found.of(DeliveryState.WAITING)] == [NOW + 150 * SECOND]


@pytest.mark.parametrize("word", ["plan", "run", "phase", "department", "type", "severity", "reason"])
def test_every_word_may_make_the_groups(word: str) -> None:
    told = rule("r", "engineer", group_by=(word,))
    found = ledger(told)
    other = occurrence("run.cancelled", Severity.WARNING, 2, plan="p", run="r2", phase="x", department="", failure=None)
    found.tell(NOW, occurrence(entry=1), other, occurrence(entry=3))
    assert entries(found) == [[1, 3], [2]]


def test_a_message_keeps_the_first_thousand_numbers_and_counts_all() -> None:
    found = ledger(BY_PHASE)
    found.tell(NOW, *(occurrence(entry=number) for number in range(1, ENTRIES_MAX + 3)))
    made = only(found)
    assert (len(made.entries), made.entries[-1], made.entry_count) == (ENTRIES_MAX, ENTRIES_MAX, ENTRIES_MAX + 2)


# Quiet hours -----------------------------------------------------------------------------------------------------------------------

SLEEPER = person("ann", "engineer", quiet_hours=(NOON,))


def test_quiet_hours_hold_back_what_is_not_critical() -> None:
    found = ledger(rule("r", "engineer"), SLEEPER)
    found.tell(NOW, occurrence(entry=1), occurrence(entry=2, severity=Severity.CRITICAL))
    assert [(each.entries, each.due_time) for each in found.of()] == [([1], NOW + HOUR), ([2], NOW)]


def test_what_would_be_told_apart_is_one_message_after_quiet_hours() -> None:
    found = ledger(rule("r", "engineer"), SLEEPER)
    found.tell(NOW, occurrence(entry=1), occurrence(entry=2))
    found.tell(NOW + MINUTE, occurrence(entry=3))
    assert entries(found) == [[1, 2, 3]]


def test_a_group_in_quiet_hours_that_turns_critical_is_told_at_once() -> None:
    found = ledger(BY_PHASE, SLEEPER)
    found.tell(NOW, occurrence(entry=1))
    assert only(found).due_time == NOW + HOUR
    found.tell(NOW + MINUTE, occurrence(entry=2, severity=Severity.CRITICAL))
    assert (only(found).entries, only(found).due_time) == ([1, 2], NOW + MINUTE + 30 * SECOND)


def test_a_wait_that_ends_in_quiet_hours_goes_on_to_their_end() -> None:
    found = ledger(BY_PHASE, SLEEPER)
    found.tell(NOW - HOUR - 10 * SECOND, occurrence())
    assert only(found).due_time == NOW + HOUR


# Digests ---------------------------------------------------------------------------------------------------------------------------

DIGEST = rule("r", "engineer", digest=Digest((time(17),)), group_by=("phase",))


def test_a_digest_gathers_everything_until_its_time() -> None:
    found = ledger(DIGEST)
    found.tell(NOW, occurrence(entry=1), occurrence(entry=2, **OTHER))
    found.tell(NOW + 4 * HOUR, occurrence(entry=3, severity=Severity.INFO))
    assert (only(found).entries, only(found).due_time) == ([1, 2, 3], NOW + 5 * HOUR)


def test_a_digest_after_the_last_begins_anew() -> None:
    found = ledger(DIGEST)
    found.tell(NOW, occurrence(entry=1))
    found.freeze(NOW + 5 * HOUR)
    found.tell(NOW + 5 * HOUR + SECOND, occurrence(entry=2))
    assert [(each.entries, each.due_time) for each in found.of()][1] == ([2], NOW + 29 * HOUR)


def test_what_is_critical_does_not_wait_for_a_digest() -> None:
    found = ledger(DIGEST)
    found.tell(NOW, occurrence(entry=1), occurrence(entry=2, severity=Severity.CRITICAL))
    assert [(each.entries, each.due_time) for each in found.of()] == [([1], NOW + 5 * HOUR), ([2], NOW)]


def test_a_digest_that_falls_into_quiet_hours_comes_after_them() -> None:
    found = ledger(DIGEST, person("ann", "engineer", quiet_hours=(WeeklyWindow(time(16), time(18)),)))
    found.tell(NOW, occurrence())
    assert only(found).due_time == NOW + 6 * HOUR


# Limits ----------------------------------------------------------------------------------------------------------------------------

LIMITED = rule("r", "engineer", messages_per_hour_max=2)


def test_what_is_beyond_the_hours_limit_is_one_message() -> None:
    found = ledger(LIMITED)
    found.tell(NOW, *(occurrence(entry=number) for number in range(1, 6)))
    found.tell(NOW + MINUTE, occurrence(entry=6))
    assert [(each.entries, each.due_time) for each in found.of()] == [
        ([1], NOW),
        ([2], NOW),
        ([3, 4, 5, 6], NOW + HOUR),
    ]


def test_what_waits_to_be_rendered_counts_as_told() -> None:
    found = ledger(LIMITED)
    for number in range(1, 4):
        found.tell(NOW + number * SECOND, occurrence(entry=number))
    assert entries(found) == [[1], [2], [3]]
    assert [each.due_time for each in found.of()][2] == NOW + 3 * SECOND + HOUR


def test_what_is_beyond_the_limit_waits_only_until_one_more_is_allowed() -> None:
    found = ledger(LIMITED)
    found.tell(NOW, occurrence(entry=1))
    found.freeze(NOW)
    found.tell(NOW + 45 * MINUTE, occurrence(entry=2), occurrence(entry=3))
    found.freeze(NOW + 45 * MINUTE)
    waiting = found.of(DeliveryState.WAITING)
    assert [each.entries for each in waiting] == [[3]]
    assert NOW + HOUR <= waiting[0].due_time <= NOW + HOUR + 10 * MINUTE


def test_what_is_critical_waits_for_the_limit_and_not_for_the_quiet_hours_of_what_it_is_told_with() -> None:
    long = WeeklyWindow(time(12, 30), time(6))
    found = ledger(replace(LIMITED, messages_per_hour_max=1), person("ann", "engineer", quiet_hours=(long,)))
    found.tell(NOW, occurrence(entry=1))
    found.freeze(NOW)
    found.tell(NOW + MINUTE, occurrence(entry=2))
    assert [each.due_time for each in found.of(DeliveryState.WAITING)] == [NOW + 18 * HOUR]
    found.tell(NOW + 2 * MINUTE, occurrence(entry=3, severity=Severity.CRITICAL))
    (waiting,) = found.of(DeliveryState.WAITING)
    assert waiting.entries == [2, 3]
    assert NOW + HOUR <= waiting.due_time <= NOW + HOUR + 12 * MINUTE


def test_what_is_critical_is_told_at_once_with_what_was_beyond_a_limit_that_is_over() -> None:
    long = WeeklyWindow(time(12, 30), time(6))
    found = ledger(replace(LIMITED, messages_per_hour_max=1), person("ann", "engineer", quiet_hours=(long,)))
    found.tell(NOW, occurrence(entry=1))
    found.freeze(NOW)
    found.tell(NOW + MINUTE, occurrence(entry=2))
    found.tell(NOW + 3 * HOUR, occurrence(entry=3, severity=Severity.CRITICAL))
    (waiting,) = found.of(DeliveryState.WAITING)
    assert (waiting.entries, waiting.due_time) == ([2, 3], NOW + 3 * HOUR)


def test_no_hour_has_more_messages_than_the_limit_however_they_come() -> None:
    found = ledger(LIMITED)
    for minutes in range(0, 300, 7):
        found.tell(NOW + minutes * MINUTE, occurrence(entry=minutes + 1))
        found.freeze(NOW + minutes * MINUTE)
    times = sorted(each.frozen_time for each in found.of() if each.frozen_time)
    assert all(later - earlier >= HOUR for earlier, later in zip(times, times[2:], strict=False))
    assert sum(each.entry_count for each in found.of()) == 43


def test_the_limit_is_of_each_address() -> None:
    found = ledger(LIMITED, ANN, person("ben", "engineer"))
    found.tell(NOW, occurrence(entry=1), occurrence(entry=2))
    assert {each.due_time for each in found.of()} == {NOW}


# Duplicates ------------------------------------------------------------------------------------------------------------------------

ONCE = rule("r", "engineer", duplicate_seconds=60.0)


def again(seconds: int, entry: int) -> Occurrence:
    """The same, so much later."""
    return replace(occurrence(entry=entry), time=NOW + seconds * SECOND)


def test_the_same_again_is_counted_and_not_told() -> None:
    found = ledger(ONCE)
    found.tell(NOW, again(0, 1), again(30, 2))
    found.tell(NOW + 59 * SECOND, again(59, 3))
    assert (only(found).entries, only(found).duplicates) == ([1], 2)


def test_it_is_told_again_when_the_time_is_over_that_the_first_began() -> None:
    found = ledger(ONCE)
    for number, seconds in enumerate((0, 50, 60, 100, 120), start=1):
        found.tell(NOW + seconds * SECOND, again(seconds, number))
    assert [(each.entries, each.duplicates) for each in found.of()] == [([1], 1), ([3], 1), ([5], 0)]


@pytest.mark.parametrize("other", [{"type": "phase.skipped"}, {"subject": "another"}, {"failure": None}], ids=str)
def test_what_differs_in_type_subject_or_reason_is_not_the_same(other: dict[str, Any]) -> None:
    found = ledger(ONCE)
    found.tell(NOW, again(0, 1), replace(again(1, 2), **other))
    assert entries(found) == [[1], [2]]


def test_what_was_kept_back_does_not_keep_the_same_from_being_told() -> None:
    silence = Silence("upkeep", EventMatch(), NOW - HOUR, NOW + SECOND)
    found = ledger(ONCE, silences=(silence,))
    found.tell(NOW, again(0, 1))
    found.tell(NOW + SECOND, again(1, 2))
    assert [each.state for each in found.of()] == [DeliveryState.SUPPRESSED, DeliveryState.WAITING]


def test_the_same_within_a_group_is_counted_with_the_message_that_tells_it() -> None:
    found = ledger(replace(ONCE, group_by=("run",)))
    found.tell(NOW, again(0, 1), replace(again(1, 2), type="phase.skipped"), again(2, 3))
    assert (only(found).entries, only(found).duplicates) == ([1, 2], 1)


# What is not told ------------------------------------------------------------------------------------------------------------------


def test_what_is_silenced_gathers_in_one_delivery_that_names_the_silence() -> None:
    silence = Silence("upkeep", EventMatch(), NOW, NOW + 2 * HOUR)
    found = ledger(rule("r", "engineer", confirm_seconds_max=60.0), silences=(silence,))
    found.tell(NOW, occurrence(entry=1), occurrence(entry=2))
    found.tell(NOW + MINUTE, occurrence(entry=3))
    made = only(found)
    assert (made.state, made.entries, made.entry_count) == (DeliveryState.SUPPRESSED, [1, 2, 3], 3)
    assert made.failure is not None
    assert made.failure.message == "silence upkeep keeps it back until 2026-05-05T14:00:00+00:00"
    assert made.confirm_by_time is None


def test_what_reaches_nobody_is_in_the_ledger_once_an_hour_and_is_told_of() -> None:
    found = ledger(rule("r", "engineer"), person("ann", "engineer", addresses={}))
    first = found.tell(NOW, occurrence(entry=1), occurrence(entry=2))
    more = found.tell(NOW + 59 * MINUTE, occurrence(entry=3))
    later = found.tell(NOW + HOUR, occurrence(entry=4))
    assert entries(found) == [[1, 2, 3], [4]]
    assert [len(each.undeliverable) for each in (first, more, later)] == [1, 0, 1]
    assert {each.state for each in found.of()} == {DeliveryState.UNDELIVERABLE}


def test_what_tells_of_deliveries_and_reaches_nobody_is_told_no_further() -> None:
    found = ledger(rule("r", "engineer"), person("ann", "engineer", addresses={}))
    assert found.tell(NOW, occurrence("notification.undeliverable")).undeliverable == []
    assert only(found).state is DeliveryState.UNDELIVERABLE


def test_a_redriven_delivery_gathers_no_more() -> None:
    found = ledger(rule("r", "engineer"), person("ann", "engineer", addresses={}))
    found.tell(NOW, occurrence(entry=1))
    only(found).state = DeliveryState.WAITING
    found.tell(NOW, occurrence(entry=2))
    assert entries(found) == [[1], [2]]


def test_a_rule_that_nobody_follows_leaves_a_delivery_without_a_stakeholder() -> None:
    found = Ledger(directory([], [rule("r", "engineer")]))
    found.tell(NOW, occurrence())
    assert (only(found).stakeholder, only(found).state) == ("", DeliveryState.UNDELIVERABLE)


# Incidents -------------------------------------------------------------------------------------------------------------------------

ESCALATING = replace(BY_PHASE, escalations=ESCALATIONS)


def test_a_rule_that_escalates_opens_an_incident_for_each_group() -> None:
    found = ledger(ESCALATING, ANN, person("ben", "engineer"))
    found.tell(NOW, occurrence(entry=1), occurrence(entry=2, **OTHER))
    first, second = found.incidents.values()
    assert (first.entries, second.entries) == ([1], [2])
    assert (first.rule, first.open_time, first.step) == ("r", NOW, 0)
    assert [each.incident for each in found.of()] == [first.id, first.id, second.id, second.id]
    assert all(each.needs_acknowledgement for each in found.of())


def test_the_first_step_follows_so_long_after_the_message() -> None:
    found = ledger(ESCALATING, SLEEPER, person("ben", "engineer"))
    found.tell(NOW, occurrence(entry=1))
    (incident,) = found.incidents.values()
    assert incident.next_time == NOW + 30 * SECOND + 10 * MINUTE


def test_what_a_group_adds_belongs_to_the_incident_under_way() -> None:
    found = ledger(ESCALATING)
    found.tell(NOW, occurrence(entry=1), occurrence(entry=2, severity=Severity.INFO))
    found.freeze(NOW + MINUTE)
    found.tell(NOW + 9 * MINUTE, occurrence(entry=3))
    (incident,) = found.incidents.values()
    assert incident.entries == [1, 2, 3]
    assert {each.incident for each in found.of()} == {incident.id}
    assert incident.next_time == NOW + 30 * SECOND + 10 * MINUTE


def test_what_comes_after_an_incident_has_ended_opens_another() -> None:
    found = ledger(ESCALATING)
    found.tell(NOW, occurrence(entry=1))
    (first,) = found.incidents.values()
    first.next_time = None
    found.tell(NOW + SECOND, occurrence(entry=2))
    assert len(found.incidents) == 2
    assert only(found).incident != first.id


def test_what_reaches_nobody_escalates_all_the_same_and_what_is_silenced_does_not() -> None:
    unreached = ledger(ESCALATING, person("ann", "engineer", addresses={}))
    unreached.tell(NOW, occurrence())
    assert [each.next_time for each in unreached.incidents.values()] == [NOW + 10 * MINUTE]
    silenced = ledger(ESCALATING, silences=(Silence("upkeep", EventMatch(), NOW, NOW + HOUR),))
    silenced.tell(NOW, occurrence())
    assert silenced.incidents == {}
