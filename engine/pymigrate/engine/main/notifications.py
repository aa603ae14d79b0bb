"""Notifications of one engine, wired to each other: what finds something to be told, and how what was told fares."""

from collections.abc import Coroutine, Iterator
from typing import Any

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.application.conditions import Conditions
from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.application.limits import LaneLimits
from pymigrate.engine.application.notification_figures import NotificationFigures
from pymigrate.engine.application.notification_gauges import NotificationGauges
from pymigrate.engine.application.notification_metrics import NotificationMetrics
from pymigrate.engine.application.overdue import Overdue
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.ports.metrics import Metrics
from pymigrate.engine.ports.store import Store


class Notifications:
    """Built once for each engine. `routing` is rung by whoever writes something that rules may tell."""

    def __init__(self, store: Store, clock: SystemClock, metrics: Metrics, kpis: FleetKpis, limits: LaneLimits) -> None:
        self.directories = Directories()
        self.routing = WorkBell()
        self.metrics = NotificationMetrics(metrics)
        self.figures = NotificationFigures(store, clock)
        self._conditions = Conditions(store, kpis, limits, self.directories, clock, self.routing)
        self._overdue = Overdue(store, self.metrics, clock, self.routing)
        self._gauges = NotificationGauges(store, clock)
        self._gauges.tell(metrics)

    def loops(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What is done on its own, each until it is cancelled."""
        yield self._conditions.run_loop()
        yield self._overdue.run_loop()
        yield self._gauges.run_loop()
