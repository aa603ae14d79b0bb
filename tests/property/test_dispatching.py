"""Engine and dispatchers under chance: receivers fail, answers are lost, dispatchers are killed, the engine goes away. Every message
arrives, and one that arrived twice says that it may have."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import pytest

from pymigrate.engine.application.acknowledging import AcknowledgeLinks
from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.deliveries import Deliveries
from pymigrate.engine.application.kinds import ENVIRONMENTS
from pymigrate.engine.application.notification_kinds import NOTIFICATION_CHANNELS
from pymigrate.engine.application.notification_metrics import NotificationMetrics
from pymigrate.engine.application.outgoing_messages import OutgoingMessages
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain import delivering
from pymigrate.engine.domain.delivery import Delivery, DeliveryState, TryOutcome
from pymigrate.engine.domain.errors import EngineUnavailable
from pymigrate.engine.entrypoints.dispatcher.dispatcher import Dispatcher
from pymigrate.engine.ports.channel import Channel, Letter, Sent
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.metrics import MemoryMetrics
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.engine.testing.virtual_loop import VirtualClock, VirtualLoop, run_virtually
from pymigrate.v1 import environment_pb2, notification_pb2
from tests.unit.domain.delivered import ENVIRONMENT, pending

SEEDS = 12
MESSAGES = 60
DISPATCHERS = 2
DELIVERIES_MAX = 5
CALM_SECONDS = 1_200.0
CALM_LOOKS_MAX = 20
FAULTS_SECONDS = 20.0
REFUSED_SHARE = 0.03


def events_of(unit: Unit, numbers: object) -> Mapping[int, notification_pb2.NotificationEvent]:
    """Nothing tells of events here."""
    del unit, numbers
    return {}


@dataclass
class Outside:
    """The receivers: what arrived, and how they treat each letter. `under_way` counts tries that are at a receiver."""

    rng: random.Random
    clock: VirtualClock
    arrived: Counter[str] = field(default_factory=Counter)
    refused: set[str] = field(default_factory=set)
    under_way: int = 0
    most_under_way: int = 0
    has_faults: bool = True

    async def judge(self, letter: Letter, process: "Process") -> Sent:
        """One try, in which the process may die at any moment."""
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.clock.sleep(self.rng.expovariate(10))
            await process.lives()
            if letter.key in self.refused:
                return Sent(TryOutcome.PERMANENT, "550 no")
            fault = self.rng.random() if self.has_faults else 1.0
            if fault < 0.1:
                return Sent(TryOutcome.TRANSIENT, "451 later")
            if fault < 0.15:
                return Sent(TryOutcome.THROTTLED, "429", retry_after_seconds=1.0)
            if fault < 0.2:
                return Sent(TryOutcome.UNKNOWN, "reset")
            self.arrived[letter.key] += 1
            await self.clock.sleep(self.rng.expovariate(20))
            await process.lives()
            return Sent(TryOutcome.UNKNOWN, "the answer was lost") if fault < 0.3 else Sent(TryOutcome.ACCEPTED, "250")
        finally:
            self.under_way -= 1


@dataclass
class Process:
    """A dispatcher's process: once it is dead, nothing that it has under way goes on, and nothing of it is heard."""

    outside: Outside
    world: "World"
    name: str
    is_dead: bool = False
    cut_until: float = 0.0

    def reach(self) -> None:
        """Raises where the engine, or the way to it, is away."""
        if self.world.clock.monotonic() < self.cut_until:
            raise EngineUnavailable("cut off")
        self.world.reach()

    async def lives(self) -> None:
        """Never returns in a dead process."""
        if self.is_dead:
            await asyncio.Event().wait()

    async def send(self, letter: Letter) -> Sent:
        """By a channel of this process."""
        await self.lives()
        return await self.outside.judge(letter, self)

    async def close(self) -> None:
        """Nothing is open."""

    async def claim(self, deliveries_max: int, wait_seconds: float) -> Sequence[notification_pb2.OutgoingMessage]:
        """Asks the engine; the answer may be lost with the call."""
        await self.lives()
        self.reach()
        given = await self.world.deliveries.claim(self.name, deliveries_max, wait_seconds)
        await self.lives()
        self.reach()
        return given

    async def report(self, reports: Sequence[notification_pb2.DeliveryReport]) -> None:
        """Tells the engine; whether it heard is not always known."""
        await self.lives()
        self.reach()
        await self.world.deliveries.report(self.name, reports)
        await self.lives()
        self.reach()


