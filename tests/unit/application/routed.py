"""A router on a store of the test's, with what an environment declares and what happens there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.escalating import Escalating
from pymigrate.engine.application.kind import Kind
from pymigrate.engine.application.kinds import DEPARTMENTS, ENVIRONMENTS
from pymigrate.engine.application.notification_kinds import ALERT_RULES, NOTIFICATION_CHANNELS, STAKEHOLDERS
from pymigrate.engine.application.notifications import (
    ENTRIES_AT_ONCE_MAX,
    MESSAGES_AT_ONCE_MAX,
    Notifications,
)
from pymigrate.engine.application.occurrences import Occurrences
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain.delivery import Delivery, DeliveryState, Incident
from pymigrate.engine.domain.run import Failure, Run, RunAggregate, RunEvent
from pymigrate.engine.ports.deliveries import DeliveryFilter
from pymigrate.engine.ports.feed import FeedEntry
from pymigrate.engine.ports.store import AuditEntry, Store, Unit
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.metrics import MemoryMetrics
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import environment_pb2, run_pb2
from tests.unit.application.noticed import MAIL, read

ENVIRONMENT = "environments/e"
RUN = f"{ENVIRONMENT}/plans/p/runs/r"
ME = Caller("me")
FAILED = Failure("SOURCE_UNAVAILABLE", "the source does not answer")
EVERYTHING: Mapping[str, Any] = {"match": {"types": ["phase.*"]}, "recipients": {"roles": ["engineer"]}}


def engineer(name: str, **more: Any) -> Mapping[str, Any]:
    """An engineer with an address by mail."""
    known = {"roles": ["engineer"], "addresses": {"work": {"channel": "mail", "to": f"{name}@example.com"}}}
    return known | more


@dataclass
class Scene:
    """An environment with departments `retail` and `finance`, a run of phases `sales` and `books`, and a channel `mail`."""

    store: Store = field(default_factory=MemoryStore)
    clock: ManualClock = field(default_factory=ManualClock)
    entries_max: int = ENTRIES_AT_ONCE_MAX
    messages_max: int = MESSAGES_AT_ONCE_MAX

    def __post_init__(self) -> None:
        numbers = count(1)
        self.surroundings = Surroundings(self.clock, lambda: f"{next(numbers):08d}-id")
        self.catalog = Catalog(self.surroundings)
        self.metrics = MemoryMetrics()
        self.bell, self.freezing = WorkBell(), WorkBell()
        self.directories, self.occurrences = Directories(), Occurrences()
        self.router = self.another_router()
        self.escalating = Escalating(
            self.store, self.directories, self.occurrences, self.surroundings, self.metrics, self.freezing
        )
        self._sequence = 0

    def another_router(self) -> Notifications:
        """What another engine would route with."""
        return Notifications(
            self.store,
            self.directories,
            self.occurrences,
            self.surroundings,
            self.metrics,
            self.bell,
            self.freezing,
            self.entries_max,
            self.messages_max,
        )

    async def begin(self) -> None:
        """Declares the environment and starts the run; the router has seen all of that."""
        revision = run_pb2.PlanRevision()
        revision.plan.phases["sales"].department = "retail"
        revision.plan.phases["books"].department = "finance"

        def work(unit: Unit) -> None:
            self.catalog.create(unit, ENVIRONMENTS, "", "e", environment_pb2.Environment(), ME)
            for name in ("retail", "finance"):
                self.catalog.create(unit, DEPARTMENTS, ENVIRONMENT, name, environment_pb2.Department(), ME)
            run = Run(RUN, f"{ENVIRONMENT}/plans/p", "k", "h", self.clock.now(), "api")
            unit.runs.insert(RunAggregate(run), revision.SerializeToString())

        await self.store.transact(work)
        await self.declare(NOTIFICATION_CHANNELS, "mail", MAIL)
        await self.route()

    async def declare(self, kind: Kind[Any], name: str, document: Mapping[str, Any]) -> None:
        """Declares one object."""
        await self.store.transact(
            lambda unit: self.catalog.create(unit, kind, ENVIRONMENT, name, read(kind, document), ME)
        )

    async def declare_rule(self, name: str = "failures", **more: Any) -> None:
        """A rule that tells engineers of everything of phases, unless more is given."""
        await self.declare(ALERT_RULES, name, {**EVERYTHING, **more})

    async def declare_engineers(self, *names: str, **more: Any) -> None:
        """Engineers with addresses by mail."""
        for name in names:
            await self.declare(STAKEHOLDERS, name, engineer(name, **more))

    async def happen(self, *types: str, phase: str = "sales", failure: Failure | None = FAILED) -> None:
        """Events of a phase, in one transaction."""
        now = self.clock.now()
        events = [
            RunEvent(self._sequence + at, now, type_, f"{RUN}/phases/{phase}", "staging", "failed", "engine", failure)
            for at, type_ in enumerate(types, start=1)
        ]
        self._sequence += len(events)
        await self.store.transact(lambda unit: unit.runs.append(RUN, events))

    async def be_done(self, action: str, subject: str, detail: str = "") -> None:
        """An entry of something that is no event of a run."""
        entry = AuditEntry(self.clock.now(), "engine", action, subject, 0, detail)
        await self.store.transact(lambda unit: unit.audit.append(entry))

    async def route(self) -> None:
        """Routes everything that there is."""
        while (await self.router.step()).is_more:
            pass

    async def deliveries(self, *states: DeliveryState) -> Sequence[Delivery]:
        """Everything in the ledger, in the order in which it was made."""
        found = await self.store.read(lambda unit: unit.deliveries.list(DeliveryFilter(ENVIRONMENT), None, 10_000))
        names = [each.name for each in found]
        whole = await self.store.read(lambda unit: unit.deliveries.get_all(names))
        kept = [each for each in whole if not states or each.state in states]
        return sorted(kept, key=lambda each: (each.create_time, each.name))

    async def told(self) -> list[tuple[str, str, list[str]]]:
        """Who is told by which rule of which types of events."""
        types = {entry.id: entry.type for entry in await self.entries()}
        return [(each.rule, each.stakeholder, [types[e] for e in each.entries]) for each in await self.deliveries()]

    async def entries(self) -> Sequence[FeedEntry]:
        """The stream."""
        return (await self.store.read(lambda unit: unit.feed.after("", 100_000)))[0]

    async def incidents(self, now: datetime) -> Sequence[Incident]:
        """Those whose next step is due by then."""
        return await self.store.read(lambda unit: unit.incidents.due(now, 1_000))

    async def freeze(self) -> None:
        """Renders everything that is due, as far as the router can tell."""

        def work(unit: Unit) -> None:
            due = unit.deliveries.due(self.clock.now(), 10_000)
            for each in due:
                each.state, each.frozen_time = DeliveryState.PENDING, self.clock.now()
            unit.deliveries.save(due)

        await self.store.transact(work)
