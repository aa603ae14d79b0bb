"""What may be declared of notifications: every mistake is told at its field, and nothing that could end a header's line gets through."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.adapters.channels.mail import mailbox
from pymigrate.engine.application.alert_rule_definitions import alert_rule_problems
from pymigrate.engine.application.channel_addresses import address_problems, mail_problems, mailbox_problems
from pymigrate.engine.application.channel_definitions import channel_problems
from pymigrate.engine.application.duty_definitions import on_call_schedule_problems, silence_problems
from pymigrate.engine.application.event_types import EVENT_TYPES, types_named
from pymigrate.engine.application.notification_definitions import Known
from pymigrate.engine.application.stakeholder_definitions import stakeholder_problems
from pymigrate.engine.application.template_definitions import template_own_problems
from pymigrate.engine.domain.errors import Problem
from pymigrate.v1 import notification_pb2
from tests.unit.application import noticed

KNOWN = Known({"ann", "bob"}, {"nights"}, {"sales"}, {"short"})
CHANNELS = {
    name: json_format.ParseDict(document, notification_pb2.NotificationChannel())
    for name, document in (("mail", noticed.MAIL), ("hook", noticed.HOOK), ("bare", {"webhook": {}}))
}
SLACK = notification_pb2.NotificationChannel(apprise=notification_pb2.AppriseChannel(url="env://SLACK"))
SECRET = "hunter2"


def told(problems: Iterable[Problem]) -> dict[str, str]:
    """The fields with what is wrong."""
    return {problem.field: problem.description for problem in problems}


def of_stakeholder(**fields: Any) -> dict[str, str]:
    document = noticed.ANN | fields
    return told(
        stakeholder_problems(json_format.ParseDict(document, notification_pb2.Stakeholder()), CHANNELS, {"sales"})
    )


def of_channel(document: Mapping[str, Any]) -> dict[str, str]:
    return told(channel_problems(json_format.ParseDict(dict(document), notification_pb2.NotificationChannel())))


def of_rule(**fields: Any) -> dict[str, str]:
    rule = json_format.ParseDict(noticed.FAILURES | fields, notification_pb2.AlertRule())
    parents = {"failures": "", "lag": "failures", "deep": "lag"}
    return told(alert_rule_problems(rule, KNOWN, parents, "failures"))


def of_template(**fields: Any) -> dict[str, str]:
    template = json_format.ParseDict(noticed.SHORT | fields, notification_pb2.NotificationTemplate())
    return told(template_own_problems(template))


def of_schedule(**fields: Any) -> dict[str, str]:
    schedule = json_format.ParseDict(noticed.NIGHTS | fields, notification_pb2.OnCallSchedule())
    return told(on_call_schedule_problems(schedule, {"ann", "bob"}))


def of_silence(**fields: Any) -> dict[str, str]:
    return told(silence_problems(json_format.ParseDict(noticed.FREEZE | fields, notification_pb2.Silence())))


def test_what_is_right_has_no_problem() -> None:
    assert of_stakeholder() == {}
    assert of_channel(noticed.MAIL) == of_channel(noticed.HOOK) == {}
    assert of_rule() == of_rule(**noticed.LAG | {"parentRule": ""}) == {}
    assert of_template() == of_schedule() == of_silence() == {}


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"displayName": "Ann\r\nBcc: eve@example.com"}, "display_name", "one line"),
        ({"displayName": "Ann\u2028Meier"}, "display_name", "one line"),
        ({"displayName": "A" * 201}, "display_name", "at most 200"),
        ({"roles": ["Engineer"]}, "roles", "is no name"),
        ({"roles": ["engineer", "engineer"]}, "roles", "names one twice"),
        ({"roles": [f"r{at}" for at in range(17)]}, "roles", "at most 16"),
        ({"departments": ["sale"]}, "departments", "did you mean `sales`?"),
        ({"locale": "german_ch"}, "locale", "BCP 47"),
        ({"timeZone": "Mars/Olympus"}, "time_zone", "IANA"),
        ({"timeZone": "../../etc/passwd"}, "time_zone", "IANA"),
        ({"quietHours": {"night": {"start": "25:00", "end": "07:00"}}}, "quiet_hours.night.start", "time of day"),
        ({"quietHours": {"n": {"start": "22:00", "end": "07:00", "days": ["mo"]}}}, "quiet_hours.n.days", "no day"),
        ({"addresses": {"m": {"channel": "mial", "to": "x"}}}, "addresses.m.channel", "did you mean `mail`?"),
        ({"addresses": {"m": {"to": "ann@example.com"}}}, "addresses.m.channel", "no notification channel"),
        ({"addresses": {"A": {"channel": "mail", "to": "a@example.com"}}}, "addresses.A", "is no name"),
        ({"addresses": {"m": {"channel": "mail", "to": "ann"}}}, "addresses.m.to", "no mail address"),
        ({"addresses": {"m": {"channel": "mail", "to": "a@b@c.de"}}}, "addresses.m.to", "no mail address"),
        ({"addresses": {"m": {"channel": "mail", "to": "a b@c.de"}}}, "addresses.m.to", "no mail address"),
        ({"addresses": {"m": {"channel": "mail", "to": "a@c.de\r\nBcc: x@y.z"}}}, "addresses.m.to", "no mail address"),
        ({"addresses": {"m": {"channel": "mail", "to": "a@-c.de"}}}, "addresses.m.to", "no domain"),
        ({"addresses": {"w": {"channel": "bare"}}}, "addresses.w.to", "no URL of its own"),
        ({"addresses": {"w": {"channel": "hook", "to": "ftp://x"}}}, "addresses.w.to", "no address of HTTP"),
        ({"addresses": {"w": {"channel": "hook", "to": "https://u:p@x"}}}, "addresses.w.to", "no user and no password"),
        ({"addresses": {"w": {"channel": "hook", "to": "https://x/\r\nA: b"}}}, "addresses.w.to", "no address of HTTP"),
        (
            {"addresses": {f"a{at}": {"channel": "mail", "to": "a@b.de"} for at in range(17)}},
            "addresses",
            "at most 16",
        ),
        (
            {"addresses": {"m": {"channel": "mail", "to": "a@b.de", "severityMin": 9}}},
            "addresses.m.severity_min",
            "no severity",
        ),
    ],
)
def test_what_is_wrong_with_a_stakeholder_is_told_at_its_field(fields: dict[str, Any], field: str, says: str) -> None:
    assert says in of_stakeholder(**fields)[field]


@pytest.mark.parametrize(
    "address",
    ["ann@example.com", "a.b+c@sub.example.com", "root@localhost", "ann@bücher.example", "o'neil@example.org"],
)
def test_a_mail_address_of_the_usual_forms_is_taken(address: str) -> None:
    assert not list(mail_problems("to", address))


@pytest.mark.parametrize(
    "sender",
    ["migrations@example.com", "Größe <a@example.com>", '"Meier, Ann" <a@example.com>', '"J. Doe" <a@example.com>'],
)
def test_a_sender_that_is_taken_is_one_that_mail_can_carry(sender: str) -> None:
    assert not list(mailbox_problems("sender", sender))
    assert mailbox(sender, "sender").address.endswith("@example.com")


@pytest.mark.parametrize(
    "sender", ["Meier, Ann <a@example.com>", 'x"y <a@example.com>', "A: b; <a@example.com>", "J. Doe <a@example.com>"]
)
def test_a_name_that_a_header_would_read_otherwise_stands_in_quotes(sender: str) -> None:
    assert "write it as" in told(mailbox_problems("sender", sender))["sender"]


def test_a_mail_address_is_no_longer_than_mail_carries() -> None:
    assert "254" in told(mail_problems("to", f"a@{'b' * 60}.{'c' * 60}.{'d' * 60}.{'e' * 60}.example.com"))["to"]


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=30))
def test_whatever_sender_is_taken_can_be_sent_from(name: str) -> None:
    sender = f"{name} <a@example.com>"
    if not list(mailbox_problems("sender", sender)):
        assert mailbox(sender, "sender").address == "a@example.com"


@given(st.text(max_size=40), st.sampled_from("\r\n\0\x0b\x1b\x85\u2028\u2029"), st.text(max_size=40))
def test_no_address_of_any_channel_ends_a_line(before: str, control: str, after: str) -> None:
    for to in (f"{before}{control}{after}", f"ann@{before}{control}{after}", f"https://x/{before}{control}{after}"):
        for channel in (*CHANNELS.values(), SLACK):
            assert list(address_problems("to", to, channel))


@pytest.mark.parametrize(
    ("document", "field", "says"),
    [
        ({}, "system", "set one of smtp, webhook, apprise, plugin"),
        ({"smtp": {"sender": "a@b.de"}}, "smtp.host", "is required"),
        ({"smtp": {"host": "a b", "sender": "a@b.de"}}, "smtp.host", "no host"),
        ({"smtp": {"host": "h", "sender": "a@b.de", "port": 70_000}}, "smtp.port", "65,535"),
        ({"smtp": {"host": "h", "sender": ""}}, "smtp.sender", "no mail address"),
        ({"smtp": {"host": "h", "sender": "X\nBcc <a@b.de>"}}, "smtp.sender", "one line"),
        ({"smtp": {"host": "h", "sender": "a@b.de", "replyTo": "x"}}, "smtp.reply_to", "no mail address"),
        ({"smtp": {"host": "h", "sender": "a@b.de", "username": "u"}}, "smtp.password", "beside `username`"),
        ({"smtp": {"host": "h", "sender": "a@b.de", "password": "env://P"}}, "smtp.username", "beside `password`"),
        (
            {"smtp": {"host": "h", "sender": "a@b.de", "username": "u", "password": SECRET}},
            "smtp.password",
            "must be a reference",
        ),
        ({"smtp": {"host": "h", "sender": "a@b.de", "connectionsMax": 101}}, "smtp.connections_max", "100"),
        ({"smtp": {"host": "h", "sender": "a@b.de", "security": 9}}, "smtp.security", "starttls"),
        ({"webhook": {"url": "example.com"}}, "webhook.url", "no address of HTTP"),
        ({"webhook": {"url": "https://x#y"}}, "webhook.url", "no fragment"),
        ({"webhook": {"url": "https://x:99999"}}, "webhook.url", "no address of HTTP"),
        ({"webhook": {"signingKey": SECRET}}, "webhook.signing_key", "must be a reference"),
        ({"webhook": {"formerSigningKey": "env://OLD"}}, "webhook.signing_key", "is required beside"),
        ({"webhook": {"secretHeaders": {"X\r\nY": "env://A"}}}, "webhook.secret_headers.X\r\nY", "no name of a header"),
        ({"webhook": {"secretHeaders": {"host": "env://A"}}}, "webhook.secret_headers.host", "no name of a header"),
        (
            {"webhook": {"secretHeaders": {"Idempotency-Key": "env://A"}}},
            "webhook.secret_headers.Idempotency-Key",
            "by the channel itself",
        ),
        (
            {"webhook": {"secretHeaders": {"Authorization": SECRET}}},
            "webhook.secret_headers.Authorization",
            "must be a reference",
        ),
        ({"webhook": {"secretHeaders": {"X-Key": ""}}}, "webhook.secret_headers.X-Key", "is required"),
        ({"apprise": {}}, "apprise.url", "is required"),
        ({"apprise": {"url": f"slack://{SECRET}"}}, "apprise.url", "must be a reference"),
        ({"plugin": {"kind": "smtp"}}, "plugin.kind", "set `smtp` itself"),
        ({"plugin": {"kind": "Pager"}}, "plugin.kind", "is no name"),
        ({"plugin": {"kind": "carrier-pigeon"}}, "plugin.kind", "no installed package has a channel"),
        (noticed.HOOK | {"displayName": "a\tb"}, "display_name", "one line"),
        (noticed.HOOK | {"messagesPerMinuteMax": -1}, "messages_per_minute_max", "0 to"),
        (noticed.HOOK | {"deliveriesMax": 501}, "deliveries_max", "500"),
        (noticed.HOOK | {"trySecondsMax": "NaN"}, "try_seconds_max", "0 for 10"),
        (noticed.HOOK | {"trySecondsMax": -1}, "try_seconds_max", "0.1 to 120"),
        (noticed.HOOK | {"triesMax": 101}, "tries_max", "100"),
    ],
)
def test_what_is_wrong_with_a_channel_is_told_at_its_field(document: dict[str, Any], field: str, says: str) -> None:
    found = of_channel(document)
    assert says in found[field]
    assert SECRET not in str(found)


def test_a_secret_among_a_plugins_options_must_be_a_reference() -> None:
    found = of_channel({"plugin": {"kind": "pager", "options": {"api_token": SECRET}}})
    assert "must be a reference" in found["plugin.options.api_token"]
    assert SECRET not in str(found)


def test_a_plugin_is_known_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "pagers-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: pagers\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[pymigrate.channels]\npager = pagers:Pager\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert of_channel({"plugin": {"kind": "pager"}}) == {}
    assert "did you mean `pager`?" in of_channel({"plugin": {"kind": "pagr"}})["plugin.kind"]


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"displayName": "a\nb"}, "display_name", "one line"),
        ({"parentRule": "failures"}, "parent_rule", "the rule itself"),
        ({"parentRule": "lga"}, "parent_rule", "did you mean `lag`?"),
        ({"parentRule": "deep"}, "parent_rule", "failures → deep → lag → failures"),
        ({"order": 1_000_001}, "order", "1,000,000"),
        ({"match": {"types": ["phase.faild"]}}, "match.types", "did you mean `phase.failed`?"),
        ({"match": {"types": ["fase.*"]}}, "match.types", "did you mean `phase.*`?"),
        ({"match": {"types": ["*"]}}, "match.types", "no type of event"),
        ({"match": {"types": ["run.failed", "run.failed"]}}, "match.types", "twice"),
        ({"match": {"plans": ["Ware house"]}}, "match.plans", "last segment"),
        ({"match": {"reasons": ["timeout"]}}, "match.reasons", "SOURCE_UNAVAILABLE"),
        ({"match": {"severityMin": 9}}, "match.severity_min", "no severity"),
        ({"match": {"kpi": {"figure": "lag_second", "bound": 1}}}, "match.kpi.figure", "did you mean `lag_seconds`?"),
        ({"match": {"kpi": {"figure": "lag_seconds", "bound": "NaN"}}}, "match.kpi.bound", "must be"),
        ({"match": {"kpi": {"figure": "completion", "bound": 50}}}, "match.kpi.bound", "must be 0 to 1"),
        ({"match": {"kpi": {"figure": "rows", "bound": 1, "holdSeconds": -1}}}, "match.kpi.hold_seconds", "must be 0"),
        ({"match": {"kpi": {"figure": "rows", "bound": 1, "hysteresis": 2}}}, "match.kpi.hysteresis", "must be 0 to 1"),
        (
            {"match": {"types": ["run.*"], "kpi": {"figure": "rows", "bound": 1}}},
            "match.types",
            "is not asked beside `kpi`",
        ),
        ({"match": {"driftMin": -0.1}}, "match.drift_min", "must be 0 to 100"),
        ({"match": {"windowClosesSeconds": "Infinity"}}, "match.window_closes_seconds", "must be 0"),
        ({"recipients": {"roles": ["a b"]}}, "recipients.roles", "is no name"),
        ({"recipients": {"stakeholders": ["anne"]}}, "recipients.stakeholders", "did you mean `ann`?"),
        ({"recipients": {"onCallSchedules": ["days"]}}, "recipients.on_call_schedules", "no on-call schedule `days`"),
        ({"recipients": {}}, "recipients", "who is told first"),
        ({"template": "shrot"}, "template", "did you mean `short`?"),
        ({"groupBy": ["plan", "colour"]}, "group_by", "plan, run, phase"),
        ({"groupBy": ["plan", "plan"]}, "group_by", "twice"),
        ({"groupWaitSeconds": -1}, "group_wait_seconds", "must be 0"),
        ({"groupIntervalSeconds": 90_000}, "group_interval_seconds", "86,400"),
        ({"repeatIntervalSeconds": 30}, "repeat_interval_seconds", "or 0 for never"),
        ({"duplicateSeconds": "NaN"}, "duplicate_seconds", "must be 0"),
        ({"messagesPerHourMax": -1}, "messages_per_hour_max", "10,000"),
        ({"digest": {}}, "digest.times", "1 to 24"),
        ({"digest": {"times": ["8:00"]}}, "digest.times", "time of day"),
        ({"digest": {"times": ["08:00", "08:00"]}}, "digest.times", "twice"),
        ({"digest": {"times": ["08:00"], "days": ["monday"]}}, "digest.days", "no day"),
        ({"escalations": [{"afterSeconds": 59, "recipients": {"roles": ["x"]}}]}, "escalations[0].after_seconds", "60"),
        ({"escalations": [{"afterSeconds": 60}]}, "escalations[0].recipients", "who is told next"),
        (
            {"escalations": [{"afterSeconds": 60, "recipients": {"stakeholders": ["bo"]}}]},
            "escalations[0].recipients.stakeholders",
            "did you mean `bob`?",
        ),
        ({"escalations": [{"afterSeconds": 60, "recipients": {"roles": ["x"]}}] * 11}, "escalations", "at most 10"),
        ({"confirmSecondsMax": -1}, "confirm_seconds_max", "must be 0"),
        ({"confirmState": "DELIVERY_STATE_DEAD"}, "confirm_state", "accepted, delivered, acknowledged"),
        ({"confirmState": 99}, "confirm_state", "accepted, delivered, acknowledged"),
        ({"severity": 9}, "severity", "no severity"),
    ],
)
def test_what_is_wrong_with_a_rule_is_told_at_its_field(fields: dict[str, Any], field: str, says: str) -> None:
    assert says in of_rule(**fields)[field]


def test_a_rule_without_recipients_may_stand_above_others() -> None:
    assert of_rule(recipients={}, escalations=[]) == {}


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"name": "environments/e/notificationTemplates/default-executive"}, "name", "begins with `default-`"),
        ({"types": ["lane.flies"]}, "types", "no type of event"),
        ({"texts": {}}, "texts", "1 to 64"),
        ({"texts": {"EN": {"subject": "s", "body": "b"}}}, "texts.EN", "is no name"),
        ({"texts": {"a": {"subject": "s\nBcc: x", "body": "b"}}}, "texts.a.subject", "one line"),
        ({"texts": {"a": {"subject": "s" * 1_001, "body": "b"}}}, "texts.a.subject", "1,000"),
        ({"texts": {"a": {"subject": " ", "body": "b"}}}, "texts.a.subject", "is required"),
        ({"texts": {"a": {"subject": "s"}}}, "texts.a.body", "is required"),
        ({"texts": {"a": {"subject": "s", "body": "ü" * 32_001}}}, "texts.a.body", "64 kB"),
        ({"texts": {"a": {"subject": "s", "body": "b", "html": "x" * 64_001}}}, "texts.a.html", "64 kB"),
        (
            {"texts": {"a": {"subject": "s", "body": "b", "locale": "de_CH"}}},
            "texts.a.locale",
            "`de_CH` is no language",
        ),
        ({"texts": {"a": {"subject": "s", "body": "b", "channel": "Slack!"}}}, "texts.a.channel", "is no name"),
        (
            {"texts": {"a": {"subject": "s", "body": "b"}, "b": {"subject": "s", "body": "b", "locale": "EN"}}},
            "texts.b",
            "same language and channel as `a`",
        ),
    ],
)
def test_what_is_wrong_with_a_template_is_told_at_its_field(fields: dict[str, Any], field: str, says: str) -> None:
    assert says in of_template(**fields)[field]


def rotation(**fields: Any) -> dict[str, Any]:
    return {"rotations": {"r": noticed.NIGHTS["rotations"]["first"] | fields}}  # type: ignore[index]  # plain data


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"rotations": {}, "overrides": {}}, "rotations", "nobody is ever on duty"),
        ({"timeZone": "CEST+2"}, "time_zone", "IANA"),
        (rotation(stakeholders=[]), "rotations.r.stakeholders", "who takes turns"),
        (rotation(stakeholders=["eve"]), "rotations.r.stakeholders", "no stakeholder `eve`"),
        (rotation(stakeholders=["ann"] * 1_001), "rotations.r.stakeholders", "1,000"),
        (rotation(startTime=None), "rotations.r.start_time", "is required"),
        (rotation(turnDays=0), "rotations.r.turn_days", "1 to 366"),
        (rotation(hours={"start": "18:00"}), "rotations.r.hours.end", "time of day"),
        ({"overrides": {"o": {"stakeholder": "eve"}}}, "overrides.o.stakeholder", "no stakeholder `eve`"),
        ({"overrides": {"o": {"stakeholder": "ann"}}}, "overrides.o.start_time", "is required"),
        (
            {
                "overrides": {
                    "o": {
                        "stakeholder": "ann",
                        "startTime": "2026-01-02T00:00:00Z",
                        "endTime": "2026-01-02T00:00:00Z",
                    }
                }
            },
            "overrides.o.end_time",
            "must be after",
        ),
    ],
)
def test_what_is_wrong_with_a_schedule_is_told_at_its_field(fields: dict[str, Any], field: str, says: str) -> None:
    assert says in of_schedule(**fields)[field]


def test_somebody_may_take_more_turns_than_others() -> None:
    assert of_schedule(**rotation(stakeholders=["ann", "bob", "ann"])) == {}


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"reason": " "}, "reason", "is required"),
        ({"reason": "x" * 2_001}, "reason", "2,000"),
        ({"match": {"types": ["x.y"]}}, "match.types", "no type of event"),
        ({"match": {"driftMin": 0.2}}, "match.drift_min", "is for rules"),
        ({"startTime": None}, "start_time", "is required"),
        ({"endTime": "2026-12-01T00:00:00Z"}, "end_time", "must be after"),
        ({"endTime": "2027-12-01T00:00:00Z"}, "end_time", "at most 90 days"),
    ],
)
def test_what_is_wrong_with_a_silence_is_told_at_its_field(fields: dict[str, Any], field: str, says: str) -> None:
    assert says in of_silence(**fields)[field]


def test_a_time_that_no_calendar_has_is_refused() -> None:
    silence = json_format.ParseDict(noticed.FREEZE, notification_pb2.Silence())
    silence.end_time.seconds = 10**15
    assert "no time from year 1" in told(silence_problems(silence))["end_time"]


def test_a_family_of_types_names_each_of_them() -> None:
    assert types_named("gate.*") == {"gate.approved", "gate.waiting"}
    assert types_named("run.failed") == {"run.failed"}
    assert types_named("ru.*") == types_named("run") == types_named("") == frozenset()
    assert types_named("phase.*") < EVENT_TYPES
