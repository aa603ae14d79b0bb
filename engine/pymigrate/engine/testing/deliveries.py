"""Deliveries in the store in memory: looked through whole, copied on their way in and out, journalled."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from pymigrate.engine.domain.delivery import STILL_OPEN, Delivery, DeliveryState
from pymigrate.engine.domain.errors import AlreadyExists, StaleWrite
from pymigrate.engine.ports.deliveries import STANDING, WRITTEN_ONCE, DeliveryFilter, DeliveryStanding, DeliveryTally
from pymigrate.engine.testing.journal import Journal
from pymigrate.engine.testing.store_tables import Tables


class MemoryDeliveries:
    """Deliveries by name, and the name that has a key."""

    def __init__(self, tables: Tables, journal: Journal) -> None:
        self._deliveries = tables.deliveries
        self._keys = tables.delivery_keys
        self._told = tables.told_overdue
        self._journal = journal

    def get(self, name: str) -> Delivery | None:
        """The delivery of that name."""
        found = self.get_all([name])
        return found[0] if found else None

    def get_all(self, names: Collection[str]) -> Sequence[Delivery]:
        """Those that there are, by name."""
        return [_copied(self._deliveries[name]) for name in sorted(set(names)) if name in self._deliveries]

    def insert(self, deliveries: Iterable[Delivery]) -> None:
        """Leaves out what has a key that is taken. Raises AlreadyExists for a taken name."""
        for delivery in {id(each): each for each in deliveries}.values():
            if delivery.key in self._keys:
                continue
            if delivery.name in self._deliveries:
                raise AlreadyExists(f"{delivery.name} exists already", field="name")
            self._write(delivery, 1)
            self._journal.put(self._keys, delivery.key, delivery.name)

    def save(self, deliveries: Iterable[Delivery]) -> None:
        """Raises StaleWrite. The same one twice is written once."""
        for delivery in {id(each): each for each in deliveries}.values():
            stored = self._deliveries.get(delivery.name)
            if stored is None or stored.version != delivery.version:
                raise StaleWrite(f"{delivery.name} was changed or deleted in between: read it again")
            self._write(delivery, delivery.version + 1, {name: getattr(stored, name) for name in WRITTEN_ONCE})

    def newest(self, threads: Collection[str]) -> Mapping[str, Delivery]:
        """The one of each thread that waits, else the newest."""
        wanted = frozenset(threads)
        found = self._where(
            lambda each: each.thread in wanted,
            lambda each: (each.state is DeliveryState.WAITING, each.create_time, each.name),
        )
        return {each.thread: each for each in found}

    def due(self, now: datetime, limit: int) -> Sequence[Delivery]:
        """Waiting ones whose time has come, the gravest first."""
        return self._where(
            lambda each: each.state == DeliveryState.WAITING and each.due_time <= now,
            lambda each: (-each.severity, each.due_time, each.name),
            limit,
        )

    def claimable(self, channel: str, environment: str, now: datetime, limit: int) -> Sequence[Delivery]:
        """Those of a channel that may be tried, the gravest first."""
        return self._where(
            lambda each: (each.channel, each.environment) == (channel, environment) and _may_be_tried(each, now),
            lambda each: (-each.severity, _wake_time(each), each.name),
            limit,
        )

    def channels_with_work(self, now: datetime) -> Sequence[tuple[str, str]]:
        """Environments and channels for which something may be tried."""
        found = {(each.environment, each.channel) for each in self._deliveries.values() if _may_be_tried(each, now)}
        return sorted(found)

    def in_sending(self, environment: str, channel: str, now: datetime) -> int:
        """How many are with a dispatcher."""
        return sum(
            (each.environment, each.channel, each.state) == (environment, channel, DeliveryState.SENDING)
            and each.lease_until is not None
            and each.lease_until > now
            for each in self._deliveries.values()
        )

    def tried_since(self, environment: str, channel: str, time: datetime) -> int:
        """How many were claimed since."""
        return sum(
            (each.environment, each.channel) == (environment, channel)
            and each.last_try_time is not None
            and each.last_try_time >= time
            for each in self._deliveries.values()
        )

    def frozen_since(
        self, environment: str, rule: str, addresses: Collection[tuple[str, str]], time: datetime
    ) -> Mapping[tuple[str, str], int]:
        """How many of a rule were frozen since, or wait to be, for each address."""
        wanted = frozenset(addresses)
        counts: dict[tuple[str, str], int] = {}
        for each in self._deliveries.values():
            address = (each.stakeholder, each.address)
            is_counted = rule and each.rule == rule and each.environment == environment and not each.escalation
            is_waiting = each.state == DeliveryState.WAITING
            if is_counted and address in wanted and (is_waiting or (each.frozen_time and each.frozen_time >= time)):
                counts[address] = counts.get(address, 0) + 1
        return counts

    def next_time(self) -> datetime | None:
        """When something is next to be done."""
        return min(filter(None, map(_wake_time, self._deliveries.values())), default=None)

    def list(self, only: DeliveryFilter, before: tuple[datetime, str] | None, limit: int) -> Sequence[Delivery]:
        """A page, the newest first."""
        found = self._where(
            lambda each: _matches(only, each) and (before is None or (each.create_time, each.name) < before),
            lambda each: (each.create_time, each.name),
            limit,
            is_newest_first=True,
        )
        return [replace(each, content=replace(each.content, body="", html=""), version=0) for each in found]

    def of_incident(self, incident: str) -> Sequence[Delivery]:
        """Those of an incident, in order."""
        return self._where(
            lambda each: incident != "" and each.incident == incident, lambda each: (each.create_time, each.name)
        )

    def tallies(self, environment: str, since: datetime, now: datetime) -> Sequence[DeliveryTally]:
        """What became of those that became due within a window."""
        groups: dict[tuple[str, str, DeliveryState], list[Delivery]] = {}
        for each in self._deliveries.values():
            if each.environment == environment and since <= each.due_time <= now:
                groups.setdefault((each.rule, each.channel, each.state), []).append(each)
        return [_tally(groups[key], now) for key in sorted(groups)]

    def standing(self, environment: str) -> Sequence[DeliveryStanding]:
        """How many are to be sent still, and how many were given up."""
        found = [each for each in self._deliveries.values() if each.environment == environment]
        return [
            DeliveryStanding(state, len(due), min(due) if state in STILL_OPEN else None)
            for state in STANDING
            if (due := [each.due_time for each in found if each.state == state])
        ]

    def overdue(self, now: datetime, limit: int) -> Sequence[Delivery]:
        """What was not confirmed in time, the earliest first."""
        return self._where(
            lambda each: (
                each.confirm_by_time is not None
                and each.confirm_by_time <= now
                and not each.is_in_time
                and each.name not in self._told
            ),
            lambda each: (each.confirm_by_time, each.name),
            limit,
        )

    def note_overdue(self, names: Collection[str]) -> None:
        """That was told."""
        for name in names:
            if name in self._deliveries:
                self._journal.put(self._told, name, True)

    def purge(self, before: datetime, limit: int) -> int:
        """Forgets old ones that have ended."""
        old = self._where(
            lambda each: each.create_time < before and each.state not in STILL_OPEN,
            lambda each: (each.create_time, each.name),
            limit,
        )
        for each in old:
            self._journal.drop(self._deliveries, each.name)
            self._journal.drop(self._keys, each.key)
            self._journal.drop(self._told, each.name)
        return len(old)

    def _where(
        self,
        matches: Callable[[Delivery], bool],
        order: Callable[[Delivery], Any],
        limit: int | None = None,
        *,
        is_newest_first: bool = False,
    ) -> Sequence[Delivery]:
        found = sorted(filter(matches, self._deliveries.values()), key=order, reverse=is_newest_first)
        return [_copied(each) for each in found[:limit]]

    def _write(self, delivery: Delivery, version: int, kept: Mapping[str, Any] | None = None) -> None:
        stored = replace(_copied(delivery), version=version, **(kept or {}))
        self._journal.put(self._deliveries, delivery.name, stored)
        self._journal.set_version(delivery, version)


def _copied(delivery: Delivery) -> Delivery:
    return replace(delivery, entries=list(delivery.entries), tries=list(delivery.tries))


def _tally(alike: Sequence[Delivery], now: datetime) -> DeliveryTally:
    agreed = [each for each in alike if each.confirm_by_time is not None]
    late = [
        each for each in agreed if not each.is_in_time and (each.is_confirmed or (each.confirm_by_time or now) <= now)
    ]
    return DeliveryTally(
        rule=alike[0].rule,
        channel=alike[0].channel,
        state=alike[0].state,
        count=len(alike),
        agreed=len(agreed),
        in_time=sum(each.is_in_time for each in agreed),
        late=len(late),
        confirm_seconds=[(time - each.due_time).total_seconds() for each in alike if (time := each.confirm_time)],
    )


def _wake_time(delivery: Delivery) -> datetime | None:
    return delivery.due_time if delivery.state is DeliveryState.WAITING else delivery.claim_time


def _may_be_tried(delivery: Delivery, now: datetime) -> bool:
    time = _wake_time(delivery)
    return delivery.state != DeliveryState.WAITING and time is not None and time <= now


def _matches(only: DeliveryFilter, delivery: Delivery) -> bool:
    return (
        delivery.environment == only.environment
        and only.stakeholder in ("", delivery.stakeholder)
        and only.rule in ("", delivery.rule)
        and only.state in (None, delivery.state)
        and only.run in ("", delivery.run)
    )
