"""An environment with notifications in which deliveries wait to be frozen, on a store in memory and a clock of the test's."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from structlog.testing import capture_logs

from pymigrate.engine.adapters.rendering.texts import Texts
from pymigrate.engine.application.contents import Contents
from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.freezing import Freezing
from pymigrate.engine.application.kind import Kind
from pymigrate.engine.application.notification_kinds import NOTIFICATION_TEMPLATES
from pymigrate.engine.application.notification_metrics import NotificationMetrics
from pymigrate.engine.application.occurrences import Occurrences
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain.delivery import Content, Delivery, DeliveryState
from pymigrate.engine.ports.rendering import RenderedText, Renderer, RenderRequest
from pymigrate.engine.ports.store import AuditEntry, Unit
from pymigrate.engine.testing.metrics import MemoryMetrics
from pymigrate.engine.testing.rendering import PlainRenderer
from tests.unit.application.engines import ME, Engine
from tests.unit.application.noticed import add, declare_notices, read
from tests.unit.domain.delivered import ENVIRONMENT, NOW, pending

STEP_SECONDS = 0.1  # of the test's clock
ALL = {
    "texts": {
        "plain": {
            "subject": "{{ event.type }}",
            "body": "{{ event.title }} ({{ count }}) {{ recipient.name }} {{ rule }}",
        },
        "german": {"locale": "de", "subject": "DE {{ event.type }}", "body": "{{ event.title }}", "html": "<p>x</p>"},
        "hook": {"channel": "webhook", "subject": "hook", "body": "{{ event.subject }} {{ recipient.locale }}"},
    }
}
BROKEN = {"texts": {"en": {"subject": "{{ event.type }}", "body": "first\n{{ nothing.here }}"}}}


@cache
def _texts() -> Texts:
    return Texts()


class SandboxRenderer(PlainRenderer):
    """The real language, in the test's own process."""

    async def render(self, requests: Sequence[RenderRequest]) -> Sequence[RenderedText]:
        self.asked += requests
        found = [
            _texts().render((each.source.subject, each.source.body, each.source.html), dict(each.context))
            for each in requests
        ]
        return [RenderedText(*parts) if len(parts) > 1 else RenderedText(problem=parts[0]) for parts in found]


class Frozen:
    """The use case, with what tests ask of the store."""

    def __init__(self, engine: Engine, renderer: Renderer, at_once_max: int = 500) -> None:
        self.engine, self.store, self.clock = engine, engine.store, engine.clock
        self.bell, self.dispatch = WorkBell(), WorkBell()
        self.occurrences = Occurrences()
        self.directories, self.metrics = Directories(), MemoryMetrics()
        self.contents = Contents(self.store, self.directories, engine.kpis, renderer, _link)
        self.freezing = Freezing(
            self.store,
            self.directories,
            self.occurrences,
            self.contents,
            NotificationMetrics(self.metrics),
            self.clock,
            self.bell,
            self.dispatch,
            at_once_max,
        )

    async def happen(self, type_: str = "approve sales/go", subject: str = f"{ENVIRONMENT}/plans/p") -> int:
        """Somebody does something; the number of its entry."""

        def work(unit: Unit) -> int:
            unit.audit.append(AuditEntry(NOW, "me", type_, subject, 1))
            return unit.audit.list(0, 1_000)[-1].sequence

        return await self.store.transact(work)

    async def wait(self, *deliveries: Delivery) -> None:
        """Stores them."""
        await self.store.transact(lambda unit: unit.deliveries.insert(deliveries))

    async def declare_again(self, kind: Kind[Any], name: str, document: Mapping[str, Any]) -> None:
        """Declares one object otherwise."""
        message = read(kind, document)
        message.name = f"{ENVIRONMENT}/{kind.collection}/{name}"
        await self.store.transact(
            lambda unit: self.engine.catalog.update(unit, kind, message, FieldMask(paths=["*"]), ME)
        )

    async def get(self, number: int = 1) -> Delivery:
        """The delivery of that number as it is stored."""
        found = await self.store.read(lambda unit: unit.deliveries.get(f"{ENVIRONMENT}/deliveries/d{number}"))
        assert found is not None
        return found

    async def content(self, number: int = 1) -> Content:
        """What it says."""
        return (await self.get(number)).content


async def frozen_of(engine: Engine, renderer: Renderer, at_once_max: int = 500) -> Frozen:
    """With everything declared that there is to know of notifications, and the templates `all` and `broken`."""
    await declare_notices(engine)

    def work(unit: Unit) -> None:
        add(engine, unit, NOTIFICATION_TEMPLATES, "all", ALL)
        add(engine, unit, NOTIFICATION_TEMPLATES, "broken", BROKEN)

    await engine.store.transact(work)
    return Frozen(engine, renderer, at_once_max)


def waiting(number: int, *entries: int, **others: Any) -> Delivery:
    """One that is due and tells of these entries, by the template `all`."""
    known: dict[str, Any] = {
        "entries": list(entries),
        "entry_count": len(entries),
        "template": "all",
        "template_role": "engineer",
        "state": DeliveryState.WAITING,
        "content": Content(),
        "frozen_time": None,
        "next_try_time": None,
        "address": "hook" if others.get("stakeholder") == "bob" else "mail",
    }
    return replace(pending(number), **(known | others))


def _link(delivery: Delivery) -> str:
    return f"https://a.example/{delivery.name}" if delivery.needs_acknowledgement else ""


@pytest.fixture
def renderer() -> SandboxRenderer:
    """Renders in the real language, and knows what it was asked for."""
    return SandboxRenderer()


@pytest.fixture
async def frozen(engine: Engine, renderer: SandboxRenderer) -> Frozen:
    """An environment whose deliveries are rendered so."""
    return await frozen_of(engine, renderer)


def all_pending(unit: Unit, count: int) -> bool:
    """Whether so many deliveries may be sent."""
    names = [f"{ENVIRONMENT}/deliveries/d{number}" for number in range(1, count + 1)]
    return all(each.state is DeliveryState.PENDING for each in unit.deliveries.get_all(names))


async def until(frozen: Frozen, is_so: Callable[[Unit], bool]) -> None:
    """Lets the loop run, on the test's clock, until it is so."""
    loop = asyncio.create_task(frozen.freezing.run_loop())
    with capture_logs():
        for _ in range(1_000):
            for _ in range(50):  # everything that can be done at this moment
                await asyncio.sleep(0)
            frozen.clock.advance(STEP_SECONDS)
            if await frozen.store.read(is_so):
                break
    assert await frozen.store.read(is_so)
    loop.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await loop
    assert frozen.clock.now() > NOW
