"""Deliveries as the contract shows them."""

from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from pymigrate.engine.application.cloud_events import event_id
from pymigrate.engine.application.projections import failure_message, timestamp
from pymigrate.engine.domain.delivery import Delivery
from pymigrate.engine.ports.secrets import HIDDEN
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import notification_pb2

# A word of a path that is as long is no name that somebody chose: services put keys there.
PATH_WORD_CHARACTERS_MAX = 15


def delivery_messages(
    unit: Unit, deliveries: Sequence[Delivery], *, has_body: bool = False
) -> list[notification_pb2.NotificationDelivery]:
    """Several, with the ids of the events that they tell of; what the stream holds no more is left out."""
    entries = unit.feed.get({entry for delivery in deliveries for entry in delivery.entries})
    ids = {entry.id: event_id(entry) for entry in entries}
    return [delivery_message(delivery, ids, has_body=has_body) for delivery in deliveries]


def delivery_message(
    delivery: Delivery, event_ids: Mapping[int, str] | None = None, *, has_body: bool
) -> notification_pb2.NotificationDelivery:
    """One. `event_ids` are those of its entries by their number."""
    known = event_ids or {}
    return notification_pb2.NotificationDelivery(
        name=delivery.name,
        state=notification_pb2.DeliveryState.Value(f"DELIVERY_STATE_{delivery.state.name}"),
        rule=delivery.rule,
        stakeholder=delivery.stakeholder,
        address=delivery.address,
        channel=delivery.channel,
        to=shown_address(delivery.to),
        events=_known(known, delivery.entries),
        severity=notification_pb2.Severity.Value(f"SEVERITY_{delivery.severity.name}"),
        subject=delivery.content.subject,
        body=delivery.content.body if has_body else "",
        content_digest=delivery.content.digest,
        template=delivery.content.template,
        template_version=delivery.content.template_version,
        key=delivery.key,
        tries=[
            notification_pb2.DeliveryTry(
                time=timestamp(each.time),
                seconds=each.seconds,
                outcome=each.outcome,
                answer=each.answer,
                dispatcher=each.dispatcher,
            )
            for each in delivery.tries
        ],
        create_time=timestamp(delivery.create_time),
        due_time=timestamp(delivery.due_time),
        accept_time=timestamp(delivery.accept_time),
        deliver_time=timestamp(delivery.deliver_time),
        acknowledge_time=timestamp(delivery.acknowledge_time),
        acknowledger=delivery.acknowledger,
        failure=failure_message(delivery.failure),
        may_be_repeated=delivery.may_be_repeated,
        confirm_by_time=timestamp(delivery.confirm_by_time),
        escalation=delivery.escalation,
        next_try_time=timestamp(delivery.next_try_time),
        event_count=delivery.entry_count,
        duplicates=delivery.duplicates,
        incident=delivery.incident,
    )


def shown_address(to: str) -> str:
    """Where something goes, for people: of a URL neither user nor query nor what looks like a key in its path."""
    scheme, separator, _ = to.partition("://")
    if not separator:
        return to
    try:
        url = urlsplit(to)
        place = url.netloc.rpartition("@")[2]
    except ValueError:
        return f"{scheme}://{HIDDEN}"
    path = "/".join(HIDDEN if len(word) > PATH_WORD_CHARACTERS_MAX else word for word in url.path.split("/"))
    return f"{scheme}://{place}{path}" + (f"?{HIDDEN}" if url.query or url.fragment else "")


def _known(ids: Mapping[int, str], entries: Iterable[int]) -> list[str]:
    return [ids[entry] for entry in entries if entry in ids]
