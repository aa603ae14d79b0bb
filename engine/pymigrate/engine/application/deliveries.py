"""Deliveries between the engine and its dispatchers: claimed by lease, reported in batches, taken back from whoever is lost.

A claim is one transaction for as many messages as a dispatcher has room for."""

import asyncio
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

import structlog

from pymigrate.engine.application.caller import Surroundings
from pymigrate.engine.application.claims import Claims, Taken
from pymigrate.engine.application.dead_letters import tell_ended_badly
from pymigrate.engine.application.declared_notices import TRIES_MAX
from pymigrate.engine.application.dispatch_requests import WAIT_MAX_SECONDS, refuse_claim, refuse_reports, try_of
from pymigrate.engine.application.kinds import ENVIRONMENTS, children
from pymigrate.engine.application.known_dispatchers import KnownDispatchers
from pymigrate.engine.application.notification_kinds import NOTIFICATION_CHANNELS
from pymigrate.engine.application.notification_metrics import GONE, Moves, NotificationMetrics
from pymigrate.engine.application.outgoing_messages import (
    Claimed,
    DeclaredChannel,
    OutgoingMessages,
    channel_name,
)
from pymigrate.engine.application.stale_writes import transact_again
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain import delivering
from pymigrate.engine.domain.delivery import Delivery
from pymigrate.engine.domain.errors import IllegalTransition
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import notification_pb2

log = structlog.get_logger(__name__)
LOOK_SECONDS = 1.0


