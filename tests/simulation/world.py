"""A world under one seed: engines, hosts, systems, people and a notifier on one virtual loop, in the weather that the seed draws.

`simulate(seed)` runs it to its end and returns what became of it. Everything follows from the seed.
"""

import asyncio
import hashlib
import logging
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from pymigrate.engine.domain.errors import SecretMissing, StepUnavailable
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.entrypoints.worker.tasks import TaskRunner
from pymigrate.engine.ports.calls import OutsideCall
from pymigrate.engine.ports.hosts import HostRecord
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secrets import Secret, SecretRef
from pymigrate.engine.testing.calls import MemoryCalls
from pymigrate.engine.testing.fibers import Fibers
from pymigrate.engine.testing.inline_means import INLINE
from pymigrate.engine.testing.secrets import MemorySecrets
from pymigrate.engine.testing.simulated_host import SimulatedHost
from pymigrate.engine.testing.simulated_link import Network
from pymigrate.engine.testing.simulated_machine import Machine
from pymigrate.engine.testing.simulated_route import SimulatedSystems
from pymigrate.engine.testing.simulated_store import SimulatedStore
from pymigrate.engine.testing.simulated_systems import SimulatedConnector
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.engine.testing.virtual_loop import Livelock, NothingLeft, VirtualClock, VirtualLoop, run_virtually
from pymigrate.engine.testing.weather import Spell, Trouble, Weather, draw
from tests.simulation.application import Application
from tests.simulation.engines import EngineProcess
from tests.simulation.parts import REAL, Parts
from tests.simulation.people import NeverEnded, People
from tests.simulation.plans import COLUMNS, ONLINE, SOURCES, TARGETS, draw_plan, rows_of
from tests.simulation.scenarios import FILE_HOST, SHARED_HOSTS
from tests.simulation.witness import RUN, Witness

