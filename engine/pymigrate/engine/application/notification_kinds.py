"""The kinds of declared objects of notifications, with the checks that need the store: what must exist, and who still needs what."""

from collections.abc import Iterator

from pymigrate.engine.application.alert_rule_definitions import alert_rule_problems
from pymigrate.engine.application.channel_addresses import address_problems
from pymigrate.engine.application.channel_definitions import channel_problems
from pymigrate.engine.application.declared_backends import reference_problems
from pymigrate.engine.application.duty_definitions import on_call_schedule_problems, silence_problems
from pymigrate.engine.application.kind import Kind
from pymigrate.engine.application.kinds import children, departments_of
from pymigrate.engine.application.notification_definitions import Known
from pymigrate.engine.application.remembering import held_of, remembered
from pymigrate.engine.application.stakeholder_definitions import stakeholder_problems
from pymigrate.engine.application.template_definitions import template_own_problems
from pymigrate.engine.domain.errors import FailedPrecondition, Problem
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import notification_pb2


def _names(unit: Unit, collection: str, environment: str) -> frozenset[str]:
    """The last segments of everything of a collection."""

    def names() -> frozenset[str]:
        return frozenset(map(last_segment, unit.resources.names(collection, environment)))

    return remembered(unit, "known", collection, environment, names)


def known_names(unit: Unit, environment: str) -> Known:
    """What definitions of notifications may name in an environment."""
    return Known(
        stakeholders=_names(unit, "stakeholders", environment),
        schedules=_names(unit, "onCallSchedules", environment),
        departments=_names(unit, "departments", environment),
        templates=_names(unit, "notificationTemplates", environment),
    )


def _stakeholders(unit: Unit, environment: str) -> Iterator[notification_pb2.Stakeholder]:
    return (held_of(unit, STAKEHOLDERS, found) for found in children(unit, "stakeholders", environment))


def rules_of(unit: Unit, environment: str) -> Iterator[notification_pb2.AlertRule]:
    """The environment's alert rules, by name."""
    return (held_of(unit, ALERT_RULES, found) for found in children(unit, "alertRules", environment))


def _check_stakeholder(unit: Unit, stakeholder: notification_pb2.Stakeholder) -> Iterator[Problem]:
    environment = environment_of(stakeholder.name)
    wanted = {address.channel for address in stakeholder.addresses.values()}
    channels = {
        last_segment(found.name): held_of(unit, NOTIFICATION_CHANNELS, found)
        for found in children(unit, "notificationChannels", environment)
        if wanted
    }
    yield from stakeholder_problems(stakeholder, channels, departments_of(unit, environment))


def _check_channel(unit: Unit, channel: notification_pb2.NotificationChannel) -> Iterator[Problem]:
    """Besides its own problems, those that it would make of the addresses that it reaches."""
    yield from channel_problems(channel)
    yield from reference_problems(unit, environment_of(channel.name), channel)
    name = last_segment(channel.name)
    if channel.WhichOneof("system") != "webhook" or channel.webhook.url:
        return
    for stakeholder in _stakeholders(unit, environment_of(channel.name)):
        for place, address in sorted(stakeholder.addresses.items()):
            if address.channel == name and any(address_problems(place, address.to, channel)):
                yield Problem(
                    "webhook.url", f"is required: {stakeholder.name} is reached by it, at `{place}`, without a URL"
                )


def _check_rule(unit: Unit, rule: notification_pb2.AlertRule) -> Iterator[Problem]:
    environment = environment_of(rule.name)

    def parents() -> dict[str, str]:
        return {last_segment(each.name): each.parent_rule for each in rules_of(unit, environment)}

    above = remembered(unit, "parents", "alertRules", environment, parents)
    yield from alert_rule_problems(rule, known_names(unit, environment), above, last_segment(rule.name))


def _check_template(unit: Unit, template: notification_pb2.NotificationTemplate) -> Iterator[Problem]:
    del unit
    return template_own_problems(template)


