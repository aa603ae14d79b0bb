"""What is due is rendered and kept as it is sent, once, whatever another writer does meanwhile."""

import hashlib
from collections.abc import Sequence

from pymigrate.engine.application.default_texts import ROLES, default_template
from pymigrate.engine.application.findings import DELIVERY_UNDELIVERABLE
from pymigrate.engine.application.freezing import GONE_TYPE, REST_SECONDS_SHORT
from pymigrate.engine.application.notice_sources import Notice
from pymigrate.engine.application.notification_kinds import STAKEHOLDERS
from pymigrate.engine.application.template_checks import source_of
from pymigrate.engine.domain.audience import NO_ADDRESS, PAUSED, UNKNOWN_STAKEHOLDER
from pymigrate.engine.domain.delivery import DeliveryState
from pymigrate.engine.domain.notices import Severity
from pymigrate.engine.domain.run import DatasetRun, Failure, Lane, PhaseRun, Run, RunAggregate, RunEvent
from pymigrate.engine.domain.run_states import LaneState, PhaseState, RunState
from pymigrate.engine.ports.metric_families import NOTIFICATIONS
from pymigrate.engine.ports.rendering import RenderedText, RenderRequest
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.rendering import PlainRenderer
from pymigrate.v1 import run_pb2
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
from tests.unit.application.noticed import ANN
from tests.unit.domain.delivered import ENVIRONMENT, NOW, later, pending

__all__ = ["frozen", "renderer"]
STEP_SECONDS = 0.1


async def test_whatever_the_first_message_needs_is_ready_before_it_is_due(
    frozen: Frozen, renderer: SandboxRenderer
) -> None:
    assert await frozen.freezing.step() == 0
    assert {request.source for request in renderer.asked} == {
        source_of(text) for role in ROLES for text in default_template(role).texts.values()
    }
    asked = len(renderer.asked)
    await frozen.freezing.step()
    assert len(renderer.asked) == asked


async def test_where_nobody_declares_a_rule_nothing_is_made_ready(engine: Engine, renderer: SandboxRenderer) -> None:
    assert await Frozen(engine, renderer).freezing.step() == 0
    assert renderer.asked == []


async def test_what_is_due_is_rendered_and_may_be_sent_at_once(frozen: Frozen) -> None:
    entry = await frozen.happen()
    await frozen.wait(waiting(1, entry, stakeholder="bob"))
    frozen.clock.advance(5)
    rung = frozen.dispatch.rung
    assert await frozen.freezing.step() == 1
    delivery = await frozen.get()
    assert delivery.state is DeliveryState.PENDING
    assert (delivery.frozen_time, delivery.next_try_time) == (later(5), later(5))
    content = delivery.content
    assert content.subject == "audit.approve"
    assert content.body == "me approved a gate of plans/p (1) bob failures"
    assert (content.template, content.template_version) == ("all", 1)
    assert content.digest == hashlib.sha256(f"{content.subject}\0{content.body}\0".encode()).hexdigest()
    assert frozen.dispatch.rung == rung + 1


async def test_what_is_not_due_yet_waits(frozen: Frozen) -> None:
    await frozen.wait(waiting(1, await frozen.happen(), due_time=later(10)))
    assert await frozen.freezing.step() == 0
    assert (await frozen.get()).state is DeliveryState.WAITING
    frozen.clock.advance(10)
    assert await frozen.freezing.step() == 1


async def test_what_is_frozen_is_not_rendered_again(frozen: Frozen, renderer: SandboxRenderer) -> None:
    await frozen.freezing.step()
    await frozen.wait(waiting(1, await frozen.happen()), pending(2))
    assert await frozen.freezing.step() == 1
    asked = len(renderer.asked)
    assert await frozen.freezing.step() == 0
    assert len(renderer.asked) == asked
    assert (await frozen.content(2)).body == "All of it."


async def test_the_recipients_language_and_the_channels_kind_choose_the_text(frozen: Frozen) -> None:
    entry = await frozen.happen()
    await frozen.wait(
        waiting(1, entry),
        waiting(2, entry, channel="hook"),
        waiting(3, entry, stakeholder="bob", channel="hook"),
    )
    await frozen.freezing.step()
    assert (await frozen.content(1)).subject == "DE audit.approve"
    assert (await frozen.content(1)).body == "me hat eine Freigabe von plans/p erteilt"
    assert (await frozen.content(1)).html == "<p>x</p>"
    assert (await frozen.content(2)).subject == "DE audit.approve"
    assert (await frozen.content(3)).body == f"{ENVIRONMENT}/plans/p en"


async def test_a_page_is_made_only_for_channels_that_carry_one(frozen: Frozen) -> None:
    entry = await frozen.happen()
    await frozen.wait(waiting(1, entry, template=""), waiting(2, entry, template="", channel="hook"))
    await frozen.freezing.step()
    mail, hook = await frozen.content(1), await frozen.content(2)
    assert mail.html.startswith("<!doctype html>")
    assert hook.html == ""
    assert hook.body == mail.body


