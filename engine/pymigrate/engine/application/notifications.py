"""The router: holds everything that happens against the rules, as the consumer `notifications` of the outbox, and makes deliveries of it.

A pass is one transaction: entries are claimed, deliveries made or added to, and the entries marked done, so that each is told once,
whatever ends the engine. What other parts of the engine found (`kpi.crossed`, `notification.dead`) comes the same way as what happens in
runs.
"""

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from pymigrate.engine.application.caller import Surroundings
from pymigrate.engine.application.cloud_events import event_id
from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.notification_metrics import Moves, NotificationMetrics
from pymigrate.engine.application.occurrences import Occurrences
from pymigrate.engine.application.routes import RoutesFollowed
from pymigrate.engine.application.telling import learn_lately, look_up, store, undeliverable_entry
from pymigrate.engine.application.told_environments import told_environment
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain.delivery import DeliveryState
from pymigrate.engine.domain.duplicates import Lately, Sameness, ToldLately
from pymigrate.engine.domain.errors import StaleWrite, TemporaryError
from pymigrate.engine.domain.gathering import Gathered, Gathering
from pymigrate.engine.domain.making import untellable
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.parcels import Parcels
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.ports.feed import FeedEntry, Position, read_position
from pymigrate.engine.ports.metric_families import NOTIFIED_EVENTS, NOTIFIED_LAG
from pymigrate.engine.ports.metrics import Labels, Metrics, Reading
from pymigrate.engine.ports.store import Store, Unit

log = structlog.get_logger(__name__)
CONSUMER = "notifications"
POLL_SECONDS = 1.0
# What somebody declares rings no bell: where there are rules it is looked for so often, which costs a transaction that writes nothing.
RULES_POLL_SECONDS = 0.25
# A commit for each event would take the store from those who move data; nobody notices so short a wait. It is as long as a pass takes, so
# that at most half of the time goes into passes.
PACE_SECONDS = 0.05
PACE_SECONDS_MAX = 0.5
ENTRIES_AT_ONCE_MAX = 500
MESSAGES_AT_ONCE_MAX = 5_000
LEASE_SECONDS = 60.0
FAILURES_MAX = 3
AGAIN_MAX = 5
TOLD = "told"
UNMATCHED = "unmatched"
UNTELLABLE = "untellable"
UNTELLABLE_REASON = "UNTELLABLE"


@dataclass(slots=True)
class Passed:
    """What a pass did: entries by what came of them, what was told first of late, and the deliveries that it made. `is_more`: there may be
    others, the first of which happened at `left_since` or later. `has_rules`: an environment of its entries has any rule; None where there
    was no entry."""

    results: Counter[Labels] = field(default_factory=Counter)
    lately: dict[Sameness, Lately] = field(default_factory=dict)
    moves: Moves = field(default_factory=Moves)
    has_due: bool = False
    has_rules: bool | None = None
    is_more: bool = False
    left_since: datetime | None = None

    def count(self, environment: str, result: str) -> None:
        """Counts an entry."""
        self.results[last_segment(environment), result] += 1


