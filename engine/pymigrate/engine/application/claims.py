"""What a dispatcher is given in one transaction: of every channel with work its part, as far as there is room and an answer may be long."""

import math
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pymigrate.engine.application.caller import NewId
from pymigrate.engine.application.dead_letters import tell_ended_badly
from pymigrate.engine.application.known_dispatchers import room
from pymigrate.engine.application.notification_metrics import Moves
from pymigrate.engine.application.outgoing_messages import Claimed, DeclaredChannel, OutgoingMessages, message_bytes
from pymigrate.engine.domain import delivering
from pymigrate.engine.domain.delivery import Delivery, DeliveryState
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.ports.store import Unit

# A lease outlasts a try and the report of it; what waits in a dispatcher for longer is given back.
LEASE_SPARE_SECONDS = 15.0
REFUSED_AT_ONCE_MAX = 200
# A message of gRPC may have 64 MB here; a claim is kept well below, since a dispatcher holds all of it at once.
ANSWER_BYTES_MAX = 6_000_000


@dataclass(slots=True)
class Taken:
    """What a claim's transaction did: `is_changed` where it wrote anything, so that it may be asked again at once."""

    claimed: list[Claimed] = field(default_factory=list)
    events: dict[int, str] = field(default_factory=dict)
    is_changed: bool = False
    bytes: int = 0
    moves: Moves = field(default_factory=Moves)


class Claims:
    """Takes what is due."""

    def __init__(self, messages: OutgoingMessages, new_id: NewId, rng: random.Random) -> None:
        self._messages = messages
        self._new_id = new_id
        self._rng = rng

    def take(self, unit: Unit, dispatcher: str, limit: int, kinds: frozenset[str], share: int, now: datetime) -> Taken:
        """At most `limit` messages of channels that a dispatcher can send by, a part of them for each channel; `share` dispatchers share
        what a channel may have under way."""
        taken = Taken()
        working = unit.deliveries.channels_with_work(now)
        for at, (environment, name) in enumerate(working):
            left = limit - len(taken.claimed)
            if left <= 0:
                break
            channel = self._messages.channel(unit, environment, name)
            if channel is None:
                taken.is_changed |= self._refuse(unit, environment, name, now, taken.moves)
                continue
            if kinds and channel.terms.kind not in kinds:
                continue
            most = min(math.ceil(left / (len(working) - at)), room(unit, environment, channel.terms, now))
            if most > 0:
                found = self._claim_of(unit, environment, channel, dispatcher, most, now, taken)
                at_once = max(1, channel.terms.deliveries_max // share)
                names = self._messages.display_names(unit, found)
                taken.claimed += [Claimed(each, channel, names[each.name], at_once) for each in found]
        taken.events = dict(self._messages.events(unit, taken.claimed))
        return taken

    def _claim_of(
        self,
        unit: Unit,
        environment: str,
        channel: DeclaredChannel,
        dispatcher: str,
        room: int,
        now: datetime,
        taken: Taken,
    ) -> list[Delivery]:
        terms = channel.terms
        until = now + timedelta(seconds=terms.try_seconds_max + LEASE_SPARE_SECONDS)
        found = unit.deliveries.claimable(terms.id, environment, now, room)
        taken.moves.watch(found, terms.kind)
        claimed: list[Delivery] = []
        changed: list[Delivery] = []
        for delivery in found:
            if delivery.state is DeliveryState.SENDING:
                delivering.lose(delivery, now, self._rng)
                changed.append(delivery)
            if delivery.state is DeliveryState.PENDING and (delivery.next_try_time or now) <= now:
                taken.bytes += message_bytes(delivery)
                if taken.bytes > ANSWER_BYTES_MAX and (claimed or taken.claimed):
                    break  # the next claim gets it
                delivering.claim(delivery, dispatcher, self._new_id(), now, until)
                claimed.append(delivery)
        touched = {id(each): each for each in (*changed, *claimed)}.values()
        unit.deliveries.save(touched)
        tell_ended_badly(unit, touched, now)
        taken.is_changed |= bool(touched)
        return claimed

    def _refuse(self, unit: Unit, environment: str, channel: str, now: datetime, moves: Moves) -> bool:
        """The channel is gone, and what was to go out by it can't."""
        found = unit.deliveries.claimable(channel, environment, now, REFUSED_AT_ONCE_MAX)
        moves.watch(found)
        text = f"there is no notificationChannels/{channel} any more: declare it, and redrive the delivery"
        for delivery in found:
            if delivery.state is DeliveryState.SENDING:
                delivering.lose(delivery, now, self._rng)
            if delivery.state is DeliveryState.PENDING:
                delivering.refuse(delivery, Failure(delivering.CHANNEL_MISSING, text))
        unit.deliveries.save(found)
        tell_ended_badly(unit, found, now)
        return bool(found)
