"""Notifications in HCL are the contract's: both ways without a loss, and what can't be right is refused at its place."""

from typing import Any

import pytest

from pymigrate.provider.contract import to_message, to_state
from pymigrate.provider.resources.alert_rule import AlertRuleResource
from pymigrate.provider.resources.on_call_schedule import OnCallScheduleResource
from pymigrate.provider.resources.stakeholder import StakeholderResource
from pymigrate.provider.sdk.schema import Moment, are_equal
from pymigrate.provider.sdk.values import Unknown
from pymigrate.v1 import notification_pb2
from tests.unit.provider.schemas import full, planned, refused

PROD = "environments/prod"
MAIL = {"channel": "mail", "to": "ada@example.com", "severity_min": "warning"}
TEXT = {"subject": "{{ event.type }}", "body": "{{ event.subject }} failed"}
TEMPLATE: dict[str, Any] = {"environment": PROD, "notification_template_id": "failures", "texts": {"any": TEXT}}
SMTP = {"host": "mail.example.com", "sender": "PyMigrate <pymigrate@example.com>"}
CHANNEL: dict[str, Any] = {"environment": PROD, "notification_channel_id": "mail"}
RULE: dict[str, Any] = {"environment": PROD, "alert_rule_id": "failures"}
SCHEDULE: dict[str, Any] = {"environment": PROD, "on_call_schedule_id": "nights"}
STAKEHOLDER: dict[str, Any] = {"environment": PROD, "stakeholder_id": "ada"}


def test_a_stakeholder_goes_both_ways() -> None:
    attributes = StakeholderResource.attributes()
    night = {"start": "22:00", "end": "07:00", "days": ["sat", "sun"]}
    message = notification_pb2.Stakeholder()
    to_message({"roles": ["owner"], "addresses": {"mail": MAIL}, "quiet_hours": {"nights": night}}, message, attributes)
    assert message.addresses["mail"].severity_min == notification_pb2.SEVERITY_WARNING
    state = to_state(message, attributes)
    assert (state["addresses"], state["quiet_hours"]) == ({"mail": MAIL}, {"nights": night})


def test_a_rule_with_all_that_it_finds_gathers_and_escalates_goes_both_ways() -> None:
    attributes = AlertRuleResource.attributes()
    recipients = {"roles": ["operator"], "stakeholders": None, "on_call_schedules": ["nights"], "includes_owners": True}
    rule = {
        "match": dict.fromkeys(attributes["match"].nested)
        | {
            "types": ["phase.*"],
            "severity_min": "error",
            "kpi": {"figure": "errors.rate", "is_above": True, "bound": 0.01, "hold_seconds": 30, "hysteresis": 0.1},
        },
        "recipients": recipients,
        "digest": {"times": ["08:00"], "days": ["mon"]},
        "escalations": [{"after_seconds": 600, "recipients": recipients}],
        "confirm_state": "acknowledged",
        "severity": "critical",
    }
    message = notification_pb2.AlertRule()
    to_message(rule, message, attributes)
    assert message.escalations[0].recipients.includes_owners
    assert message.confirm_state == notification_pb2.DELIVERY_STATE_ACKNOWLEDGED
    state = to_state(message, attributes)
    assert {name: state[name] for name in rule} == rule


def test_times_of_a_schedule_go_both_ways() -> None:
    attributes = OnCallScheduleResource.attributes()
    turns = {"stakeholders": ["ada", "lin"], "start_time": "2026-01-05T08:00:00+01:00", "turn_days": 7, "hours": None}
    message = notification_pb2.OnCallSchedule()
    to_message({"rotations": {"week": turns}}, message, attributes)
    assert message.rotations["week"].start_time.seconds == 1_767_596_400
    assert to_state(message, attributes)["rotations"]["week"]["start_time"] == "2026-01-05T07:00:00Z"


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2026-01-05T08:00:00+01:00", "2026-01-05T07:00:00Z", True),
        ("2026-01-05T07:00:00Z", "2026-01-05T07:00:00.000Z", True),
        ("2026-01-05T07:00:00Z", "2026-01-05T07:00:00.001Z", False),
        ("2026-01-05T07:00:00Z", None, False),
        (None, None, True),
        (Unknown, "2026-01-05T07:00:00Z", False),
        ("soon", "soon", True),
        ("soon", "later", False),
    ],
)
def test_a_time_is_the_same_however_it_is_written(one: Any, other: Any, is_same: bool) -> None:
    assert Moment().semantically_equal(one, other) is is_same