class World:
    """One engine over a store, and the dispatchers that are killed and started again."""

    def __init__(self, loop: VirtualLoop, rng: random.Random) -> None:
        self.rng, self.loop = rng, loop
        self.clock = VirtualClock(loop)
        self.store = MemoryStore()
        self.outside = Outside(rng, self.clock)
        self.numbers = count(1)
        self.surroundings = Surroundings(self.clock, lambda: f"id{next(self.numbers)}")
        self.bell = WorkBell()
        self.has_faults = True
        self.is_away = False
        self.running: dict[str, tuple[Process, asyncio.Event]] = {}
        self.tasks: list[asyncio.Task[int]] = []
        self.begin_engine()

    def begin_engine(self) -> None:
        """An engine on what the store holds, which knows nothing of an earlier one's dispatchers."""
        messages = OutgoingMessages("pymigrate", AcknowledgeLinks(b"key"), events_of, self.clock)
        metrics = NotificationMetrics(MemoryMetrics())
        self.deliveries = Deliveries(self.store, self.surroundings, messages, self.rng, self.bell, metrics)

    def reach(self) -> None:
        """Raises where the engine, or the way to it, is away."""
        if self.is_away or (self.has_faults and self.rng.random() < 0.05):
            raise EngineUnavailable("away")

    async def declare(self) -> list[Delivery]:
        """A channel, and messages that come due over a while."""
        catalog, me = Catalog(self.surroundings), Caller("me")
        channel = notification_pb2.NotificationChannel(deliveries_max=DELIVERIES_MAX, try_seconds_max=2.0, tries_max=40)
        channel.smtp.host, channel.smtp.sender = "mail.example.com", "pm@example.com"
        found = []
        for number in range(1, MESSAGES + 1):
            delivery = pending(number)
            at = self.clock.now() + (delivery.due_time - delivery.create_time)
            delivery.create_time = delivery.due_time = delivery.frozen_time = delivery.next_try_time = at
            found.append(delivery)
            if self.rng.random() < REFUSED_SHARE:
                self.outside.refused.add(delivery.key)

        def work(unit: Unit) -> None:
            catalog.create(unit, ENVIRONMENTS, "", "e", environment_pb2.Environment(), me)
            catalog.create(unit, NOTIFICATION_CHANNELS, ENVIRONMENT, "mail", channel, me)
            unit.deliveries.insert(found)

        await self.store.transact(work)
        return found

    def start(self) -> None:
        """One more dispatcher."""
        name = f"d{next(self.numbers)}"
        process, ending = Process(self.outside, self, name), asyncio.Event()

        def build(_: notification_pb2.NotificationChannel, __: object) -> Channel:
            return process

        dispatcher = Dispatcher(process, build, self.clock, self.rng, name, str, grace_seconds=5.0)
        self.running[name] = (process, ending)
        self.tasks.append(self.loop.create_task(dispatcher.run(ending)))

    async def kill(self, name: str) -> None:
        """kill -9; the engine may have started it itself, and then it knows."""
        process, _ = self.running.pop(name)
        process.is_dead = True
        if self.rng.random() < 0.5:
            await self.deliveries.lost(name)

    def stop(self, name: str) -> None:
        """SIGTERM."""
        self.running.pop(name)[1].set()

    async def trouble(self) -> None:
        """Dispatchers are killed, stopped and cut off, others started; the engine goes away and comes back as another one."""
        until = self.clock.monotonic() + FAULTS_SECONDS
        while self.clock.monotonic() < until:
            await self.clock.sleep(self.rng.expovariate(1))
            name = self.rng.choice(sorted(self.running))
            match self.rng.randrange(5):
                case 0:  # for so long that its leases end, and what it reports then comes late
                    self.running[name][0].cut_until = self.clock.monotonic() + self.rng.uniform(10, 40)
                case 1 | 2:
                    await self.kill(name)
                    self.start()
                case 3:
                    self.stop(name)
                    self.start()
                case _:
                    self.is_away = True
                    await self.clock.sleep(self.rng.expovariate(1))
                    self.begin_engine()
                    self.is_away = False

    async def deliveries_now(self, of: Sequence[Delivery]) -> list[Delivery]:
        """These as they are stored."""
        return list(await self.store.read(lambda unit: unit.deliveries.get_all([each.name for each in of])))


async def play(world: World) -> list[Delivery]:
    """A time of faults, and then one in which everything works; what became of all messages."""
    made = await world.declare()
    for _ in range(DISPATCHERS):
        world.start()
    await world.trouble()
    world.has_faults = world.outside.has_faults = False
    return await calmed(world, made)


async def calmed(world: World, made: Sequence[Delivery]) -> list[Delivery]:
    """What became of them: looked at now and then, and once more after all have ended, for what might come twice."""
    ended, found = False, list(made)
    for _ in range(CALM_LOOKS_MAX):
        await world.clock.sleep(CALM_SECONDS / CALM_LOOKS_MAX)
        found = await world.deliveries_now(made)
        if ended:
            return found
        ended = all(each.state in (DeliveryState.ACCEPTED, DeliveryState.DEAD) for each in found)
    return found


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_message_arrives_whoever_is_killed_and_one_that_came_twice_says_so(seed: int) -> None:
    async def main(loop: VirtualLoop) -> None:
        world = World(loop, random.Random(seed))
        found = await play(world)
        arrived = world.outside.arrived
        for each in found:
            if each.key in world.outside.refused:
                assert (each.state, arrived[each.key]) == (DeliveryState.DEAD, 0), each
                assert each.failure is not None
                assert each.failure.reason == delivering.REFUSED
                continue
            assert each.state is DeliveryState.ACCEPTED, each
            assert arrived[each.key] >= 1
            assert arrived[each.key] == 1 or each.may_be_repeated, each
        assert loop.errors == []

    run_virtually(main, random.Random(seed))


@pytest.mark.parametrize("seed", range(5))
def test_where_nothing_fails_each_message_arrives_once_and_no_more_are_under_way_than_agreed(seed: int) -> None:
    async def main(loop: VirtualLoop) -> None:
        world = World(loop, random.Random(seed))
        world.has_faults = world.outside.has_faults = False
        world.outside.refused.clear()
        made = await world.declare()
        world.outside.refused.clear()
        world.start()
        await world.clock.sleep(60)
        found = await world.deliveries_now(made)
        assert {(each.state, len(each.tries), each.may_be_repeated) for each in found} == {
            (DeliveryState.ACCEPTED, 1, False)
        }
        assert set(world.outside.arrived.values()) == {1}
        assert world.outside.most_under_way == DELIVERIES_MAX

    run_virtually(main, random.Random(seed))