class Deliveries:
    """The use cases behind DispatchService. `bell` is rung by whoever makes something that can be sent."""

    def __init__(
        self,
        store: Store,
        surroundings: Surroundings,
        messages: OutgoingMessages,
        rng: random.Random,
        bell: WorkBell,
        metrics: NotificationMetrics,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = surroundings.clock
        self._messages = messages
        self._claims = Claims(messages, surroundings.new_id, rng)
        self._rng = rng
        self._bell = bell
        self._claiming = asyncio.Lock()
        self._dispatchers = KnownDispatchers(self._clock)
        self._returning: set[asyncio.Task[None]] = set()

    async def claim(
        self, dispatcher: str, deliveries_max: int, wait_seconds: float, kinds: Collection[str] = ()
    ) -> list[notification_pb2.OutgoingMessage]:
        """At most so many messages, waited for at most so long. Raises InvalidDefinition."""
        refuse_claim(dispatcher, deliveries_max, wait_seconds)
        deadline = self._clock.monotonic() + min(wait_seconds, WAIT_MAX_SECONDS)
        known = self._dispatchers.heard_of(dispatcher)
        known.waiting += 1
        try:
            while True:
                seen, looked = self._bell.rung, self._clock.now()
                taken = await self._take(dispatcher, deliveries_max, frozenset(kinds))
                left = deadline - self._clock.monotonic()
                if taken.claimed or left <= 0:
                    return [self._messages.message(each, taken.events) for each in taken.claimed]
                if not taken.is_changed:
                    await self._bell.rest(seen, self._clock, min(left, await self._seconds_to_next(looked)))
        finally:
            known.waiting -= 1
            known.heard = self._clock.monotonic()

    async def report(self, dispatcher: str, reports: Sequence[notification_pb2.DeliveryReport]) -> list[str]:
        """Notes what came of tries, in one transaction; the names of those whose lease was another's by then, or that there are not. Raises
        InvalidDefinition."""
        refuse_reports(dispatcher, reports)
        now = self._clock.now()
        late, moves = await transact_again(self._store, lambda unit: self._note(unit, dispatcher, reports, now))
        self._metrics.count(moves)
        known = self._dispatchers.heard_of(dispatcher)
        for report in reports:
            known.held.pop(report.delivery, None)
        self._bell.ring()  # there is room again, and what failed may come soon
        return late

    async def lost(self, dispatcher: str) -> bool:
        """The process of a dispatcher is gone for certain: what it had is tried again without waiting for its leases to end. Whether it
        had ever called."""
        known = self._dispatchers.forget(dispatcher)
        if known is None or not known.held:
            return known is not None
        now, held = self._clock.now(), dict(known.held)
        moves = await transact_again(self._store, lambda unit: self._lose(unit, held, now))
        self._metrics.count(moves)
        log.warning("dispatcher.lost", dispatcher=dispatcher, deliveries=len(moves))
        self._bell.ring()
        return True

    async def is_needed(self) -> bool:
        """Whether there is anything to send, or a channel to send it by."""
        now = self._clock.now()

        def look(unit: Unit) -> bool:
            if unit.deliveries.channels_with_work(now):
                return True
            environments = children(unit, ENVIRONMENTS.collection, "")
            return any(unit.resources.names(NOTIFICATION_CHANNELS.collection, each.name) for each in environments)

        return await self._store.read(look)

    async def _take(self, dispatcher: str, limit: int, kinds: frozenset[str]) -> Taken:
        async with self._claiming:
            now = self._clock.now()
            if not await self._store.read(lambda unit: unit.deliveries.channels_with_work(now)):
                return Taken()
            share = self._dispatchers.count()
            taking = asyncio.ensure_future(
                transact_again(self._store, lambda unit: self._claims.take(unit, dispatcher, limit, kinds, share, now))
            )
            try:
                taken = await asyncio.shield(taking)
            except asyncio.CancelledError:
                # Whoever asked is gone, and the transaction may be committed all the same.
                taking.add_done_callback(self._return)
                raise
            self._metrics.count(taken.moves)
            held = self._dispatchers.heard_of(dispatcher).held
            held.update((each.delivery.name, each.delivery.lease) for each in taken.claimed)
            return taken

    def _return(self, taking: "asyncio.Future[Taken]") -> None:
        if taking.cancelled() or taking.exception() is not None:
            return
        taken = taking.result()
        self._metrics.count(taken.moves)
        if claimed := taken.claimed:
            returning = asyncio.get_running_loop().create_task(self._give_back(claimed))
            self._returning.add(returning)
            returning.add_done_callback(self._returning.discard)

    async def _give_back(self, claimed: Sequence[Claimed]) -> None:
        leases, now = {each.delivery.name: each.delivery.lease for each in claimed}, self._clock.now()

        def work(unit: Unit) -> None:
            found = unit.deliveries.get_all(leases)
            unit.deliveries.save([each for each in found if delivering.give_back(each, leases[each.name], now)])

        await transact_again(self._store, work)
        self._bell.ring()

    def _note(
        self, unit: Unit, dispatcher: str, reports: Sequence[notification_pb2.DeliveryReport], now: datetime
    ) -> tuple[list[str], Moves]:
        found = {each.name: each for each in unit.deliveries.get_all({report.delivery for report in reports})}
        channels = self._channels(unit, found.values())
        moves = _watched(found.values(), channels)
        ended = {name for name, each in found.items() if each.state in delivering.ENDED_BADLY}
        late: list[str] = []
        for report in reports:
            delivery = found.get(report.delivery)
            if delivery is None or not self._note_one(
                dispatcher, delivery, report, now, channels[channel_name(delivery)]
            ):
                log.warning("delivery.late_report", delivery=report.delivery, dispatcher=dispatcher)
                late.append(report.delivery)
        unit.deliveries.save(found.values())
        tell_ended_badly(unit, (each for name, each in found.items() if name not in ended), now)
        return late, moves

    def _note_one(
        self,
        dispatcher: str,
        delivery: Delivery,
        report: notification_pb2.DeliveryReport,
        now: datetime,
        channel: DeclaredChannel | None,
    ) -> bool:
        if not report.HasField("try"):
            return delivering.give_back(delivery, report.lease, now)
        try:
            return delivering.report(
                delivery,
                report.lease,
                try_of(report, dispatcher, now),
                now,
                tries_max=_tries_max(channel),
                rng=self._rng,
                retry_after_seconds=report.retry_after_seconds,
                is_delivered=report.is_delivered,
            )
        except IllegalTransition:
            return False

    def _lose(self, unit: Unit, held: dict[str, str], now: datetime) -> Moves:
        found = [each for each in unit.deliveries.get_all(held) if delivering.is_held(each, held[each.name])]
        channels = self._channels(unit, found)
        moves = _watched(found, channels)
        for delivery in found:
            delivering.lose(delivery, now, self._rng)
        unit.deliveries.save(found)
        tell_ended_badly(unit, found, now)
        return moves

    def _channels(self, unit: Unit, deliveries: Iterable[Delivery]) -> Mapping[str, DeclaredChannel | None]:
        """The channel that each of these goes out by, by its resource name; None for one that is gone."""
        places = {channel_name(each): (each.environment, each.channel) for each in deliveries}
        return {name: self._messages.channel(unit, *place) for name, place in places.items()}

    async def _seconds_to_next(self, looked: datetime) -> float:
        """Until there may be something to claim; what was due when it was looked for and not claimed waits for room."""
        next_time, now = await self._store.read(lambda unit: unit.deliveries.next_time()), self._clock.now()
        if next_time is None or next_time <= looked:
            return LOOK_SECONDS
        return min(LOOK_SECONDS, max(0.0, (next_time - now).total_seconds()))


def _watched(deliveries: Iterable[Delivery], channels: Mapping[str, DeclaredChannel | None]) -> Moves:
    moves = Moves()
    for delivery in deliveries:
        channel = channels[channel_name(delivery)]
        moves.watch([delivery], channel.terms.kind if channel is not None else GONE)
    return moves


def _tries_max(channel: DeclaredChannel | None) -> int:
    """How often a channel tries; of one that is gone the next claim says so."""
    return channel.terms.tries_max if channel is not None else TRIES_MAX
