"""Freezing: what is due is rendered and kept as it is sent, by the template's version that holds now. From then on only tries change it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import structlog

from pymigrate.engine.application.contents import Contents
from pymigrate.engine.application.dead_letters import tell_ended_badly
from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.notice_sources import Notice
from pymigrate.engine.application.notification_metrics import Moves, NotificationMetrics
from pymigrate.engine.application.occurrences import Occurrences
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain.delivery import Content, Delivery, DeliveryState
from pymigrate.engine.domain.errors import StaleWrite, TemporaryError
from pymigrate.engine.domain.notices import Occurrence
from pymigrate.engine.domain.readdressing import hold_back
from pymigrate.engine.domain.severities import severity_of
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Store, Unit

log = structlog.get_logger(__name__)
AT_ONCE_MAX = 500
AGAIN_MAX = 5
FAILURES_MAX = 3
REST_SECONDS = 1.0
REST_SECONDS_SHORT = 0.1  # where something is due before the next look
GONE_TYPE = "entry.gone"


@dataclass(slots=True)
class _Due:
    """What is due, and whether something will be so within a rest. `has_rules`: somebody is to be told something some day."""

    notices: list[Notice] = field(default_factory=list)
    is_more_soon: bool = False
    has_rules: bool = False


class Freezing:
    """Freezes what is due. It is woken by `bell`, which the router rings, and rings `dispatch` when there is something to send."""

    def __init__(
        self,
        store: Store,
        directories: Directories,
        occurrences: Occurrences,
        contents: Contents,
        metrics: NotificationMetrics,
        clock: Clock,
        bell: WorkBell,
        dispatch: WorkBell,
        at_once_max: int = AT_ONCE_MAX,
    ) -> None:
        self._store = store
        self._directories = directories
        self._metrics = metrics
        self._occurrences = occurrences
        self._contents = contents
        self._clock = clock
        self._bell = bell
        self._dispatch = dispatch
        self._most = self._at_once = at_once_max
        self._failures = 0
        self._is_more_soon = False
        self._is_warm = False

    async def run_loop(self) -> None:
        """Freezes until it is cancelled. A pass that fails is logged and done again with fewer, so that one that can't be frozen keeps no
        other waiting for long."""
        while True:
            seen, count = self._bell.rung, 0
            try:
                count = await self.step()
            except (TemporaryError, StaleWrite) as error:
                log.warning("freezing.put_off", error=error.message)
            except Exception as error:
                log.exception("freezing.failed", at_once=self._at_once, error=type(error).__name__)
                self._failures += self._at_once == 1
                self._at_once = max(1, self._at_once // 8)
            if not count:
                seconds = REST_SECONDS_SHORT if self._is_more_soon else REST_SECONDS
                await self._bell.rest(seen, self._clock, seconds)

    async def step(self) -> int:
        """One pass; how many were frozen."""
        now = self._clock.now()
        due = await self._store.read(lambda unit: self._due(unit, now, self._at_once))
        self._is_more_soon = due.is_more_soon
        if due.has_rules and not due.notices:
            self._is_warm = True
            await self._contents.warm()
        count = 0
        for _ in range(AGAIN_MAX):
            if not due.notices:
                break
            frozen, stale = await self._freeze(due.notices)
            count += frozen
            # Those that gained something meanwhile are frozen anew at once: in a smaller batch, before they gain more.
            due = await self._store.read(partial(self._again, names=stale))
        self._at_once = min(self._most, 2 * self._at_once)
        self._failures = 0
        return count

    async def _freeze(self, notices: Sequence[Notice]) -> tuple[int, list[str]]:
        """How many were frozen, and the names of those that others wrote meanwhile."""
        if self._failures >= FAILURES_MAX:  # of the one that is due first: whoever it is for is told all the same
            contents = [self._contents.plain(notice) for notice in notices]
        else:
            contents = await self._contents.of(notices)
        now = self._clock.now()
        versions = {notice.delivery.name: notice.delivery.version for notice in notices}
        deliveries = [notice.delivery for notice in notices]
        said = {delivery.name: content for delivery, content in zip(deliveries, contents, strict=True)}
        stale: list[str] = []
        try:
            moves = await self._store.transact(lambda unit: self._save(unit, deliveries, said, now))
        except StaleWrite:
            moves, stale = await self._store.transact(lambda unit: self._save_unchanged(unit, said, versions, now))
        self._metrics.count(moves)
        if len(stale) < len(notices):
            self._dispatch.ring()
        return len(notices) - len(stale), stale

    def _save(self, unit: Unit, deliveries: Sequence[Delivery], said: Mapping[str, Content], now: datetime) -> Moves:
        """Freezes each, but for those whose recipient is gone or paused since they were made."""
        moves = Moves()
        moves.watch(deliveries)
        environments = {delivery.environment for delivery in deliveries}
        directories = {environment: self._directories.of(unit, environment) for environment in environments}
        for delivery in deliveries:
            if not hold_back(delivery, directories[delivery.environment]):
                _freeze(delivery, said[delivery.name], now)
        unit.deliveries.save(deliveries)
        tell_ended_badly(unit, deliveries, now)
        return moves

    def _save_unchanged(
        self, unit: Unit, said: Mapping[str, Content], versions: Mapping[str, int], now: datetime
    ) -> tuple[Moves, list[str]]:
        """The same with those that are as they were read; gives the names of the others too."""
        fresh = [
            each
            for each in unit.deliveries.get_all(said.keys())
            if each.version == versions[each.name] and each.state is DeliveryState.WAITING
        ]
        moves = self._save(unit, fresh, said, now)
        return moves, sorted(said.keys() - {delivery.name for delivery in fresh})

    def _due(self, unit: Unit, now: datetime, limit: int) -> _Due:
        due = unit.deliveries.due(now, limit)
        is_more_soon = not due and bool(unit.deliveries.due(now + timedelta(seconds=REST_SECONDS), 1))
        return _Due(self._noticed(unit, due), is_more_soon, not self._is_warm and _has_rules(unit))

    def _again(self, unit: Unit, names: list[str]) -> _Due:
        found = unit.deliveries.get_all(names) if names else ()
        return _Due(self._noticed(unit, [each for each in found if each.state is DeliveryState.WAITING]))

    def _noticed(self, unit: Unit, deliveries: Sequence[Delivery]) -> list[Notice]:
        """Each with what it tells of. Whoever is told the same has the same occurrences."""
        numbers = {number for delivery in deliveries for number in delivery.entries}
        entries = unit.feed.get(numbers) if numbers else ()
        known = {entry.id: told for entry, told in zip(entries, self._occurrences.of(unit, entries), strict=True)}
        groups: dict[tuple[int, ...], tuple[Occurrence, ...]] = {}
        notices = []
        for delivery in deliveries:
            key = tuple(delivery.entries)
            if key not in groups:
                groups[key] = tuple(known[number] for number in key if number in known)
            notices.append(Notice(delivery, groups[key] or (_gone(delivery),)))
        return notices


def _has_rules(unit: Unit) -> bool:
    environments = unit.resources.names("environments", "")
    return any(unit.resources.list("alertRules", environment, "", 1) for environment in environments)


def _freeze(delivery: Delivery, content: Content, now: datetime) -> None:
    delivery.content = content
    delivery.state = DeliveryState.PENDING
    delivery.frozen_time = delivery.next_try_time = now


def _gone(delivery: Delivery) -> Occurrence:
    """What stands for entries that the store does not have any more."""
    return Occurrence(
        id="",
        entry=0,
        type=GONE_TYPE,
        subject=delivery.run or delivery.environment,
        time=delivery.create_time,
        severity=severity_of(GONE_TYPE),
        environment=delivery.environment,
    )
