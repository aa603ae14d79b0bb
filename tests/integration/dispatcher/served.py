"""The engine's side of dispatch on a real socket, over a real store in a home, served from a thread of this process."""

import asyncio
import hashlib
import random
import threading
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import grpc

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.store.sqlite import SqliteStore
from pymigrate.engine.application.acknowledging import AcknowledgeLinks
from pymigrate.engine.application.caller import Caller, Surroundings, random_id
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.deliveries import Deliveries
from pymigrate.engine.application.host_tokens import HostTokens
from pymigrate.engine.application.kinds import ENVIRONMENTS
from pymigrate.engine.application.notification_kinds import NOTIFICATION_CHANNELS
from pymigrate.engine.application.notification_metrics import NotificationMetrics
from pymigrate.engine.application.outgoing_messages import OutgoingMessages
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain.delivery import Delivery
from pymigrate.engine.entrypoints.grpc.dispatch import DispatchCalls
from pymigrate.engine.entrypoints.grpc.interceptors import CallInterceptor
from pymigrate.engine.entrypoints.identity import Bearers
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.engine.testing.metrics import MemoryMetrics
from pymigrate.v1 import environment_pb2, notification_pb2_grpc
from tests.unit.application.dispatched import KEY, events_of
from tests.unit.application.noticed import read
from tests.unit.domain.delivered import ENVIRONMENT, pending

TOKEN = "a-token-of-the-test"
SECONDS_MAX = 60.0
ALLOWED = {"PYMIGRATE_OUTGOING_ALLOWED": "127.0.0.0/8"}
Result = TypeVar("Result")


class ServedDispatch:
    """Serves from its start to its end; `start` again is another engine over the same store, on another port."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = SystemClock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="served-dispatch")
        self._thread.start()
        self.store: Store = self.do(self._open())

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Does something on the engine's own thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS_MAX)

    def start(self) -> None:
        """Serves, and writes endpoint and token as an engine does."""
        self.do(self._start())

    def stop(self) -> None:
        """Gone at once, as after kill -9: the endpoint's file stays."""
        self.do(self._server.stop(None))

    def close(self) -> None:
        """Ends store and thread."""
        self.do(self.store.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS_MAX)
        self._loop.close()

    def declare(self, **channels: Mapping[str, Any]) -> None:
        """An environment with these channels."""
        catalog, me = Catalog(Surroundings(self.clock, random_id)), Caller("me")

        def work(unit: Unit) -> None:
            catalog.create(unit, ENVIRONMENTS, "", "e", environment_pb2.Environment(), me)
            for name, document in channels.items():
                found = read(NOTIFICATION_CHANNELS, document)
                catalog.create(unit, NOTIFICATION_CHANNELS, ENVIRONMENT, name, found, me)

        self.do(self.store.transact(work))

    def make(self, channel: str, to: str, count: int, start: int = 1) -> None:
        """So many messages by a channel to one address, due now."""
        now = self.clock.now()
        made = [
            replace(
                pending(number, channel, to=to, create_time=now, due_time=now, frozen_time=now, next_try_time=now),
                key=hashlib.sha256(f"{number}".encode()).hexdigest(),
            )
            for number in range(start, start + count)
        ]
        self.do(self.store.transact(lambda unit: unit.deliveries.insert(made)))
        self._loop.call_soon_threadsafe(self.bell.ring)

    def get(self, numbers: Iterable[int]) -> list[Delivery]:
        """These as they are stored."""
        names = [f"{ENVIRONMENT}/deliveries/d{number}" for number in numbers]
        return list(self.do(self.store.read(lambda unit: unit.deliveries.get_all(names))))

    def wait(self, numbers: Iterable[int], *states: str) -> list[Delivery]:
        """Until each of these has come to one of these states."""
        wanted, pause = list(numbers), threading.Event()
        for _ in range(int(SECONDS_MAX / 0.02)):
            found = self.get(wanted)
            if all(each.state in states for each in found):
                return found
            pause.wait(0.02)
        raise AssertionError(f"still {sorted({str(each.state) for each in self.get(wanted)})}")

    async def _open(self) -> Store:
        return await SqliteStore.open(self.home / "engine.db", self.clock)

    async def _start(self) -> None:
        self.bell = WorkBell()
        messages = OutgoingMessages("pymigrate", AcknowledgeLinks(KEY), events_of, self.clock)
        surroundings = Surroundings(self.clock, random_id)
        self.deliveries = Deliveries(
            self.store, surroundings, messages, random.Random(), self.bell, NotificationMetrics(MemoryMetrics())
        )
        self._server = grpc.aio.server(interceptors=[CallInterceptor(Bearers(TOKEN, SystemClock()))])
        calls = DispatchCalls(self.deliveries, HostTokens(TOKEN, self.clock))
        notification_pb2_grpc.add_DispatchServiceServicer_to_server(calls, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        (self.home / "token").write_text(f"{TOKEN}\n")
        (self.home / "endpoint").write_text(f"127.0.0.1:{port}\n")


def hook(url: str, **others: Any) -> dict[str, Any]:
    """A webhook's channel."""
    return {"webhook": {"url": url}} | others
