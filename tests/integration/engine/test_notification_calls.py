"""NotificationService over a real socket: six kinds declared, templates held to what they must tell, and the ledger."""

from collections.abc import Iterator, Mapping
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.engine.entrypoints.cli.declared_kinds import KINDS, DeclaredKind
from pymigrate.v1 import notification_pb2
from tests.integration.engine.served import SECONDS_MAX, ServedEngine, ask
from tests.unit.application import noticed
from tests.unit.application.engines import ENVIRONMENT

DECLARED: Mapping[str, tuple[str, Mapping[str, Any], Mapping[str, Any]]] = {
    "NotificationChannel": ("other", noticed.HOOK, {"display_name": "Other"}),
    "Stakeholder": ("eve", noticed.ANN, {"is_paused": True}),
    "OnCallSchedule": ("days", noticed.NIGHTS, {"time_zone": "UTC"}),
    "NotificationTemplate": ("long", noticed.SHORT, {"types": ["gate.*"]}),
    "AlertRule": ("more", noticed.FAILURES, {"order": 7}),
    "Silence": ("quiet", noticed.FREEZE, {"reason": "another"}),
}
"""An object of each kind: its name, what it is made as, and what is changed of it."""


@pytest.fixture
def client(served: ServedEngine) -> Iterator[Client]:
    """A client of an engine with an environment that declares one of each."""
    served.do(noticed.declare_notices(served.engine))
    client = served.client("api")
    yield client
    client.channel.close()


def message_of(kind: DeclaredKind, document: Mapping[str, Any], **fields: Any) -> Any:
    message = json_format.ParseDict({**document, **fields}, kind.definition.kind.message())
    assert isinstance(message, Message)
    return message


def refusal(call: Any, *args: Any, **fields: Any) -> tuple[grpc.StatusCode, dict[str, str]]:
    """The code that a call is refused with, and what is wrong at which field."""
    with pytest.raises(grpc.RpcError) as error:
        call(*args, **fields)
    status = rpc_status.from_call(error.value)  # type: ignore[arg-type]  # every error of a stub is a call too
    assert status is not None
    bad = error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(bad)
    return error.value.code(), {each.field: each.description for each in bad.field_violations}


@pytest.mark.parametrize("word", DECLARED)
def test_an_object_of_each_kind_is_made_read_listed_changed_and_deleted(client: Client, word: str) -> None:
    kind = KINDS[word]
    object_id, document, change = DECLARED[word]
    fields = {f"{kind.field}_id": object_id, kind.field: message_of(kind, document)}
    made = kind.call(client, "Create", parent=ENVIRONMENT, **fields)
    assert made.name == f"{ENVIRONMENT}/{kind.collection}/{object_id}"
    assert kind.call(client, "Get", name=made.name) == made
    listing = f"List{word}s"
    page = ask(client, getattr(client.notifications, listing), _list_request(listing))
    assert made in getattr(page, f"{kind.field}s")
    wanted = message_of(kind, {}, name=made.name, **change)
    changed = kind.call(client, "Update", **{kind.field: wanted, "update_mask": FieldMask(paths=list(change))})
    assert changed.etag != made.etag
    assert kind.call(client, "Get", name=made.name) == changed
    kind.call(client, "Delete", name=made.name, etag=changed.etag)
    assert refusal(kind.call, client, "Get", name=made.name)[0] is grpc.StatusCode.NOT_FOUND


def _list_request(method: str) -> Any:
    return getattr(notification_pb2, f"{method}Request")(parent=ENVIRONMENT)