async def test_without_a_template_the_role_has_its_own(frozen: Frozen) -> None:
    entry = await frozen.happen()
    await frozen.wait(
        waiting(1, entry, template=""),
        waiting(2, entry, template="", template_role="executive"),
        waiting(3, entry, template="", template_role="gardener", stakeholder="bob"),
    )
    await frozen.freezing.step()
    assert [(await frozen.content(number)).template for number in (1, 2, 3)] == [
        "default-engineer",
        "default-executive",
        "default-executive",
    ]


async def test_whoever_is_gone_by_then_is_not_told_at_the_address_that_they_had_and_the_ledger_and_the_stream_say_so(
    frozen: Frozen,
) -> None:
    entry = await frozen.happen()
    await frozen.wait(waiting(1, entry, stakeholder="carl"), waiting(2, entry, address="pager"))
    await frozen.freezing.step()
    found = [await frozen.get(number) for number in (1, 2)]
    assert [each.state for each in found] == [DeliveryState.UNDELIVERABLE] * 2
    assert [each.failure.reason for each in found if each.failure] == [UNKNOWN_STAKEHOLDER, NO_ADDRESS]
    assert [each.frozen_time for each in found] == [None, None]
    entries = await frozen.store.read(lambda unit: unit.audit.list(0, 1_000))
    assert [each.subject for each in entries if each.action == DELIVERY_UNDELIVERABLE] == [each.name for each in found]
    assert frozen.metrics.values[NOTIFICATIONS] == {("e", "undeliverable"): 2.0}


async def test_whoever_is_paused_by_then_is_told_nothing(frozen: Frozen) -> None:
    await frozen.wait(waiting(1, await frozen.happen()))
    await frozen.declare_again(STAKEHOLDERS, "ann", ANN | {"isPaused": True})
    await frozen.freezing.step()
    delivery = await frozen.get()
    assert delivery.state is DeliveryState.SUPPRESSED
    assert delivery.failure is not None
    assert delivery.failure.reason == PAUSED


async def test_a_message_goes_to_the_address_that_its_recipient_has_by_then(frozen: Frozen) -> None:
    await frozen.wait(waiting(1, await frozen.happen(), to="ann@before.example.com"))
    await frozen.freezing.step()
    delivery = await frozen.get()
    assert (delivery.state, delivery.to) == (DeliveryState.PENDING, "ann@example.com")


async def test_what_gained_something_meanwhile_is_frozen_with_it(engine: Engine, renderer: SandboxRenderer) -> None:
    class Gaining(PlainRenderer):
        """Lets another entry be added while the first time is rendered."""

        async def render(self, requests: Sequence[RenderRequest]) -> Sequence[RenderedText]:
            if not self.asked:
                await engine.store.transact(add_entry)
            return await super().render(requests)

    def add_entry(unit: Unit) -> None:
        delivery = unit.deliveries.get(f"{ENVIRONMENT}/deliveries/d1")
        assert delivery is not None
        delivery.entries.append(more)
        delivery.entry_count += 1
        unit.deliveries.save([delivery])

    frozen = await frozen_of(engine, Gaining())
    entry, more = await frozen.happen(), await frozen.happen()
    await frozen.wait(waiting(1, entry, stakeholder="bob"), waiting(2, entry, stakeholder="bob"))
    assert await frozen.freezing.step() == 2
    assert (await frozen.content(1)).body.endswith("(2) bob failures")
    assert (await frozen.content(2)).body.endswith("(1) bob failures")


async def test_what_was_decided_otherwise_meanwhile_is_left_alone(engine: Engine) -> None:
    class Suppressing(PlainRenderer):
        """Lets the delivery be suppressed while it is rendered."""

        async def render(self, requests: Sequence[RenderRequest]) -> Sequence[RenderedText]:
            await engine.store.transact(suppress)
            return await super().render(requests)

    def suppress(unit: Unit) -> None:
        delivery = unit.deliveries.get(f"{ENVIRONMENT}/deliveries/d1")
        assert delivery is not None
        delivery.state = DeliveryState.SUPPRESSED
        unit.deliveries.save([delivery])

    frozen = await frozen_of(engine, Suppressing())
    await frozen.wait(waiting(1, await frozen.happen()))
    assert await frozen.freezing.step() == 0
    delivery = await frozen.get()
    assert (delivery.state, delivery.content.body, delivery.frozen_time) == (DeliveryState.SUPPRESSED, "", None)


async def test_those_who_are_told_the_same_share_what_is_known(frozen: Frozen, renderer: SandboxRenderer) -> None:
    entry = await frozen.happen()
    people = ("ann", "bob")
    await frozen.wait(
        *(waiting(number, entry, stakeholder=people[number % 2], template_role="owner") for number in range(1, 7))
    )
    await frozen.freezing.step()
    contexts = [request.context for request in renderer.asked]
    assert len({id(context["event"]) for context in contexts}) == 2, "one for each language"
    assert len({id(context["recipient"]) for context in contexts}) == 2
    assert len({id(request.source) for request in renderer.asked}) == 2


