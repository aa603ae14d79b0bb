"""The rules of an environment held against everything that happens in a run of fifty lanes that a hundred stakeholders watch: events a
second through the router's own loop, on a real SQLite store, until each event is marked done and whom it is told to is written.

Reference: the same events claimed and marked done by a consumer that does nothing with them, in turns on the same store.
"""

import asyncio
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import uvloop
from _figures import Report, arguments, seconds

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pymigrate.engine.adapters.clock import SystemClock  # the tests' words are found from the root
from pymigrate.engine.adapters.store.sqlite import SqliteStore
from pymigrate.engine.application.caller import Caller, Surroundings, random_id
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.kind import Kind
from pymigrate.engine.application.kinds import DEPARTMENTS, ENVIRONMENTS
from pymigrate.engine.application.notification_kinds import (
    ALERT_RULES,
    NOTIFICATION_CHANNELS,
    STAKEHOLDERS,
)
from pymigrate.engine.application.notifications import Notifications
from pymigrate.engine.application.occurrences import Occurrences
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain.delivery import DeliveryState
from pymigrate.engine.domain.run import Failure, Run, RunAggregate, RunEvent
from pymigrate.engine.ports.deliveries import DeliveryFilter
from pymigrate.engine.ports.metric_families import NOTIFIED_EVENTS
from pymigrate.engine.ports.metrics import Family, Labels
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.metrics import MemoryMetrics
from pymigrate.v1 import environment_pb2, run_pb2
from tests.unit.application.noticed import read

ENVIRONMENT = "environments/bench"
PLAN = f"{ENVIRONMENT}/plans/warehouse"
RUN = f"{PLAN}/runs/r"
ME = Caller("me")
PHASES, LANES_EACH, DEPARTMENTS_COUNT, STAKEHOLDERS_COUNT = 10, 5, 5, 100
ROLES = ("executive", "owner", "operator", "engineer")
STALLED_SHARE, FAILED_SHARE = 0.1, 0.05
AWAY = Failure("SOURCE_UNAVAILABLE", "legacy does not answer")
GOAL_PER_SECOND = 1_000
AT_ONCE = 500
MAIL = {"smtp": {"host": "mail.example.com", "sender": "PyMigrate <migrations@example.com>"}}
HOOK = {"webhook": {"url": "https://hooks.example.com/pymigrate"}}


def stakeholder(number: int) -> Mapping[str, Any]:
    """One with a role and a department, told by mail, and by a webhook too of what is grave."""
    return {
        "displayName": f"Stakeholder {number}",
        "roles": [ROLES[number % len(ROLES)]],
        "departments": [f"d{number % DEPARTMENTS_COUNT}"],
        "addresses": {
            "mail": {"channel": "mail", "to": f"s{number}@example.com"},
            "hook": {"channel": "hook", "to": f"https://hooks.example.com/{number}", "severityMin": "SEVERITY_ERROR"},
        },
    }