def test_a_template_that_does_not_render_is_refused_where_it_is_wrong(client: Client) -> None:
    kind = KINDS["NotificationTemplate"]
    wrong = message_of(
        kind, {"types": ["run.failed"], "texts": {"x": {"subject": "s", "body": "a\n{{ event.colour }}"}}}
    )
    code, found = refusal(
        kind.call, client, "Create", parent=ENVIRONMENT, notification_template_id="x", notification_template=wrong
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(found) == ["notification_template.texts.x.body"]
    assert "colour" in found["notification_template.texts.x.body"]


def test_a_template_that_reaches_for_attributes_or_never_ends_is_refused(client: Client) -> None:
    kind = KINDS["NotificationTemplate"]
    for body in ("{{ event.__class__.__mro__ }}", "{% for a in range(10**9) %}x{% endfor %}", "{% include 'x' %}"):
        wrong = message_of(kind, {"types": ["run.failed"], "texts": {"x": {"subject": "s", "body": body}}})
        fields = {"parent": ENVIRONMENT, "notification_template_id": "x", "notification_template": wrong}
        code, found = refusal(kind.call, client, "Create", **fields)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert list(found) == ["notification_template.texts.x.body"]


def test_a_template_is_made_once_for_each_request_id(client: Client) -> None:
    kind = KINDS["NotificationTemplate"]
    fields = {"parent": ENVIRONMENT, "notification_template_id": "x", "request_id": "1"}
    first, again = (
        kind.call(client, "Create", notification_template=message_of(kind, noticed.SHORT), **fields) for _ in range(2)
    )
    assert first == again


def test_a_dry_run_renders_and_stores_nothing(client: Client) -> None:
    kind = KINDS["NotificationTemplate"]
    fields = {"parent": ENVIRONMENT, "notification_template_id": "x", "validate_only": True}
    found = kind.call(client, "Create", notification_template=message_of(kind, noticed.SHORT), **fields)
    assert found.version == 1
    assert refusal(kind.call, client, "Get", name=found.name)[0] is grpc.StatusCode.NOT_FOUND


def test_a_rule_is_refused_whose_template_can_not_tell_what_it_matches(client: Client) -> None:
    template, rule = KINDS["NotificationTemplate"], KINDS["AlertRule"]
    # What a dictionary has is there for some types alone.
    text = {"subject": "s", "body": "{{ {'gate.approved': 'yes'}[event.type] }}"}
    narrow = message_of(template, {"types": ["gate.approved"], "texts": {"x": text}})
    template.call(client, "Create", parent=ENVIRONMENT, notification_template_id="x", notification_template=narrow)
    wide = message_of(rule, {"match": {"types": ["run.failed"]}, "recipients": {"roles": ["x"]}, "template": "x"})
    fields = {"parent": ENVIRONMENT, "alert_rule_id": "x", "alert_rule": wide}
    code, found = refusal(rule.call, client, "Create", **fields)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "`x` can't tell what the rule matches: texts.x.body" in found["alert_rule.template"]
    wide.match.types[:] = ["gate.approved"]
    rule.call(client, "Create", **fields)


def test_a_template_is_tried_before_it_is_stored(client: Client) -> None:
    template = message_of(KINDS["NotificationTemplate"], noticed.SHORT)
    request = notification_pb2.RenderNotificationTemplateRequest(
        parent=ENVIRONMENT, template=template, type="phase.failed"
    )
    answer = ask(client, client.notifications.RenderNotificationTemplate, request)
    assert answer.texts["en"].subject == "phase.failed"


@pytest.mark.parametrize("role", ["executive", "engineer"])
def test_the_packages_own_templates_can_be_read(client: Client, role: str) -> None:
    name = f"{ENVIRONMENT}/notificationTemplates/default-{role}"
    request = notification_pb2.RenderNotificationTemplateRequest(
        parent=ENVIRONMENT, template=notification_pb2.NotificationTemplate(name=name), type="phase.failed"
    )
    answer = ask(client, client.notifications.RenderNotificationTemplate, request)
    assert answer.texts["en"].subject
    assert not answer.problems


def test_a_channel_is_tried_and_the_ledger_tells_of_it(client: Client) -> None:
    channel = f"{ENVIRONMENT}/notificationChannels/mail"
    request = notification_pb2.TestNotificationChannelRequest(name=channel, to="ann@example.com")
    made = ask(client, client.notifications.TestNotificationChannel, request)
    found = ask(client, client.notifications.GetDelivery, notification_pb2.GetDeliveryRequest(name=made.name))
    assert (found.channel, found.to) == ("mail", "ann@example.com")
    assert found.body
    page = ask(client, client.notifications.ListDeliveries, notification_pb2.ListDeliveriesRequest(parent=ENVIRONMENT))
    assert [each.name for each in page.deliveries] == [made.name]


def test_what_a_channel_does_not_take_is_refused_before_it_is_sent(client: Client) -> None:
    channel = f"{ENVIRONMENT}/notificationChannels/mail"
    request = notification_pb2.TestNotificationChannelRequest(name=channel, to="ann")
    code, _ = refusal(client.notifications.TestNotificationChannel, request, **client.options)
    assert code is grpc.StatusCode.INVALID_ARGUMENT


def test_what_is_under_way_is_neither_redriven_nor_forgotten(client: Client) -> None:
    channel = f"{ENVIRONMENT}/notificationChannels/mail"
    request = notification_pb2.TestNotificationChannelRequest(name=channel, to="ann@example.com")
    made = ask(client, client.notifications.TestNotificationChannel, request)
    redrive = notification_pb2.RedriveDeliveryRequest(name=made.name)
    code, _ = refusal(client.notifications.RedriveDelivery, redrive, **client.options)
    assert code is grpc.StatusCode.FAILED_PRECONDITION


def test_a_link_that_was_never_made_lets_nobody_in(served: ServedEngine, client: Client) -> None:
    request = notification_pb2.AcknowledgeDeliveryRequest(name=f"{ENVIRONMENT}/deliveries/x", signature="AAAA")
    code, _ = refusal(client.notifications.AcknowledgeDelivery, request, timeout=SECONDS_MAX)
    assert code is grpc.StatusCode.UNAUTHENTICATED


def test_a_dry_run_of_an_event_says_who_would_be_told_and_why(client: Client) -> None:
    event = notification_pb2.NotificationEvent(type="run.failed", plan="p", severity=notification_pb2.SEVERITY_ERROR)
    request = notification_pb2.PreviewNotificationsRequest(parent=ENVIRONMENT, event=event)
    answer = ask(client, client.notifications.PreviewNotifications, request)
    assert "ann" in {each.delivery.stakeholder for each in answer.deliveries}
    assert all(each.because for each in answer.deliveries)
    page = ask(client, client.notifications.ListDeliveries, notification_pb2.ListDeliveriesRequest(parent=ENVIRONMENT))
    assert not page.deliveries


def test_figures_of_an_environment_that_told_nobody_are_whole(client: Client) -> None:
    request = notification_pb2.GetNotificationKpisRequest(parent=ENVIRONMENT)
    found = ask(client, client.notifications.GetNotificationKpis, request)
    assert (found.name, found.total.share_in_time) == (ENVIRONMENT, 1.0)
