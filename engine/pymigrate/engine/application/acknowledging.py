"""Acknowledgements: somebody has seen a message and acts. By a call of somebody with a token, or by the signed link in the message.

A link's token names the delivery and when it ends, under a MAC of a key that only the engine has: it lets whoever holds it acknowledge that
one delivery, and do nothing else.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from datetime import UTC, datetime, timedelta

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.delivery_messages import delivery_messages
from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.notification_metrics import Moves, NotificationMetrics
from pymigrate.engine.application.occurrences import Occurrences
from pymigrate.engine.application.stale_writes import transact_again
from pymigrate.engine.domain import delivering
from pymigrate.engine.domain.delivery import Delivery, Incident
from pymigrate.engine.domain.errors import NotFound, Unauthenticated
from pymigrate.engine.domain.incidents import incident_threads
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import AuditEntry, Store, Unit
from pymigrate.v1 import notification_pb2

PATH = "/acknowledge/"
LINK_DAYS = 30
TOKEN_CHARACTERS_MAX = 400
MAC_BYTES = 32
EXPIRY = struct.Struct(">Q")
PURPOSE = b"pymigrate acknowledge\0"


class AcknowledgeLinks:
    """Makes and reads links. `public_url` is what they begin with where messages hold them; without one, messages hold none."""

    def __init__(self, key: bytes, public_url: str = "") -> None:
        self._key = key
        self._public_url = public_url

    def path(self, delivery: Delivery) -> str:
        """The path of the link, the same whenever it is asked for; empty where nothing is to be acknowledged."""
        return f"{PATH}{self._token(delivery)}" if delivery.needs_acknowledgement else ""

    def url(self, delivery: Delivery) -> str:
        """The whole link, as messages hold it."""
        path = self.path(delivery)
        return f"{self._public_url}{path}" if self._public_url and path else ""

    def check(self, name: str, token: str, now: datetime) -> None:
        """Raises Unauthenticated unless this token was made for that delivery, and has not ended."""
        expiry, mac, named = _parts(token)
        if not hmac.compare_digest(mac, self._mac(named.encode(), expiry)) or named != name:
            raise Unauthenticated("the link's signature is not right: use the link as it stands in the message")
        if now >= datetime.fromtimestamp(expiry, UTC):
            raise Unauthenticated(
                f"the link has ended, {LINK_DAYS} days after the message was made: acknowledge it with `pymigrate notifications "
                "acknowledge`"
            )

    def _token(self, delivery: Delivery) -> str:
        expiry = int((delivery.create_time + timedelta(days=LINK_DAYS)).timestamp())
        name = delivery.name.encode()
        return base64.urlsafe_b64encode(EXPIRY.pack(expiry) + self._mac(name, expiry) + name).decode().rstrip("=")

    def _mac(self, name: bytes, expiry: int) -> bytes:
        return hmac.new(self._key, PURPOSE + EXPIRY.pack(expiry) + name, hashlib.sha256).digest()


def named_delivery(token: str) -> str:
    """The delivery that a token names, whoever made it. Raises Unauthenticated for what is no token."""
    return _parts(token)[2]


class Acknowledging:
    """The use case behind AcknowledgeDelivery."""

    def __init__(
        self,
        store: Store,
        directories: Directories,
        occurrences: Occurrences,
        clock: Clock,
        links: AcknowledgeLinks,
        metrics: NotificationMetrics,
    ) -> None:
        self._store = store
        self._directories = directories
        self._occurrences = occurrences
        self._metrics = metrics
        self._clock = clock
        self._links = links

    async def acknowledge(self, name: str, signature: str, who: Caller) -> notification_pb2.NotificationDelivery:
        """Notes who did, ends the incidents that the delivery tells of, and shows the delivery; the second time nothing changes. With a
        signature, whoever calls has nothing but that link. Raises Unauthenticated, NotFound, IllegalTransition."""
        now = self._clock.now()
        if signature:
            self._links.check(name, signature, now)

        def work(unit: Unit) -> tuple[notification_pb2.NotificationDelivery, Moves]:
            delivery, moves = unit.deliveries.get(name), Moves()
            if delivery is None:
                raise NotFound(f"there is no {name}", field="name")
            moves.watch([delivery])
            acknowledger = (delivery.stakeholder or delivery.to) if signature else who.principal
            if delivering.acknowledge(delivery, acknowledger, now):
                unit.deliveries.save([delivery])
                for incident in self._incidents(unit, delivery):
                    _end(unit, incident, acknowledger, now, moves)
                unit.audit.append(AuditEntry(now, acknowledger, "acknowledge", name, 0))
            return delivery_messages(unit, [delivery])[0], moves

        answer, moves = await transact_again(self._store, work)
        self._metrics.count(moves)
        return answer

    def _incidents(self, unit: Unit, delivery: Delivery) -> list[Incident]:
        """Its own, and those of which it tells everything: what gathered in quiet hours or beyond an hour's limit opened one for each
        group."""
        own = unit.incidents.get(delivery.incident) if delivery.incident else None
        rule = self._directories.of(unit, delivery.environment).rules.get(delivery.rule)
        if own is None or rule is None:
            return [own] if own is not None else []
        told = self._occurrences.of(unit, unit.feed.get(delivery.entries))
        under_way = unit.incidents.open_of(incident_threads(rule, told)).values()
        others = [each for each in under_way if each.id != own.id and set(delivery.entries).issuperset(each.entries)]
        return [own, *others]


def _end(unit: Unit, incident: Incident, acknowledger: str, now: datetime, moves: Moves) -> None:
    """Nobody else is told of it: a step that waits for somebody's quiet hours, or for its channel, does not go out either. Whoever was
    told of it has nothing to do any more, so that their messages are acknowledged with it and none of them is late."""
    if not delivering.acknowledge_incident(incident, acknowledger, now):
        return
    unit.incidents.save([incident])
    told = unit.deliveries.of_incident(incident.id)
    moves.watch(told)
    ended = [
        each
        for each in told
        if delivering.acknowledge_with(each, incident, acknowledger, now)
        or (each.escalation > 0 and delivering.call_off(each, acknowledger))
    ]
    unit.deliveries.save(ended)


def _parts(token: str) -> tuple[int, bytes, str]:
    """Expiry, MAC and delivery of a token, none of which is checked. Raises Unauthenticated for what is none."""
    try:
        if len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
            raise ValueError("too long, or of other characters")
        packed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        (expiry,) = EXPIRY.unpack(packed[: EXPIRY.size])
        datetime.fromtimestamp(expiry, UTC)
        return expiry, packed[EXPIRY.size : EXPIRY.size + MAC_BYTES], packed[EXPIRY.size + MAC_BYTES :].decode()
    except (ValueError, OverflowError, OSError, binascii.Error, struct.error) as error:
        raise Unauthenticated("this is no link that a message held: use it as it stands there") from error