def _check_schedule(unit: Unit, schedule: notification_pb2.OnCallSchedule) -> Iterator[Problem]:
    return on_call_schedule_problems(schedule, _names(unit, "stakeholders", environment_of(schedule.name)))


def _check_silence(unit: Unit, silence: notification_pb2.Silence) -> Iterator[Problem]:
    del unit
    return silence_problems(silence)


def _free_stakeholder(unit: Unit, stakeholder: notification_pb2.Stakeholder) -> None:
    name, environment = last_segment(stakeholder.name), environment_of(stakeholder.name)
    for rule in rules_of(unit, environment):
        if any(name in each.stakeholders for each in _told(rule)):
            _refuse(stakeholder.name, rule.name)
    for found in children(unit, "onCallSchedules", environment):
        schedule = ON_CALL_SCHEDULES.held(found)
        takes_turns = any(name in rotation.stakeholders for rotation in schedule.rotations.values())
        if takes_turns or any(name == override.stakeholder for override in schedule.overrides.values()):
            _refuse(stakeholder.name, schedule.name)


def _free_channel(unit: Unit, channel: notification_pb2.NotificationChannel) -> None:
    name = last_segment(channel.name)
    for stakeholder in _stakeholders(unit, environment_of(channel.name)):
        if any(address.channel == name for address in stakeholder.addresses.values()):
            _refuse(channel.name, stakeholder.name)


def _free_rule(unit: Unit, rule: notification_pb2.AlertRule) -> None:
    for other in rules_of(unit, environment_of(rule.name)):
        if other.parent_rule == last_segment(rule.name):
            _refuse(rule.name, other.name)


def _free_template(unit: Unit, template: notification_pb2.NotificationTemplate) -> None:
    for rule in rules_of(unit, environment_of(template.name)):
        if rule.template == last_segment(template.name):
            _refuse(template.name, rule.name)


def _free_schedule(unit: Unit, schedule: notification_pb2.OnCallSchedule) -> None:
    for rule in rules_of(unit, environment_of(schedule.name)):
        if any(last_segment(schedule.name) in each.on_call_schedules for each in _told(rule)):
            _refuse(schedule.name, rule.name)


def _free_silence(unit: Unit, silence: notification_pb2.Silence) -> None:
    del unit, silence


def _told(rule: notification_pb2.AlertRule) -> Iterator[notification_pb2.Recipients]:
    """Everybody whom a rule names, at once or later."""
    yield rule.recipients
    yield from (step.recipients for step in rule.escalations)


def _refuse(name: str, by: str) -> None:
    raise FailedPrecondition(f"{name} is needed by {by}: change that first")


def _count_version(
    before: notification_pb2.NotificationTemplate | None, template: notification_pb2.NotificationTemplate
) -> None:
    """A template has another version with every write that changed a text: the ledger tells by which one somebody was told."""
    if before is None:
        template.version = 1
    else:
        template.version = before.version + int(dict(before.texts) != dict(template.texts))


STAKEHOLDERS = Kind("stakeholders", notification_pb2.Stakeholder, _check_stakeholder, _free_stakeholder)
NOTIFICATION_CHANNELS = Kind(
    "notificationChannels", notification_pb2.NotificationChannel, _check_channel, _free_channel
)
ALERT_RULES = Kind("alertRules", notification_pb2.AlertRule, _check_rule, _free_rule)
NOTIFICATION_TEMPLATES = Kind(
    "notificationTemplates",
    notification_pb2.NotificationTemplate,
    _check_template,
    _free_template,
    output_only=frozenset({"version"}),
    stamp=_count_version,
)
ON_CALL_SCHEDULES = Kind("onCallSchedules", notification_pb2.OnCallSchedule, _check_schedule, _free_schedule)
SILENCES = Kind("silences", notification_pb2.Silence, _check_silence, _free_silence)