class Notifications:
    """The router. It is woken by `bell`, which is rung whenever something happened, and rings `freezing` when there is what to render. At
    most `entries_max` entries go into a pass, and as few as make `messages_max` messages."""

    def __init__(
        self,
        store: Store,
        directories: Directories,
        occurrences: Occurrences,
        surroundings: Surroundings,
        metrics: Metrics,
        bell: WorkBell,
        freezing: WorkBell,
        entries_max: int = ENTRIES_AT_ONCE_MAX,
        messages_max: int = MESSAGES_AT_ONCE_MAX,
    ) -> None:
        self._store = store
        self._occurrences = occurrences
        self._surroundings = surroundings
        self._clock = surroundings.clock
        self._metrics, self._deliveries = metrics, NotificationMetrics(metrics)
        self._bell = bell
        self._freezing = freezing
        self._routes = RoutesFollowed(directories)
        self._lately = ToldLately()
        self._is_begun = False
        # Where nobody has declared a rule nothing is urgent; until something happened that is not known.
        self._has_rules: bool | None = None
        self._most = self._entries_max = entries_max
        self._messages_max = messages_max
        self._failures = 0
        self._behind_since: datetime | None = None

    @property
    def lag_seconds(self) -> float:
        """How long there has been an entry that was not routed; 0 where everything is."""
        since = self._behind_since
        return 0.0 if since is None else max(0.0, (self._clock.now() - since).total_seconds())

    async def run_loop(self) -> None:
        """Routes until it is cancelled. A pass that fails is logged and done again, with fewer entries each time, so that one that can't be
        routed keeps no other waiting."""
        while True:
            seen, began, passed = self._bell.rung, self._clock.monotonic(), Passed()
            try:
                passed = await self.step()
            except Exception as error:
                log.exception("notifications.failed", entries_max=self._entries_max, error=type(error).__name__)
                self._behind_since = self._behind_since or self._clock.now()
                self._take_less(error)
                await self._clock.sleep(POLL_SECONDS)
                continue
            if passed.has_rules is not None:
                self._has_rules = passed.has_rules or bool(self._has_rules)
            if passed.is_more:
                await self._clock.sleep(0.0)
            elif self._has_rules is not False:
                took = self._clock.monotonic() - began
                await self._clock.sleep(min(PACE_SECONDS_MAX, max(PACE_SECONDS, took)))
                await self._bell.rest(seen, self._clock, RULES_POLL_SECONDS)
            else:
                await self._clock.sleep(POLL_SECONDS)

    async def step(self) -> Passed:
        """One pass."""
        passed = await self._committed()
        self._is_begun = True
        self._failures = 0
        self._behind_since = passed.left_since
        self._entries_max = min(self._most, 2 * self._entries_max)
        self._lately.keep(passed.lately)
        for labels, amount in passed.results.items():
            self._metrics.add(NOTIFIED_EVENTS, labels, amount)
        self._deliveries.count(passed.moves)
        if passed.has_due:
            self._freezing.ring()
        return passed

    async def _committed(self) -> Passed:
        """A pass that is stored. Where what it would add to was rendered meanwhile, it looks again at once."""
        for _ in range(AGAIN_MAX):
            with contextlib.suppress(StaleWrite):
                return await self._store.transact(self._pass)
        return await self._store.transact(self._pass)

    def _take_less(self, error: Exception) -> None:
        # Whether it was committed is not known: the ledger is.
        self._lately = ToldLately()
        self._routes.forget()
        if isinstance(error, TemporaryError | StaleWrite):
            return
        self._failures += 1
        self._entries_max = max(1, self._entries_max // 8)

    def _pass(self, unit: Unit) -> Passed:
        now, passed = self._clock.now(), Passed()
        if not self._is_begun:
            unit.outbox.begin(CONSUMER, unit.feed.end())
        until = now + timedelta(seconds=LEASE_SECONDS)
        claims = unit.outbox.claim(CONSUMER, self._entries_max, now, until)
        entries = sorted((claim.entry for claim in claims), key=_place)
        if not entries:
            return passed
        if len(entries) == 1 and self._failures >= FAILURES_MAX:
            self._leave(unit, entries[0], Failure(UNTELLABLE_REASON, "routing it failed again and again"), now, passed)
            done = 1
        else:
            done = self._route(unit, entries, now, passed)
        unit.outbox.done(CONSUMER, [entry.id for entry in entries[:done]])
        if done < len(entries):
            unit.outbox.release(CONSUMER, [entry.id for entry in entries[done:]], now)
        if done < len(entries) or len(claims) >= self._entries_max:
            passed.is_more, passed.left_since = True, entries[min(done, len(entries) - 1)].time
        return passed

    def _route(self, unit: Unit, entries: Sequence[FeedEntry], now: datetime, passed: Passed) -> int:
        """Tells of entries in their order, up to where they make as many messages as a transaction should hold; how many are done."""
        batches: dict[str, Parcels | None] = {}
        done = 0
        self._routes.note(entries)
        for entry in entries:
            environment = told_environment(unit, entry.subject)
            if environment not in batches:
                batches[environment] = self._batch(unit, environment, now)
            parcels = batches[environment]
            done += 1
            passed.has_rules = parcels is not None or bool(passed.has_rules)
            if parcels is None:
                passed.count(environment, UNMATCHED)
                continue
            try:
                is_told = parcels.add(self._occurrences.one(unit, entry))
            except ValueError as error:  # what is stored can't be told; another try would find the same
                log.exception("notifications.untellable", entry=entry.id, type=entry.type, subject=entry.subject)
                self._leave(unit, entry, Failure(UNTELLABLE_REASON, str(error)), now, passed)
                continue
            passed.count(environment, TOLD if is_told else UNMATCHED)
            if sum(each.messages_max for each in batches.values() if each is not None) >= self._messages_max:
                break
        for parcels in batches.values():
            if parcels is not None:
                self._gather(unit, parcels, passed)
        return done

    def _batch(self, unit: Unit, environment: str, now: datetime) -> Parcels | None:
        """What takes an environment's occurrences in; None where it has no rule."""
        routes = self._routes.of(unit, environment, now)
        if routes is None:
            return None
        learn_lately(unit, self._occurrences, routes.directory, self._lately, now)
        return Parcels(routes, self._lately, now)

    def _gather(self, unit: Unit, parcels: Parcels, passed: Passed) -> None:
        known = look_up(unit, parcels.routes.directory, parcels)
        gathered: Gathered = Gathering(parcels, known, self._surroundings.new_id).gather()
        made = store(unit, gathered, parcels.now)
        passed.lately |= gathered.lately
        passed.moves.made(made)
        passed.is_more |= bool(gathered.undeliverable)
        # What is due later is found when it is.
        passed.has_due |= any(
            delivery.state is DeliveryState.WAITING and delivery.due_time <= parcels.now
            for delivery in gathered.deliveries.values()
        )

    def _leave(self, unit: Unit, entry: FeedEntry, failure: Failure, now: datetime, passed: Passed) -> None:
        """Says in the ledger that nobody was told of an entry."""
        environment = told_environment(unit, entry.subject)
        passed.count(environment, UNTELLABLE)
        name = f"{environment}/deliveries/{self._surroundings.new_id()}"
        delivery = untellable(environment, name, event_id(entry), entry.id, failure, now)
        unit.deliveries.insert([delivery])
        passed.moves.made([delivery] if delivery.version else [])
        if delivery.version and not entry.type.startswith("notification."):
            unit.audit.append(undeliverable_entry(delivery, now))


def _place(entry: FeedEntry) -> tuple[Position, int]:
    """Its place in the stream."""
    return read_position(entry.position), entry.id


def measure_routing(metrics: Metrics, router: Notifications) -> None:
    """Tells how far the router is behind."""
    metrics.collect("notification_routing", lambda: [Reading(NOTIFIED_LAG, [((), router.lag_seconds)])])