def rules() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Twenty rules in a tree. Whatever happens is told to somebody: lanes to engineers, phases to owners and operators, and all of the run
    in a digest to executives."""

    def told(match: Mapping[str, Any], *roles: str, **more: Any) -> Mapping[str, Any]:
        return {"match": match, "recipients": {"roles": list(roles)}, "continues": True, **more}

    def of(*types: str) -> Mapping[str, Any]:
        return {"types": list(types)}

    yield "lanes", told(of("lane.*"), "engineer", groupBy=["run", "phase"], groupWaitSeconds=30)
    yield "stalls", told(of("lane.stalled"), "operator", groupBy=["run", "reason"], groupWaitSeconds=10)
    yield "phases", told(of("phase.*"), "owner", "operator", groupBy=["phase"], groupWaitSeconds=60)
    yield "morning", told(of("run.*", "phase.*", "lane.*"), "executive", digest={"times": ["08:00"]})
    yield "failures", told({"severityMin": "SEVERITY_ERROR"}, "engineer", groupBy=["run"])
    for number in range(DEPARTMENTS_COUNT):
        match = {"departments": [f"d{number}"], **of("phase.failed")}
        more = {"groupBy": ["run", "department"], "messagesPerHourMax": 60}
        yield f"failures-d{number}", told(match, "owner", parentRule="failures", **more)
    for number in range(5):
        yield f"others-{number}", told({"plans": [f"*-archive-{number}*"], **of("phase.*")}, "executive")
    for number in range(5):
        kpi = {"figure": "errors.rate", "isAbove": True, "bound": 0.1 * (number + 1), "holdSeconds": 60}
        yield f"errors-{number}", told({"kpi": kpi}, "operator")


def happenings(seed: int) -> Iterator[tuple[str, str, str, str, Failure | None]]:
    """What happens in a run of fifty lanes, without end: type, subject, and the states before and after, now and then with a failure."""
    rng = random.Random(seed)
    while True:
        for number in rng.sample(range(PHASES), PHASES):
            phase, lanes = f"{RUN}/phases/p{number}", [f"{RUN}/lanes/p{number}.t{lane}" for lane in range(LANES_EACH)]
            yield "phase.ready", phase, "pending", "ready", None
            yield "phase.staging", phase, "ready", "staging", None
            for lane in lanes:
                yield "lane.running", lane, "pending", "running", None
            for lane in lanes:
                while rng.random() < STALLED_SHARE:
                    yield "lane.stalled", lane, "running", "stalled", AWAY
                    yield "lane.running", lane, "stalled", "running", None
                yield "lane.done", lane, "running", "done", None
            yield "phase.verifying", phase, "staging", "verifying", None
            if rng.random() < FAILED_SHARE:
                yield "phase.failed", phase, "verifying", "failed", AWAY
            else:
                yield "phase.publishing", phase, "verifying", "publishing", None
                yield "phase.published", phase, "publishing", "published", None


class Awaited(MemoryMetrics):
    """Metrics that say when so many events were held against the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = 0.0
        self.reached = asyncio.Event()

    def add(self, family: Family, labels: Labels = (), amount: float = 1.0) -> None:
        """As the port says."""
        super().add(family, labels, amount)
        if family is NOTIFIED_EVENTS and sum(self.values[family].values()) >= self.wanted:
            self.reached.set()