def test_a_time_that_is_written_otherwise_is_no_change() -> None:
    attributes = OnCallScheduleResource.attributes()
    turns = {"stakeholders": ["ada"], "turn_days": 7}
    here = {"week": turns | {"start_time": "2026-01-05T08:00:00+01:00"}}
    there = {"week": turns | {"start_time": "2026-01-05T07:00:00Z"}}
    assert are_equal(attributes["rotations"], here, there)


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("stakeholder", STAKEHOLDER | {"environment": "prod"}, "environment: `prod` must be an environment's resource"),
        ("stakeholder", STAKEHOLDER | {"stakeholder_id": "Ada"}, "stakeholder_id: `Ada` must be 1 to 63 lower-case"),
        (
            "stakeholder",
            STAKEHOLDER | {"display_name": "Ada\nBcc: all"},
            "display_name: `Ada\nBcc: all` must be one line",
        ),
        (
            "stakeholder",
            STAKEHOLDER | {"addresses": {"mail": MAIL | {"severity_min": "grave"}}},
            'addresses.mail: addresses["mail"].severity_min: `grave` is not one of info, warning, error, critical',
        ),
        (
            "stakeholder",
            STAKEHOLDER | {"quiet_hours": {"nights": {"start": "25:00", "end": "07:00"}}},
            'quiet_hours.nights: quiet_hours["nights"].start: `25:00` must be a time of the day',
        ),
        (
            "stakeholder",
            STAKEHOLDER | {"quiet_hours": {"nights": {"start": "22:00", "end": "07:00", "days": ["mon", "sunday"]}}},
            'quiet_hours.nights: quiet_hours["nights"].days[1]: `sunday` must be one of mon, tue',
        ),
        ("notification_channel", CHANNEL, ": Set one of smtp, webhook, apprise, plugin; none is set"),
        (
            "notification_channel",
            CHANNEL | {"smtp": SMTP, "webhook": {"url": "https://example.com"}},
            "webhook: Set one of smtp, webhook, apprise, plugin; smtp and webhook are set",
        ),
        (
            "notification_channel",
            CHANNEL | {"webhook": {"secret_headers": {"Authorization": "Bearer t0ken"}}},
            'webhook: webhook.secret_headers["Authorization"]: must be a reference',
        ),
        ("alert_rule", RULE | {"group_by": ["plan", "colour"]}, "group_by.1: `colour` must be one of plan, run"),
        ("alert_rule", RULE | {"confirm_state": "dead"}, "confirm_state: `dead` must be one of accepted"),
        ("alert_rule", RULE | {"confirm_state": "seen"}, "confirm_state: `seen` is not one of waiting"),
        ("alert_rule", RULE | {"repeat_interval_seconds": 5}, "repeat_interval_seconds: 5 must be at least 60, or 0"),
        (
            "alert_rule",
            RULE | {"repeat_interval_seconds": "-1e5000"},
            "repeat_interval_seconds: -1e+5000 must be at least 60",
        ),
        (
            "alert_rule",
            RULE | {"escalations": [{"after_seconds": 1, "recipients": {}}]},
            "escalations.0: escalations[0].after_seconds: 1 must be at least 60",
        ),
        (
            "on_call_schedule",
            SCHEDULE | {"rotations": {"week": {"stakeholders": ["ada"], "start_time": "monday", "turn_days": 7}}},
            'rotations.week: rotations["week"].start_time: `monday` must be a time such as 2026-01-31T12:00:00Z',
        ),
    ],
)
def test_what_can_not_be_right_is_refused_at_its_place_before_an_engine_is_asked(
    kind: str, values: dict[str, Any], said: str
) -> None:
    [found] = refused(f"pymigrate_{kind}", **values)
    assert found.startswith(said)


def test_a_secret_that_was_written_by_mistake_is_not_shown() -> None:
    [found] = refused("pymigrate_notification_channel", **CHANNEL, smtp=SMTP | {"password": "pa55word"})
    assert "smtp.password: must be a reference" in found
    assert "pa55word" not in found


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("notification_channel", CHANNEL | {"smtp": SMTP | {"password": "env://SMTP_PASSWORD"}}),
        ("notification_channel", CHANNEL | {"apprise": {"url": "file:///run/secrets/chat.json#url"}}),
        ("notification_channel", CHANNEL | {"smtp": Unknown, "webhook": None}),
        ("alert_rule", RULE | {"repeat_interval_seconds": 0, "group_by": [Unknown, "plan"]}),
        ("stakeholder", STAKEHOLDER | {"environment": Unknown, "quiet_hours": Unknown}),
    ],
)
def test_what_is_right_or_not_known_yet_is_not_refused(kind: str, values: dict[str, Any]) -> None:
    assert refused(f"pymigrate_{kind}", **values) == []


def test_another_kind_of_channel_is_another_object_and_another_host_is_not() -> None:
    kind = "pymigrate_notification_channel"
    made = {"name": f"{PROD}/notificationChannels/mail", "uid": "1"}
    prior = full(kind, **CHANNEL, smtp=SMTP, **made)
    _, replaced = planned(kind, prior, **CHANNEL, webhook={"url": "https://example.com"})
    assert replaced == ["smtp", "webhook"]
    _, replaced = planned(kind, prior, **CHANNEL, smtp=SMTP | {"host": "relay.example.com"})
    assert replaced == []


def test_the_version_of_a_template_is_unknown_only_when_a_text_changes() -> None:
    kind = "pymigrate_notification_template"
    made = {"name": f"{PROD}/notificationTemplates/failures", "uid": "1", "version": 3}
    prior = full(kind, **TEMPLATE, **made)
    renamed, _ = planned(kind, prior, **TEMPLATE, display_name="Failures")
    assert renamed["version"] == 3
    rewritten, _ = planned(kind, prior, **TEMPLATE | {"texts": {"any": TEXT | {"body": "failed"}}})
    assert rewritten["version"] is Unknown
    first, _ = planned(kind, None, **TEMPLATE)
    assert first["version"] is Unknown
