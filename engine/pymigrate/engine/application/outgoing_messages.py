"""What a dispatcher is given to send: the message, the channel that it goes out by, and for receivers over HTTP the CloudEvent."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pymigrate.engine.application.acknowledging import AcknowledgeLinks
from pymigrate.engine.application.cloud_events import TYPE_PREFIX
from pymigrate.engine.application.declared_backends import declared_backends
from pymigrate.engine.application.declared_notices import channel_of
from pymigrate.engine.application.notification_kinds import NOTIFICATION_CHANNELS, STAKEHOLDERS
from pymigrate.engine.application.projections import timestamp
from pymigrate.engine.application.references import needed_backends
from pymigrate.engine.domain.delivery import Delivery
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.notices import ChannelTerms
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import notification_pb2, secret_backend_pb2
from pymigrate.v1.shape import to_json_data

EVENT_TYPE = f"{TYPE_PREFIX}notification"
EVENTS_MAX = 50
EVENT_BYTES = 2_000
# Channels that hand the whole event on; mail and Apprise take texts alone.
TEXT_KINDS = frozenset({"smtp", "apprise"})
CHANNELS_KEPT_MAX = 10_000
NAMES_KEPT_MAX = 10_000
NAME_SECONDS = 60.0
EventsOf = Callable[[Unit, Collection[int]], Mapping[int, notification_pb2.NotificationEvent]]
"""Entries of the stream, by their number, as those are told who must know; what the stream holds no more is left out."""


@dataclass(frozen=True, slots=True)
class DeclaredChannel:
    """A channel as it is declared now: what dispatch goes by, and what a dispatcher is told of it."""

    terms: ChannelTerms
    message: notification_pb2.NotificationChannel
    backends: Mapping[str, secret_backend_pb2.SecretBackend] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that somebody has from now on, with all that its message is made of."""

    delivery: Delivery
    channel: DeclaredChannel
    display_name: str
    at_once_max: int


class OutgoingMessages:
    """Makes the messages. `instance` is what this engine is called outside. What is read again and again is kept; asked by one unit of work
    at a time."""

    def __init__(self, instance: str, links: AcknowledgeLinks, events: EventsOf, clock: Clock) -> None:
        self._source = f"/{instance}"
        self._links = links
        self._events = events
        self._clock = clock
        self._channels: dict[str, tuple[tuple[str, int], DeclaredChannel]] = {}
        self._names: dict[str, tuple[float, str]] = {}

    def channel(self, unit: Unit, environment: str, channel: str) -> DeclaredChannel | None:
        """The channel of that last segment; None where it is not declared any more."""
        resource = unit.resources.get(f"{environment}/notificationChannels/{channel}")
        if resource is None:
            return None
        state = (resource.uid, resource.version)
        kept = self._channels.get(resource.name)
        if kept is None or kept[0] != state:
            message = NOTIFICATION_CHANNELS.held(resource)
            for told_to_people in ("display_name", "labels", "create_time", "update_time", "managed_by"):
                message.ClearField(told_to_people)
            if len(self._channels) >= CHANNELS_KEPT_MAX:
                self._channels.clear()
            kept = self._channels[resource.name] = (state, DeclaredChannel(channel_of(message), message))
        declared = declared_backends(unit, environment)
        return replace(kept[1], backends=needed_backends(kept[1].message, declared)) if declared else kept[1]

    def display_names(self, unit: Unit, deliveries: Collection[Delivery]) -> Mapping[str, str]:
        """What people call whom these are for, by the delivery's name, as they were called at most NAME_SECONDS ago."""
        now = self._clock.monotonic()
        people = {each.name: f"{each.environment}/stakeholders/{each.stakeholder}" for each in deliveries}
        known = {person: self._names[person] for person in set(people.values()) & self._names.keys()}
        old = {person for person in people.values() if person not in known or now - known[person][0] >= NAME_SECONDS}
        if old:
            found = {each.name: STAKEHOLDERS.held(each).display_name for each in unit.resources.get_all(old)}
            if len(self._names) + len(old) > NAMES_KEPT_MAX:
                self._names.clear()
            fresh = {person: (now, found.get(person, "")) for person in old}
            self._names |= fresh
            known |= fresh
        return {name: known[person][1] for name, person in people.items()}

    def events(self, unit: Unit, claimed: Iterable[Claimed]) -> Mapping[int, str]:
        """The JSON of everything that these tell of by their channel, by the number of its entry."""
        wanted = {entry for each in claimed if _tells_events(each) for entry in each.delivery.entries[:EVENTS_MAX]}
        found = self._events(unit, wanted) if wanted else {}
        return {number: _json(to_json_data(message)) for number, message in found.items()}

    def message(self, claimed: Claimed, events: Mapping[int, str]) -> notification_pb2.OutgoingMessage:
        """The message of one."""
        delivery, content = claimed.delivery, claimed.delivery.content
        link = self._links.url(delivery)
        return notification_pb2.OutgoingMessage(
            delivery=delivery.name,
            lease=delivery.lease,
            lease_expire_time=timestamp(delivery.lease_until),
            channel=claimed.channel.message,
            secret_backends=claimed.channel.backends,
            to=delivery.to,
            display_name=claimed.display_name,
            subject=content.subject,
            body=content.body,
            html=content.html,
            key=delivery.key,
            event=self._event(delivery, link, events) if _tells_events(claimed) else b"",
            acknowledge_url=link,
            try_number=delivery.try_count,
            at_once_max=claimed.at_once_max,
        )

    def _event(self, delivery: Delivery, link: str, events: Mapping[int, str]) -> bytes:
        """The CloudEvent: the same bytes at every try, since nothing in it is of the try."""
        told = (events[entry] for entry in delivery.entries[:EVENTS_MAX] if entry in events)
        data = {
            "delivery": delivery.name,
            "rule": delivery.rule,
            "severity": delivery.severity.name.lower(),
            "subject": delivery.content.subject,
            "body": delivery.content.body,
            "eventCount": delivery.entry_count,
        } | ({"acknowledgeUrl": link} if link else {})
        envelope = {
            "specversion": "1.0",
            "id": delivery.key,
            "source": self._source,
            "type": EVENT_TYPE,
            "subject": delivery.name,
            "time": (delivery.frozen_time or delivery.create_time).isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
        }
        # Events are made once for all who are told of them, and put in as they are.
        return f'{_json(envelope)[:-1]},"data":{_json(data)[:-1]},"events":[{",".join(told)}]}}}}'.encode()


def message_bytes(delivery: Delivery) -> int:
    """About how many bytes its message takes: its texts, the plain one once more within its event, and the events."""
    content = delivery.content
    texts = 2 * (len(content.subject.encode()) + len(content.body.encode())) + len(content.html.encode())
    return texts + EVENT_BYTES * min(len(delivery.entries), EVENTS_MAX)


def channel_name(delivery: Delivery) -> str:
    """The resource name of the channel that a delivery goes out by."""
    return f"{delivery.environment}/notificationChannels/{last_segment(delivery.channel)}"


def _tells_events(claimed: Claimed) -> bool:
    return claimed.channel.terms.kind not in TEXT_KINDS


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