SUNNY = 0.1
CALM_SECONDS = (15.0, 50.0)
BOOT_SECONDS = (0.05, 1.5)
DOWN_SECONDS = (0.1, 6.0)
NOTICE_SECONDS = (2.0, 8.0)
DELIVERIES_MAX = 20
DELIVERY_LEASE_SECONDS = 10.0
CONSUMER = "notifier"
SKEW_SECONDS_MAX = 40.0
SKEW_RATES = (0.5, 0.8, 1.25, 2.0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a seed. `broken` is empty when all is as it should be; `trace` is what happened, as text."""

    seed: int
    state: str
    broken: tuple[str, ...]
    troubles: tuple[str, ...]
    seconds: float
    trace: str

    @property
    def digest(self) -> str:
        """Of what happened."""
        return hashlib.sha256(self.trace.encode()).hexdigest()


class Keys(MemorySecrets):
    """Passwords that expire in bad weather."""

    def __init__(self, weather: Weather) -> None:
        super().__init__()
        self._weather = weather

    def read(self, ref: SecretRef) -> Secret:
        """Raises SecretMissing while it has expired."""
        if self._weather.is_on(Trouble.SECRET_EXPIRED, ref.location.lower()):
            raise SecretMissing(f"{ref} leads to nothing")
        return Secret("open sesame")

    def reread(self, ref: SecretRef) -> Secret:
        """As `read`: nothing is kept in memory."""
        return self.read(ref)


class Outside(MemoryCalls):
    """What is called outside databases: as badly reached as the first source, and as badly understood as the first target."""

    def __init__(self, fibers: Fibers, weather: Weather, rng: random.Random) -> None:
        super().__init__()
        self._fibers = fibers
        self._weather = weather
        self._rng = rng

    def call(self, call: OutsideCall) -> None:
        """Takes time, and may get lost before and after."""
        self._fibers.pause(self._rng.uniform(0.01, 0.2))
        if self._weather.strikes_at(Trouble.SOURCE_GONE, SOURCES[0]):
            raise StepUnavailable("it does not answer")
        super().call(call)
        self._fibers.pause(self._rng.uniform(0.01, 0.2))
        if self._weather.strikes_at(Trouble.COMMIT_UNKNOWN, TARGETS[0]):
            raise StepUnavailable("the answer was lost")


class SimulatedExecutor:
    """The Executor port over the world's hosts: one machine, whichever engine asks."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._own: dict[str, SimulatedHost] = {}

    async def ensure(self, host: str, affinity: str) -> None:
        """Starts a process."""
        if self.has_exited(host):
            await asyncio.sleep(0)
            self._own[host] = self._world.start_host(f"workerHosts/{host}", affinity)

    async def kill(self, record: HostRecord) -> bool:
        """Ends it, unless the machine itself can't be reached."""
        await asyncio.sleep(self._world.rng.uniform(0.0, 0.1))
        host = self._world.hosts.get(record.pid)
        if host is None or host.is_over:
            return True
        weather = self._world.weather
        if weather.is_on(Trouble.HOST_STOPPED, host.name) or weather.is_on(Trouble.ENGINE_PARTITION, host.name):
            return False
        host.crash()
        return True

    def is_running(self, record: HostRecord) -> bool:
        """Whether it is there, stopped or not."""
        host = self._world.hosts.get(record.pid)
        return host is not None and not host.is_over

    def has_exited(self, host: str) -> bool:
        """Whether the process that this executor started is gone."""
        return host not in self._own or self._own[host].is_over

    async def stop(self, host: str) -> None:
        """Ends it."""
        if host in self._own:
            self._own[host].crash()

    async def drain(self, record: HostRecord) -> None:
        """Ends it."""
        await self.kill(record)

    def troubles(self) -> Mapping[str, Sequence[Failure]]:
        """None: whatever is started comes."""
        return {}

    async def tidy(self, records: Collection[HostRecord], wanted: Collection[str]) -> None:
        """A host that finds no engine ends by itself."""

    async def close(self, records: Sequence[HostRecord]) -> None:
        """Ends all."""
        for host in self._own.values():
            host.crash()


class World:
    """Everything under one seed."""

    def __init__(
        self,
        seed: int,
        loop: VirtualLoop,
        parts: Parts,
        kinds: Sequence[Trouble],
        online_share: float,
        scenario: Sequence[Spell],
    ) -> None:
        self.rng = rng = random.Random(f"{seed} world")
        self.parts = parts
        self.now = loop.time
        self._loop = loop
        is_sunny = rng.random() < SUNNY and not scenario
        calm_at = max([rng.uniform(*CALM_SECONDS), *(spell.start + spell.seconds for spell in scenario)])
        hosts = [*SHARED_HOSTS, FILE_HOST]
        spells = [] if is_sunny else draw(rng, calm_at, hosts, SOURCES, TARGETS, kinds)
        self.weather = Weather([*scenario, *spells], calm_at, loop.time, rng)
        self.fibers = Fibers()
        self.systems = SimulatedSystems(
            self.fibers, self.weather, rng, target=parts.target, source=parts.source, capture=parts.capture
        )
        self.plan = draw_plan(rng, self.systems, random.Random(f"{seed} online"), online_share)
        self._application = Application(random.Random(f"{seed} application"), self.systems, self.plan)
        for name in SOURCES:
            self.systems.database(name).has_state = rng.random() < 0.7
        self.memory = MemoryStore()
        self.outside = Outside(self.fibers, self.weather, rng)
        self.witness = Witness(self.plan, self.systems, self.outside.done, loop.time, is_sunny)
        self.network = Network(self.weather, rng)
        self.network.on_granted = self.witness.granted
        self.network.on_asked = self.witness.asked
        self.network.on_finished = self.witness.finished
        self.network.on_heard = lambda host, since, tasks: self.witness.heard(since, tasks)
        self.systems.ledger.on_commit = self.witness.committed
        self.hosts: dict[int, SimulatedHost] = {}
        self.engine: EngineProcess | None = None
        self.engines = 0
        self._replaced: set[int] = set()
        self._is_over = False
        self._means = replace(INLINE, monotonic=loop.time)
        self._machine = Machine(self.network, self.fibers, rng, self._runner, parts.lease)

    # What it consists of -----------------------------------------------------------------------------------------------------------

    def start_host(self, name: str, affinity: str) -> SimulatedHost:
        """Another process."""
        pid = len(self.hosts) + 1
        clock = VirtualClock(self._loop)
        if self.weather.is_on(Trouble.CLOCK_SKEW, name):
            clock.rate = self.rng.choice(SKEW_RATES)
            clock.offset_seconds = self.rng.uniform(-SKEW_SECONDS_MAX, SKEW_SECONDS_MAX)
        self.hosts[pid] = SimulatedHost(self._machine, name, affinity, pid, clock)
        self.note(f"host {name} {pid}")
        return self.hosts[pid]

    def note(self, what: str) -> None:
        """Adds to the trace."""
        self.witness.trace.append(f"{self.now():.6f} {what}")

    def _runner(self, host: str) -> TaskRunner:
        connector = SimulatedConnector(self.systems, host)
        parts = self.parts
        return parts.runner(
            lambda kind: connector, Keys(self.weather).held, Redactor(), self.outside, self._means, parts.copy
        )

    async def _start_engine(self) -> None:
        """Another engine takes over, until one does."""
        while True:
            await asyncio.sleep(self.rng.uniform(*BOOT_SECONDS))
            self.engines += 1
            clock = VirtualClock(self._loop)
            if self.weather.is_on(Trouble.CLOCK_SKEW):
                clock.offset_seconds = self.rng.uniform(-SKEW_SECONDS_MAX, SKEW_SECONDS_MAX)
            store = SimulatedStore(self.memory, self.weather, self.rng, self.witness.observe, self.parts.unit)
            executor = SimulatedExecutor(self)
            engine = EngineProcess(self.engines, store, executor, clock, self.rng, self.parts)
            self.engine = self.network.engine = engine
            self.note(f"engine {engine.number}")
            await engine.start()
            if engine.is_up:
                return

    # What befalls it ---------------------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """From the first engine to the end of everything that was asked."""
        await self._start_engine()
        parts = [asyncio.create_task(self._strike(spell)) for spell in self.weather.spells]
        parts += [asyncio.create_task(self._notify()), asyncio.create_task(self._be_people())]
        if self._application.has_work:
            parts.append(asyncio.create_task(self._write()))
        await asyncio.wait(parts, return_when=asyncio.FIRST_EXCEPTION)
        for part in parts:
            if part.done():
                part.result()
        await self.memory.read(self.witness.check_end)

    async def _be_people(self) -> None:
        await People(self, self.rng).live()
        self._is_over = True

    async def _strike(self, spell: Spell) -> None:
        await asyncio.sleep(max(0.0, spell.start - self.now()))
        match spell.kind:
            case Trouble.HOST_CRASH | Trouble.HOST_STOPPED if not self._hosts_at(spell.place):
                return
            case Trouble.ENGINE_CRASH:
                await self._replace_engine(0.0)
            case Trouble.ENGINE_STOPPED:
                await self._replace_engine(spell.seconds)
            case Trouble.HOST_CRASH:
                for host in self._hosts_at(spell.place):
                    host.crash()
            case Trouble.HOST_STOPPED:
                await self._stop_hosts(spell)
            case Trouble.SOURCE_CHANGED:
                self._change_source(spell.place)
            case _:
                return
        self.weather.struck(spell.kind)

    async def _replace_engine(self, zombie_seconds: float) -> None:
        """The engine ends, or is stopped for so long and goes on a while beside its successor."""
        engine = self.engine
        if engine is None or not engine.is_up or engine.number in self._replaced:
            return
        self._replaced.add(engine.number)
        if not zombie_seconds:
            engine.crash()
            await asyncio.sleep(self.rng.uniform(*DOWN_SECONDS))
            await self._start_engine()
            return
        self.witness.is_replaced = True
        engine.store.hold()
        await asyncio.sleep(self.rng.uniform(*NOTICE_SECONDS))
        succession = asyncio.create_task(self._start_engine())
        await asyncio.sleep(zombie_seconds)
        engine.store.let_go()
        await asyncio.sleep(self.rng.uniform(*NOTICE_SECONDS))
        engine.crash()
        await succession

    async def _stop_hosts(self, spell: Spell) -> None:
        stopped = self._hosts_at(spell.place)
        for host in stopped:
            host.stop()
        await asyncio.sleep(spell.seconds)
        for host in stopped:
            host.go_on()

    def _hosts_at(self, place: str) -> list[SimulatedHost]:
        return [host for host in self.hosts.values() if not host.is_over and place in {"", host.name}]

    def _change_source(self, name: str) -> None:
        followed = {self.plan.sources[place] for place in self.plan.followed}
        relations = sorted(at[1] for at in self.systems.versions if at[0] == name and at not in followed)
        if relations:
            relation = self.rng.choice(relations)
            self.systems.put(name, relation, COLUMNS, rows_of(self.rng, f"{relation}@{self.now():.0f}:"))
            self.note(f"{name} changed {relation}")

    async def _write(self) -> None:
        """The sources of online phases are written to all the while."""
        while not self._is_over:
            await asyncio.sleep(self._application.pause_seconds())
            self._application.write()

    async def _notify(self) -> None:
        """A consumer of the outbox: it may end after it was given entries, and before it has told them."""
        while not self._is_over:
            await asyncio.sleep(1.0)
            if not self.weather.is_on(Trouble.NOTIFIER_DOWN):
                await self._deliver()
        left = 1
        while left:
            await asyncio.sleep(DELIVERY_LEASE_SECONDS + 1.0)  # what was claimed before, and not told, is given again
            left = await self._deliver()

    async def _deliver(self) -> int:
        now = VirtualClock(self._loop).now()
        until = now + timedelta(seconds=DELIVERY_LEASE_SECONDS)
        claims = await self.memory.transact(lambda unit: unit.outbox.claim(CONSUMER, DELIVERIES_MAX, now, until))
        ids = [claim.entry.id for claim in claims]
        if not self.parts.tells_first(list(claims)):
            await self.memory.transact(lambda unit: unit.outbox.done(CONSUMER, ids))
        await asyncio.sleep(self.rng.uniform(0.0, 0.5))
        if self.weather.is_on(Trouble.NOTIFIER_DOWN):
            return len(ids)
        self.witness.delivered.update(ids)
        await self.memory.transact(lambda unit: unit.outbox.done(CONSUMER, ids))
        return len(ids)

    async def close(self) -> None:
        """Ends every process, so that nothing is left of the seed."""
        if self.engine is not None:
            self.engine.crash()
        for host in self.hosts.values():
            host.crash()
        await asyncio.sleep(0)
        await asyncio.sleep(1.0)


def simulate(
    seed: int,
    parts: Parts = REAL,
    kinds: Sequence[Trouble] = tuple(Trouble),
    online_share: float = ONLINE,
    scenario: Sequence[Spell] = (),
) -> Outcome:
    """One seed, from its beginning to its end. `scenario` is trouble that comes besides what the seed draws of `kinds`."""
    worlds: list[World] = []

    async def main(loop: VirtualLoop) -> None:
        world = World(seed, loop, parts, kinds, online_share, scenario)
        worlds.append(world)
        try:
            await world.live()
        finally:
            await world.close()

    never_ended = []
    try:
        run_virtually(main, random.Random(f"{seed} loop"))
    except (NeverEnded, NothingLeft, Livelock) as error:
        never_ended.append(f"{type(error).__name__}: {error}")
    world = worlds[0]
    world.fibers.close()
    witness, ledger = world.witness, world.systems.ledger
    return Outcome(
        seed,
        witness.states.get(RUN, "pending"),
        (*witness.broken, *ledger.broken, *world.network.broken, *never_ended),
        tuple(sorted(world.weather.strikes)),
        world.now(),
        "\n".join([*witness.trace, *ledger.trace]),
    )


def be_quiet() -> None:
    """Nobody reads the log of a simulation, and writing it takes longer than what it tells of."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