async def test_at_most_so_many_are_frozen_at_once_and_the_gravest_first(
    engine: Engine, renderer: SandboxRenderer
) -> None:
    frozen = await frozen_of(engine, renderer, at_once_max=2)
    entry = await frozen.happen()
    grades = (Severity.INFO, Severity.CRITICAL, Severity.ERROR)
    await frozen.wait(*(waiting(number, entry, severity=grade) for number, grade in enumerate(grades, 1)))
    assert await frozen.freezing.step() == 2
    assert (await frozen.get(1)).state is DeliveryState.WAITING
    assert await frozen.freezing.step() == 1


async def test_what_it_tells_of_may_be_gone(frozen: Frozen) -> None:
    run = f"{ENVIRONMENT}/plans/p/runs/r1"
    await frozen.wait(waiting(1, 4_711, stakeholder="bob", run=run), waiting(2, stakeholder="bob"))
    assert await frozen.freezing.step() == 2
    assert (await frozen.content(1)).subject == GONE_TYPE
    assert (await frozen.content(1)).body.startswith("Something happened to runs/r1; what it was is not kept any more")


async def test_a_dry_run_reads_what_would_be_said_and_keeps_nothing(frozen: Frozen) -> None:
    entry = await frozen.happen()
    (occurrence,) = await frozen.store.read(lambda unit: frozen.occurrences.of(unit, unit.feed.get([entry])))
    (content,) = await frozen.contents.of([Notice(waiting(9, stakeholder="bob"), (occurrence,))])
    assert content.subject == "audit.approve"
    assert await frozen.store.read(lambda unit: unit.deliveries.get(f"{ENVIRONMENT}/deliveries/d9")) is None


async def test_who_acknowledges_finds_the_link_in_the_message(frozen: Frozen, renderer: SandboxRenderer) -> None:
    await frozen.wait(waiting(1, await frozen.happen(), needs_acknowledgement=True))
    await frozen.freezing.step()
    assert renderer.asked[0].context["acknowledge_url"] == f"https://a.example/{ENVIRONMENT}/deliveries/d1"


async def test_of_a_run_its_parts_and_its_figures_are_read(frozen: Frozen, renderer: SandboxRenderer) -> None:
    run = f"{ENVIRONMENT}/plans/p/runs/r1"
    lane = f"{run}/lanes/a.orders"
    failure = Failure("SOURCE_UNAVAILABLE", "the source is away", is_temporary=True)

    def work(unit: Unit) -> int:
        aggregate = RunAggregate(
            Run(run, f"{ENVIRONMENT}/plans/p", "k", "h", NOW, "cli", state=RunState.RUNNING, events=1),
            {"a": PhaseRun("a", "sales", state=PhaseState.STAGING)},
            {("a", "orders"): DatasetRun("a", "orders", "c", "orders", "w", "orders", "", rows_expected=10)},
            {"a.orders": Lane("a.orders", "a", "orders", rows_expected=10, rows=4, state=LaneState.STALLED)},
        )
        unit.runs.insert(aggregate, run_pb2.PlanRevision().SerializeToString())
        unit.runs.append(run, [RunEvent(1, NOW, "lane.stalled", lane, "running", "stalled", "engine", failure)])
        return unit.feed.after("", 1_000)[0][-1].id

    await frozen.wait(waiting(1, await frozen.store.transact(work), template=""))
    await frozen.freezing.step()
    context = renderer.asked[0].context
    assert (context["run"]["state"], context["phase"]["state"], context["lane"]["rows"]) == ("running", "staging", 4)
    assert (context["kpis"]["subject"], context["kpis"]["completion"]) == (f"{run}/phases/a", 0.4)
    content = await frozen.content()
    assert content.subject == "[Fehler] Spur a.orders von p steht still: SOURCE_UNAVAILABLE"
    assert "Meldung: the source is away" in content.body


async def test_a_run_that_is_gone_is_told_of_without_its_figures(frozen: Frozen, renderer: SandboxRenderer) -> None:
    entry = await frozen.happen("pause", f"{ENVIRONMENT}/plans/p/runs/gone")
    await frozen.wait(waiting(1, entry))
    await frozen.freezing.step()
    assert (renderer.asked[0].context["run"], renderer.asked[0].context["kpis"]) == (None, None)
    assert (await frozen.get()).state is DeliveryState.PENDING


async def test_what_becomes_due_between_two_looks_is_frozen_soon_after(frozen: Frozen) -> None:
    await frozen.wait(waiting(1, await frozen.happen(), due_time=later(0.5)))
    await until(frozen, lambda unit: all_pending(unit, 1))
    delivery = await frozen.get()
    assert delivery.frozen_time is not None
    assert later(0.5) <= delivery.frozen_time <= later(0.5 + REST_SECONDS_SHORT + STEP_SECONDS)