class Scene:
    """The store, the router, and a consumer that does nothing."""

    def __init__(self, store: SqliteStore, clock: SystemClock) -> None:
        self.store, self.clock = store, clock
        surroundings = Surroundings(clock, random_id)
        self.catalog = Catalog(surroundings)
        self.metrics, self.bell = Awaited(), WorkBell()
        self.router = Notifications(
            store, Directories(), Occurrences(), surroundings, self.metrics, self.bell, WorkBell()
        )
        self.happenings = happenings(seed=1)
        self.happened = 0

    async def begin(self) -> None:
        """Declares everything, and starts the run."""
        revision = run_pb2.PlanRevision()
        for number in range(PHASES):
            revision.plan.phases[f"p{number}"].department = f"d{number % DEPARTMENTS_COUNT}"

        def work(unit: Unit) -> None:
            self.catalog.create(unit, ENVIRONMENTS, "", "bench", environment_pb2.Environment(), ME)
            for number in range(DEPARTMENTS_COUNT):
                self.catalog.create(unit, DEPARTMENTS, ENVIRONMENT, f"d{number}", environment_pb2.Department(), ME)
            for name, channel in (("mail", MAIL), ("hook", HOOK)):
                self._declare(unit, NOTIFICATION_CHANNELS, name, channel)
            for number in range(STAKEHOLDERS_COUNT):
                self._declare(unit, STAKEHOLDERS, f"s{number}", stakeholder(number))
            for name, rule in rules():
                self._declare(unit, ALERT_RULES, name, rule)
            run = Run(RUN, PLAN, "k", "h", self.clock.now(), "api")
            unit.runs.insert(RunAggregate(run), revision.SerializeToString())
            unit.outbox.begin("bare", unit.feed.end())

        await self.store.transact(work)
        while (await self.router.step()).is_more:
            pass
        self.metrics.values[NOTIFIED_EVENTS].clear()

    def _declare(self, unit: Unit, kind: Kind[Any], name: str, document: Mapping[str, Any]) -> None:
        self.catalog.create(unit, kind, ENVIRONMENT, name, read(kind, document), ME)

    async def happen(self, count: int) -> None:
        """So many events are committed."""
        now = self.clock.now()
        events = [
            RunEvent(self.happened + at, now, type_, subject, before, after, "engine", failure)
            for at, (type_, subject, before, after, failure) in enumerate(islice(self.happenings, count), 1)
        ]
        self.happened += count
        await self.store.transact(lambda unit: unit.runs.append(RUN, events))

    async def route(self) -> None:
        """The router's loop, until it has told of everything that has happened."""
        self.metrics.wanted, self.metrics.reached = self.happened, asyncio.Event()
        routing = asyncio.create_task(self.router.run_loop())
        self.bell.ring()
        await self.metrics.reached.wait()
        routing.cancel()
        await asyncio.gather(routing, return_exceptions=True)

    async def take(self) -> None:
        """The same events, claimed and marked done."""

        def work(unit: Unit) -> int:
            now = self.clock.now()
            claims = unit.outbox.claim("bare", AT_ONCE, now, now)
            unit.outbox.done("bare", [claim.entry.id for claim in claims])
            return len(claims)

        while await self.store.transact(work):
            pass

    async def told(self) -> tuple[int, int]:
        """How many stakeholders are told, and of how many events in all deliveries."""
        only = DeliveryFilter(ENVIRONMENT, state=DeliveryState.WAITING)
        found = await self.store.read(lambda unit: unit.deliveries.list(only, None, 100_000))
        return len({each.stakeholder for each in found}), sum(each.entry_count for each in found)


def main() -> None:
    """Measures and keeps the figures."""
    given = arguments(__doc__ or "")
    report = Report("notification_rules", ["sqlalchemy"])
    count, rounds = (5_000, 3) if given.quick else (5_000, 9)
    if given.tiny:
        count, rounds = 200, 1
    spent: dict[str, list[float]] = {"routed": [], "bare": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        clock = SystemClock()
        store = runner.run(SqliteStore.open(Path(folder) / "store", clock))
        scene = Scene(store, clock)
        runner.run(scene.begin())
        for _ in range(rounds):
            runner.run(scene.happen(count))
            spent["routed"].append(seconds(lambda: runner.run(scene.route())))
            spent["bare"].append(seconds(lambda: runner.run(scene.take())))
        stakeholders, told = runner.run(scene.told())
        runner.run(store.close())
    if stakeholders != STAKEHOLDERS_COUNT or set(scene.metrics.values[NOTIFIED_EVENTS]) != {("bench", "told")}:
        raise AssertionError(f"{stakeholders} stakeholders are told, {dict(scene.metrics.values[NOTIFIED_EVENTS])}")
    routed, bare = (sorted(spent[side])[rounds // 2] for side in ("routed", "bare"))
    print(f"{scene.happened:,} events were told {told:,} times to {stakeholders} stakeholders")
    report.add(
        f"events of 50 lanes held against 20 rules for {STAKEHOLDERS_COUNT} stakeholders, and written to whom they are told",
        count / routed,
        "events/s",
        reference="the same events claimed and marked done, without any rule",
        reference_value=count / bare,
        goal=f"at least {GOAL_PER_SECOND:,} events/s",
        met=count / routed >= GOAL_PER_SECOND,
    )
    report.write(given.results)


if __name__ == "__main__":
    main()
