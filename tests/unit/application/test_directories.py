"""Directories: what an environment declares of notifications, in the domain's words, read no more often than it is written."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.notification_kinds import ALERT_RULES, SILENCES, STAKEHOLDERS
from pymigrate.engine.domain.calendar import WeeklyWindow
from pymigrate.engine.domain.notices import (
    Address,
    ChannelTerms,
    Digest,
    Directory,
    Escalation,
    EventMatch,
    KpiThreshold,
    Recipients,
    Severity,
)
from pymigrate.v1 import notification_pb2
from tests.unit.application.engines import ENVIRONMENT, ME, Engine
from tests.unit.application.noticed import add, declare_notices


async def directory(engine: Engine, directories: Directories) -> Directory:
    return await engine.store.read(lambda unit: directories.of(unit, ENVIRONMENT))


@pytest.fixture
async def noticed(engine: Engine) -> Engine:
    """An engine with an environment that declares one of each."""
    await declare_notices(engine)
    return engine


async def test_a_stakeholder_is_read_with_addresses_zone_and_quiet_hours(noticed: Engine) -> None:
    ann = (await directory(noticed, Directories())).stakeholders["ann"]
    assert (ann.id, ann.display_name, ann.locale) == ("ann", "Ann Meier", "de-CH")
    assert (ann.roles, ann.departments) == (("engineer", "owner"), frozenset({"sales"}))
    assert ann.addresses == {"mail": Address("mail", "ann@example.com", Severity.INFO)}
    assert ann.zone == ZoneInfo("Europe/Zurich")
    assert ann.quiet_hours == (WeeklyWindow(time(22), time(7), frozenset({0, 1})),)
    assert ann.uid


async def test_what_a_stakeholder_does_not_say_is_english_utc_and_every_department(noticed: Engine) -> None:
    bob = (await directory(noticed, Directories())).stakeholders["bob"]
    assert (bob.locale, bob.zone, bob.departments, bob.quiet_hours) == ("en", UTC, frozenset(), ())
    assert bob.addresses["hook"].severity_min is Severity.ERROR


async def test_a_rule_is_read_with_what_it_matches_and_who_is_told(noticed: Engine) -> None:
    rule = (await directory(noticed, Directories())).rules["failures"]
    assert rule.match == EventMatch(types=("phase.failed", "run.*"), severity_min=Severity.WARNING)
    assert rule.recipients == Recipients(roles=("engineer",), on_call_schedules=("nights",), includes_owners=True)
    assert rule.escalations == (Escalation(600, Recipients(stakeholders=("bob",))),)
    assert (rule.template, rule.group_interval_seconds, rule.confirm_state) == ("short", 300, "accepted")
    assert (rule.severity, rule.digest) == (None, None)


async def test_a_rule_that_finds_is_read_with_its_bound(noticed: Engine) -> None:
    rule = (await directory(noticed, Directories())).rules["lag"]
    assert rule.match.kpi == KpiThreshold("lag_seconds", True, 60, 30, 0.05)
    assert rule.match.finds
    assert rule.digest == Digest((time(8), time(17, 30)), frozenset({0}))
    assert (rule.parent, rule.group_by, rule.confirm_state) == ("failures", ("plan", "type"), "acknowledged")


async def test_a_schedule_is_read_with_its_turns_and_exceptions(noticed: Engine) -> None:
    schedule = (await directory(noticed, Directories())).schedules["nights"]
    first, easter = schedule.rotations["first"], schedule.overrides["easter"]
    assert (first.stakeholders, first.turn_days) == (("ann", "bob"), 7)
    assert first.start == datetime(2026, 1, 5, 8, tzinfo=UTC)
    assert first.hours == WeeklyWindow(time(18), time(8))
    assert (easter.stakeholder, easter.end) == ("bob", datetime(2026, 4, 6, tzinfo=UTC))


async def test_silences_and_channels_are_read_with_their_defaults(noticed: Engine) -> None:
    found = await directory(noticed, Directories())
    assert found.silences["freeze"].match.plans == ("warehouse*",)
    assert found.silences["freeze"].start == datetime(2026, 12, 20, tzinfo=UTC)
    assert found.channels == {"hook": ChannelTerms("hook", "webhook"), "mail": ChannelTerms("mail", "smtp")}


async def test_an_environment_that_declares_nothing_has_an_empty_directory(engine: Engine) -> None:
    assert await directory(engine, Directories()) == Directory(ENVIRONMENT)


async def test_a_directory_stays_the_same_one_until_something_is_written(noticed: Engine) -> None:
    directories = Directories()
    before = await directory(noticed, directories)
    assert await directory(noticed, directories) is before
    paused = notification_pb2.Stakeholder(name=f"{ENVIRONMENT}/stakeholders/ann", is_paused=True)
    mask = FieldMask(paths=["is_paused"])
    await noticed.store.transact(lambda unit: noticed.catalog.update(unit, STAKEHOLDERS, paused, mask, ME))
    after = await directory(noticed, directories)
    assert after.stakeholders["ann"].is_paused
    assert after.stakeholders["bob"] is before.stakeholders["bob"]
    assert after.rules["failures"] is before.rules["failures"]


async def test_what_was_deleted_leaves_the_directory(noticed: Engine) -> None:
    directories = Directories()
    await directory(noticed, directories)
    name = f"{ENVIRONMENT}/alertRules/lag"
    await noticed.store.transact(lambda unit: noticed.catalog.delete(unit, ALERT_RULES, name, "", ME))
    assert list((await directory(noticed, directories)).rules) == ["failures"]


async def test_another_object_of_the_same_name_is_read_anew(noticed: Engine) -> None:
    directories = Directories()
    await directory(noticed, directories)
    name, other = f"{ENVIRONMENT}/silences/freeze", {"reason": "another", "match": {"plans": ["other"]}}
    other |= {"startTime": "2026-12-20T00:00:00Z", "endTime": "2026-12-21T00:00:00Z"}
    await noticed.store.transact(lambda unit: noticed.catalog.delete(unit, SILENCES, name, "", ME))
    await noticed.store.transact(lambda unit: add(noticed, unit, SILENCES, "freeze", other))
    assert (await directory(noticed, directories)).silences["freeze"].match.plans == ("other",)
