"""Notifications of one engine, wired to each other: what is declared, what finds and routes, what renders, and what dispatchers are given.

The loops wake one another: whatever happens rings `happened`, what is to be rendered rings `freezing`, what is to be sent rings `sending`.
"""

import os
import secrets
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

from pymigrate.engine.adapters.rendering.process import TemplateProcess
from pymigrate.engine.application.acknowledging import AcknowledgeLinks
from pymigrate.engine.application.board import Board
from pymigrate.engine.application.caller import Surroundings
from pymigrate.engine.application.conditions import Conditions
from pymigrate.engine.application.contents import Contents
from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.escalating import Escalating
from pymigrate.engine.application.freezing import Freezing
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.application.limits import LaneLimits
from pymigrate.engine.application.notification_gauges import NotificationGauges
from pymigrate.engine.application.notification_metrics import NotificationMetrics
from pymigrate.engine.application.notifications import Notifications as Router
from pymigrate.engine.application.occurrences import Occurrences
from pymigrate.engine.application.overdue import Overdue
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.ports.metrics import Metrics
from pymigrate.engine.ports.store import Store
from pymigrate.engine.settings import Settings

KEY_BYTES = 32


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
    ) -> None:
        clock = surroundings.clock
        self._happened, self._freezing, self._sending = WorkBell(), WorkBell(), WorkBell()
        self._renderer = TemplateProcess()
        self._links = AcknowledgeLinks(acknowledge_key(settings.acknowledge_key_path), settings.public_url)
        directories, self._occurrences = Directories(), Occurrences()
        parts = (store, directories, self._occurrences, surroundings, metrics)
        self._router = Router(*parts, self._happened, self._freezing)
        self._escalating = Escalating(*parts, self._freezing)
        contents = Contents(store, directories, kpis, self._renderer, self._links.url)
        self._freezer = Freezing(store, self._occurrences, contents, clock, self._freezing, self._sending)
        counters = NotificationMetrics(metrics)
        self._conditions = Conditions(store, kpis, limits, clock, self._happened)
        self._overdue = Overdue(store, counters, clock, self._happened)
        self._gauges = NotificationGauges(store, clock)
        self._gauges.tell(metrics)
        board.changes.follow(lambda _: self._happened.ring())

    def loops(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What is done without being asked, each until it is cancelled."""
        yield self._router.run_loop()
        yield self._escalating.run_loop()
        yield self._freezer.run_loop()
        yield self._conditions.run_loop()
        yield self._overdue.run_loop()
        yield self._gauges.run_loop()

    async def close(self) -> None:
        """Gives up the process that renders."""
        await self._renderer.close()


def acknowledge_key(path: Path) -> bytes:
    """The key that links are signed with; made at the first start, readable by its owner alone. Raises PermanentError for a file that
    holds none."""
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{secrets.token_hex(KEY_BYTES)}\n")
        fresh.replace(path)
    path.chmod(0o600)
    try:
        key = bytes.fromhex(path.read_text())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise PermanentError(
            f"{path} holds no key: remove it, and a new one is made; links in messages that were sent before stop working"
        )
    return key
