"""What is declared of notifications, read into the domain's words: messages without problems as stakeholders, rules and schedules."""

from collections.abc import Iterable
from datetime import UTC, datetime, time, tzinfo

from google.protobuf.timestamp_pb2 import Timestamp

from pymigrate.engine.application.schedules import zone_of
from pymigrate.engine.domain.calendar import WEEKDAYS, WeeklyWindow
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.notices import (
    LOCALE_DEFAULT,
    Address,
    ChannelTerms,
    Digest,
    DutyOverride,
    Escalation,
    EventMatch,
    KpiThreshold,
    Recipients,
    Rotation,
    Rule,
    Schedule,
    Severity,
    Silence,
    Stakeholder,
)
from pymigrate.v1 import notification_pb2
from pymigrate.v1.shape import enum_word

GROUP_INTERVAL_SECONDS = 300.0
HYSTERESIS = 0.05
DELIVERIES_MAX = 20
TRY_SECONDS_MAX = 10.0
TRIES_MAX = 8
CONFIRM_STATE = "accepted"


def stakeholder_of(message: notification_pb2.Stakeholder) -> Stakeholder:
    """Somebody who is told."""
    return Stakeholder(
        id=last_segment(message.name),
        uid=message.uid,
        display_name=message.display_name,
        roles=tuple(message.roles),
        departments=frozenset(message.departments),
        addresses={
            name: Address(each.channel, each.to, severity_of(each.severity_min) or Severity.INFO)
            for name, each in sorted(message.addresses.items())
        },
        locale=message.locale or LOCALE_DEFAULT,
        zone=_zone(message.time_zone),
        quiet_hours=tuple(_window(each) for _, each in sorted(message.quiet_hours.items())),
        is_paused=message.is_paused,
    )


def channel_of(message: notification_pb2.NotificationChannel) -> ChannelTerms:
    """A way out, as far as routing and dispatch need to know it."""
    return ChannelTerms(
        id=last_segment(message.name),
        kind=channel_kind(message),
        messages_per_minute_max=message.messages_per_minute_max,
        deliveries_max=message.deliveries_max or DELIVERIES_MAX,
        try_seconds_max=message.try_seconds_max or TRY_SECONDS_MAX,
        tries_max=message.tries_max or TRIES_MAX,
    )


def channel_kind(message: notification_pb2.NotificationChannel) -> str:
    """What a channel speaks: `smtp`, `webhook`, `apprise`, or the kind of a plugin."""
    system = message.WhichOneof("system") or ""
    return message.plugin.kind if system == "plugin" else system


def rule_of(message: notification_pb2.AlertRule) -> Rule:
    """Which occurrences are told to whom."""
    return Rule(
        id=last_segment(message.name),
        uid=message.uid,
        match=match_of(message.match),
        recipients=recipients_of(message.recipients),
        parent=message.parent_rule,
        order=message.order,
        continues=message.continues,
        template=message.template,
        group_by=tuple(message.group_by),
        group_wait_seconds=message.group_wait_seconds,
        group_interval_seconds=message.group_interval_seconds or GROUP_INTERVAL_SECONDS,
        repeat_interval_seconds=message.repeat_interval_seconds,
        digest=_digest(message.digest) if message.HasField("digest") else None,
        messages_per_hour_max=message.messages_per_hour_max,
        duplicate_seconds=message.duplicate_seconds,
        escalations=tuple(
            Escalation(each.after_seconds, recipients_of(each.recipients)) for each in message.escalations
        ),
        confirm_seconds_max=message.confirm_seconds_max,
        confirm_state=enum_word(notification_pb2.DeliveryState.DESCRIPTOR, message.confirm_state) or CONFIRM_STATE,
        severity=severity_of(message.severity),
        is_paused=message.is_paused,
    )


def match_of(message: notification_pb2.EventMatch) -> EventMatch:
    """Which occurrences match."""
    return EventMatch(
        types=tuple(message.types),
        severity_min=severity_of(message.severity_min) or Severity.INFO,
        plans=tuple(message.plans),
        phases=tuple(message.phases),
        departments=tuple(message.departments),
        reasons=tuple(message.reasons),
        kpi=_threshold(message.kpi) if message.HasField("kpi") else None,
        drift_min=message.drift_min,
        window_closes_seconds=message.window_closes_seconds,
    )


def recipients_of(message: notification_pb2.Recipients) -> Recipients:
    """Who is told."""
    return Recipients(
        roles=tuple(message.roles),
        stakeholders=tuple(message.stakeholders),
        on_call_schedules=tuple(message.on_call_schedules),
        includes_owners=message.includes_owners,
    )


def schedule_of(message: notification_pb2.OnCallSchedule) -> Schedule:
    """Who is on duty when."""
    return Schedule(
        id=last_segment(message.name),
        zone=_zone(message.time_zone),
        rotations={
            name: Rotation(
                tuple(each.stakeholders),
                _moment(each.start_time),
                each.turn_days,
                _window(each.hours) if each.HasField("hours") else None,
            )
            for name, each in sorted(message.rotations.items())
        },
        overrides={
            name: DutyOverride(each.stakeholder, _moment(each.start_time), _moment(each.end_time))
            for name, each in sorted(message.overrides.items())
        },
    )


def silence_of(message: notification_pb2.Silence) -> Silence:
    """What is not told for a while."""
    return Silence(
        last_segment(message.name), match_of(message.match), _moment(message.start_time), _moment(message.end_time)
    )


def severity_of(number: int) -> Severity | None:
    """The severity of the contract's number; None where it is not said."""
    return Severity(number) if number else None


def _threshold(message: notification_pb2.KpiThreshold) -> KpiThreshold:
    return KpiThreshold(
        message.figure, message.is_above, message.bound, message.hold_seconds, message.hysteresis or HYSTERESIS
    )


def _digest(message: notification_pb2.Digest) -> Digest:
    return Digest(tuple(sorted(time.fromisoformat(each) for each in message.times)), _days(message.days))


def _window(message: notification_pb2.QuietHours) -> WeeklyWindow:
    return WeeklyWindow(time.fromisoformat(message.start), time.fromisoformat(message.end), _days(message.days))


def _days(words: Iterable[str]) -> frozenset[int]:
    return frozenset(WEEKDAYS.index(day) for day in words)


def _moment(message: Timestamp) -> datetime:
    return message.ToDatetime(UTC)


def _zone(name: str) -> tzinfo:
    """A zone that was known when it was declared and is not on this machine counts as UTC: told at another hour is better than not told."""
    return zone_of(name) or UTC
