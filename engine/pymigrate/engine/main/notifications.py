"""Notifications of one engine, wired to each other: what is declared, what finds and routes, what renders, and what dispatchers are given.

The loops wake one another: whatever happens rings `happened`, what is to be rendered rings `freezing`, what is to be sent rings `sending`.
"""

import asyncio
import random
from collections.abc import Collection, Coroutine, Iterator, Mapping
from typing import Any

from pymigrate.engine.adapters.executors.dispatchers import LocalDispatchers
from pymigrate.engine.adapters.rendering.process import TemplateProcess
from pymigrate.engine.application.acknowledging import AcknowledgeLinks, Acknowledging
from pymigrate.engine.application.board import Board
from pymigrate.engine.application.caller import Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.changes import Change
from pymigrate.engine.application.conditions import Conditions
from pymigrate.engine.application.contents import Contents
from pymigrate.engine.application.deliveries import Deliveries
from pymigrate.engine.application.delivery_ledger import DeliveryLedger
from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.escalating import Escalating
from pymigrate.engine.application.freezing import Freezing
from pymigrate.engine.application.host_tokens import HostTokens
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.application.limits import LaneLimits
from pymigrate.engine.application.notification_figures import NotificationFigures
from pymigrate.engine.application.notification_gauges import NotificationGauges
from pymigrate.engine.application.notification_metrics import NotificationMetrics
from pymigrate.engine.application.notifications import Notifications as Router
from pymigrate.engine.application.notifications import measure_routing
from pymigrate.engine.application.occurrences import Occurrences, event_message
from pymigrate.engine.application.outgoing_messages import OutgoingMessages
from pymigrate.engine.application.overdue import Overdue
from pymigrate.engine.application.previews import Previews
from pymigrate.engine.application.redriving import Redriving
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.application.template_writes import TemplateWrites
from pymigrate.engine.application.trying_templates import TryingTemplates
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.entrypoints.engine_access import HOST_TOKEN_VARIABLE
from pymigrate.engine.entrypoints.grpc.dispatch import DispatchCalls
from pymigrate.engine.entrypoints.grpc.notifications import NotificationCalls, NotificationUses
from pymigrate.engine.main.keys import kept_key
from pymigrate.engine.ports.metrics import Metrics
from pymigrate.engine.ports.rendering import Renderer
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.engine.settings import Settings
from pymigrate.v1 import notification_pb2


class Notifications:
    """Built once for each engine, from the parts that it shares with the others."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        surroundings: Surroundings,
        metrics: Metrics,
        board: Board,
        kpis: FleetKpis,
        limits: LaneLimits,
        host_tokens: HostTokens,
    ) -> None:
        self._host_tokens = host_tokens
        clock = surroundings.clock
        self._store, self._surroundings = store, surroundings
        self._happened, self._freezing, self._sending = WorkBell(), WorkBell(), WorkBell()
        # What people try out has a process of its own: it neither keeps messages waiting nor shares memory with what they tell.
        self._renderer, self._trying = TemplateProcess(), TemplateProcess()
        self._links = AcknowledgeLinks(kept_key(settings.acknowledge_key_path).encode(), settings.public_url)
        self._directories, self._occurrences = Directories(), Occurrences()
        parts = (store, self._directories, self._occurrences, surroundings, metrics)
        self._router = Router(*parts, self._happened, self._freezing)
        measure_routing(metrics, self._router)
        self._escalating = Escalating(*parts, self._freezing)
        self._contents = Contents(store, self._directories, kpis, self._renderer, self._links.url)
        self._counters = NotificationMetrics(metrics)
        known = (store, self._directories, self._occurrences)
        self._freezer = Freezing(*known, self._contents, self._counters, clock, self._freezing, self._sending)
        self._conditions = Conditions(store, kpis, limits, clock, self._happened)
        self._overdue = Overdue(store, self._counters, clock, self._happened)
        self._gauges = NotificationGauges(store, clock)
        self._gauges.tell(metrics)
        messages = OutgoingMessages(settings.instance, self._links, self._events, clock)
        self._deliveries = Deliveries(store, surroundings, messages, random.Random(), self._sending, self._counters)
        self._dispatchers = LocalDispatchers(
            settings.home,
            settings.dispatchers,
            clock,
            surroundings.new_id,
            self._deliveries.is_needed,
            self._deliveries.lost,
            settings.dispatcher_environment | settings.client_environment,
            lambda name: {HOST_TOKEN_VARIABLE: host_tokens.for_dispatcher(name)},
            settings.withheld_variables,
        )
        board.changes.follow(self._hear)

    def _hear(self, change: Change) -> None:
        """Rings where something happened: how far lanes have come is told to nobody."""
        if change.events:
            self._happened.ring()

    @property
    def trying(self) -> Renderer:
        """What renders what people try out, apart from what is sent."""
        return self._trying

    def servicers(self, catalog: Catalog, requests: Requests) -> Mapping[str, Any]:
        """What is served, by the service's name."""
        store, clock = self._store, self._surroundings.clock
        uses = NotificationUses(
            ledger=DeliveryLedger(store, self._links),
            previews=Previews(store, self._directories, self._occurrences, self._contents, clock),
            templates=TryingTemplates(store, catalog, self._trying),
            figures=NotificationFigures(store, clock),
            redriving=Redriving(store, self._directories, self._surroundings, self._sending, self._freezing),
            acknowledging=Acknowledging(
                store, self._directories, self._occurrences, clock, self._links, self._counters
            ),
        )
        writes = TemplateWrites(store, self._trying)
        return {
            "NotificationService": NotificationCalls(store, catalog, requests, writes, uses),
            "DispatchService": DispatchCalls(self._deliveries, self._host_tokens),
        }

    def loops(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What is done without being asked, each until it is cancelled."""
        yield self._router.run_loop()
        yield self._escalating.run_loop()
        yield self._freezer.run_loop()
        yield self._conditions.run_loop()
        yield self._overdue.run_loop()
        yield self._gauges.run_loop()
        yield self._dispatchers.run_loop()

    async def close(self) -> None:
        """Lets dispatchers report what they have in hand, while calls are still taken, and gives up the processes that render."""
        await asyncio.gather(self._dispatchers.close(), self._renderer.close(), self._trying.close())

    def _events(self, unit: Unit, numbers: Collection[int]) -> Mapping[int, notification_pb2.NotificationEvent]:
        """Entries of the stream as webhooks carry them."""
        entries = unit.feed.get(numbers)
        found = zip(entries, self._occurrences.of(unit, entries), strict=True)
        return {entry.id: event_message(occurrence) for entry, occurrence in found}
