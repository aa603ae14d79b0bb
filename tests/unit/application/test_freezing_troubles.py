"""What goes wrong while messages are rendered and kept: templates, renderers, passes and the store; whoever is to be told is told."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from pymigrate.engine.domain.delivery import DeliveryState
from pymigrate.engine.domain.errors import StoreUnavailable
from pymigrate.engine.ports.rendering import RenderedText, RenderRequest
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.rendering import PlainRenderer
from tests.unit.application.engines import Engine
from tests.unit.application.frozen import (
    Frozen,
    SandboxRenderer,
    all_pending,
    frozen,
    frozen_of,
    renderer,
    until,
    waiting,
)
from tests.unit.domain.delivered import ENVIRONMENT

__all__ = ["frozen", "renderer"]
Result = TypeVar("Result")


async def test_a_template_that_is_gone_by_then_is_replaced_by_the_roles_own(frozen: Frozen) -> None:
    await frozen.wait(waiting(1, await frozen.happen(), template="gone"))
    await frozen.freezing.step()
    assert (await frozen.content()).template == "default-engineer"


async def test_a_template_that_fails_is_replaced_and_the_message_says_so(frozen: Frozen) -> None:
    await frozen.wait(waiting(1, await frozen.happen(), template="broken"))
    await frozen.freezing.step()
    content = await frozen.content()
    assert content.template == "default-engineer"
    assert content.body.endswith(
        "Dies ist der Standardtext: Die Vorlage broken liess sich nicht verwenden "
        "(body: line 2: there is no `nothing` here).\n"
    )
    assert "(body: line 2: there is no `nothing` here)" in content.html


class FailingRenderer(PlainRenderer):
    """Renders nothing."""

    async def render(self, requests: Sequence[RenderRequest]) -> Sequence[RenderedText]:
        return [RenderedText(problem="body: could not be made") for _ in requests]


async def test_what_no_template_can_tell_is_told_in_plain_sentences(engine: Engine) -> None:
    frozen = await frozen_of(engine, FailingRenderer())
    entries = [await frozen.happen("delete", f"{ENVIRONMENT}/departments/sales"), await frozen.happen()]
    await frozen.wait(waiting(1, *entries, stakeholder="bob"))
    await frozen.freezing.step()
    content = await frozen.content()
    assert content.subject == "me deleted departments/sales"
    assert content.body.splitlines()[:2] == [
        "2026-01-01T00:00:00Z me deleted departments/sales",
        "2026-01-01T00:00:00Z me approved a gate of plans/p",
    ]
    assert content.template == "none"
    assert (await frozen.get()).state is DeliveryState.PENDING


async def test_plain_sentences_hold_nothing_that_no_database_takes(engine: Engine) -> None:
    frozen = await frozen_of(engine, FailingRenderer())
    await frozen.wait(waiting(1, await frozen.happen("delete", f"{ENVIRONMENT}/plans/a\0b"), stakeholder="bob"))
    await frozen.freezing.step()
    assert (await frozen.content()).subject == "me deleted plans/a\ufffdb"


async def test_a_pass_that_fails_is_done_again_with_fewer(engine: Engine) -> None:
    class Choking(PlainRenderer):
        """Can't take more than one text."""

        async def render(self, requests: Sequence[RenderRequest]) -> Sequence[RenderedText]:
            if len(requests) > 1:
                raise RuntimeError("too much at once")
            return await super().render(requests)

    frozen = await frozen_of(engine, Choking(), at_once_max=8)
    entry = await frozen.happen()
    await frozen.wait(*(waiting(number, entry) for number in range(1, 4)))
    await until(frozen, lambda unit: all_pending(unit, 3))
    assert {(await frozen.get(number)).content.subject for number in (1, 2, 3)} != {""}


async def test_what_fails_again_and_again_is_told_in_plain_sentences_and_the_others_as_they_should(
    engine: Engine,
) -> None:
    class Choking(SandboxRenderer):
        """Breaks at what Bob is told."""

        async def render(self, requests: Sequence[RenderRequest]) -> Sequence[RenderedText]:
            if any(request.context["recipient"]["id"] == "bob" for request in requests):
                raise RuntimeError("not this one")
            return await super().render(requests)

    frozen = await frozen_of(engine, Choking(), at_once_max=8)
    entry = await frozen.happen()
    await frozen.wait(waiting(1, entry), waiting(2, entry, stakeholder="bob"), waiting(3, entry))
    await until(frozen, lambda unit: all_pending(unit, 3))
    assert [(await frozen.content(number)).template for number in (1, 2, 3)] == ["all", "none", "all"]
    assert (await frozen.content(2)).body == "2026-01-01T00:00:00Z me approved a gate of plans/p\n"


async def test_a_store_that_is_away_is_waited_for(engine: Engine, renderer: SandboxRenderer) -> None:
    frozen = await frozen_of(engine, renderer)
    await frozen.wait(waiting(1, await frozen.happen()))
    away = AwayOnce(frozen)
    frozen.freezing._store = away  # type: ignore[assignment]  # as far as the loop asks it
    await until(frozen, lambda unit: all_pending(unit, 1))
    assert away.was_away


class AwayOnce:
    """A store that is away at the first look."""

    def __init__(self, frozen: Frozen) -> None:
        self._store = frozen.store
        self.was_away = False

    async def read(self, work: Callable[[Unit], Result]) -> Result:
        if not self.was_away:
            self.was_away = True
            raise StoreUnavailable("its disk is full")
        return await self._store.read(work)

    async def transact(self, work: Callable[[Unit], Result]) -> Result:
        return await self._store.transact(work)
