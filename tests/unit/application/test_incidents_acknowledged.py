"""What an acknowledgement ends: every incident of which the message told, and what was still to go out of their next steps."""

import random

import pytest

from pymigrate.engine.application.acknowledging import AcknowledgeLinks, Acknowledging
from pymigrate.engine.application.notification_kinds import STAKEHOLDERS
from pymigrate.engine.application.notification_metrics import NotificationMetrics
from pymigrate.engine.domain.delivering import ALREADY_ACKNOWLEDGED, claim, report
from pymigrate.engine.domain.delivery import Delivery, DeliveryState, DeliveryTry, TryOutcome
from pymigrate.engine.ports.store import Unit
from tests.unit.application.routed import ENVIRONMENT, ME, Scene, engineer

KEY = b"a key"
STEPS = [{"afterSeconds": 600, "recipients": {"stakeholders": ["boss"]}}]
ALMOST_ALL_DAY = {"quietHours": {"night": {"start": "23:59", "end": "23:00"}}}


@pytest.fixture
async def scene() -> Scene:
    """Engineers are told of what fails, and ten minutes later their boss."""
    found = Scene()
    await found.begin()
    return found


async def declare(scene: Scene, name: str, *, sleeps: bool = False, role: str = "engineer") -> None:
    await scene.declare(STAKEHOLDERS, name, engineer(name, roles=[role], **(ALMOST_ALL_DAY if sleeps else {})))


async def fail(scene: Scene, *phases: str) -> None:
    for phase in phases:
        await scene.happen("phase.failed", phase=phase)
    await scene.route()


async def acknowledge(scene: Scene, delivery: Delivery) -> None:
    acknowledging = Acknowledging(
        scene.store,
        scene.directories,
        scene.occurrences,
        scene.clock,
        AcknowledgeLinks(KEY),
        NotificationMetrics(scene.metrics),
    )
    await acknowledging.acknowledge(delivery.name, "", ME)


async def of(scene: Scene, stakeholder: str) -> list[Delivery]:
    return [each for each in await scene.deliveries() if each.stakeholder == stakeholder]


async def test_a_step_that_waits_for_quiet_hours_is_not_told_once_somebody_acts(scene: Scene) -> None:
    await declare(scene, "ann")
    await declare(scene, "boss", sleeps=True, role="director")
    await scene.declare_rule(escalations=STEPS)
    await scene.route()
    await fail(scene, "sales")
    await scene.freeze()
    scene.clock.advance(600)
    await scene.escalating.step()
    assert [each.state for each in await of(scene, "boss")] == [DeliveryState.WAITING]
    await acknowledge(scene, (await of(scene, "ann"))[0])
    (step,) = await of(scene, "boss")
    assert step.state is DeliveryState.SUPPRESSED
    assert step.failure is not None
    assert (step.failure.reason, step.failure.message) == (
        ALREADY_ACKNOWLEDGED,
        "me had acknowledged before it was told",
    )


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (TryOutcome.TRANSIENT, DeliveryState.SUPPRESSED),
        (TryOutcome.UNKNOWN, DeliveryState.PENDING),
        (TryOutcome.ACCEPTED, DeliveryState.ACKNOWLEDGED),
    ],
)
async def test_a_step_that_no_channel_has_taken_is_not_tried_again_unless_it_may_have_arrived(
    scene: Scene, outcome: TryOutcome, state: DeliveryState
) -> None:
    await declare(scene, "ann")
    await declare(scene, "boss", role="director")
    await scene.declare_rule(escalations=STEPS)
    await scene.route()
    await fail(scene, "sales")
    await scene.freeze()
    scene.clock.advance(600)
    await scene.escalating.step()
    await scene.freeze()
    (step,) = await of(scene, "boss")

    def tried(unit: Unit) -> None:
        now = scene.clock.now()
        (delivery,) = unit.deliveries.get_all([step.name])
        claim(delivery, "d1", "lease", now, now)
        attempt = DeliveryTry(now, 0.1, outcome, "", "d1")
        report(delivery, "lease", attempt, now, tries_max=8, rng=random.Random(1))
        unit.deliveries.save([delivery])

    await scene.store.transact(tried)
    await acknowledge(scene, (await of(scene, "ann"))[0])
    assert [each.state for each in await of(scene, "boss")] == [state]


async def test_whoever_acknowledges_what_gathered_in_quiet_hours_ends_all_that_it_tells_of(scene: Scene) -> None:
    await declare(scene, "ann", sleeps=True)
    await declare(scene, "boss", role="director")
    await scene.declare_rule(escalations=STEPS)
    await scene.route()
    await fail(scene, "sales", "books")
    (gathered,) = await of(scene, "ann")
    assert len(gathered.entries) == 2
    scene.clock.advance((gathered.due_time - scene.clock.now()).total_seconds())
    await scene.freeze()
    await acknowledge(scene, gathered)
    scene.clock.advance(600)
    await scene.escalating.step()
    assert await of(scene, "boss") == []


async def test_what_came_after_a_message_is_not_acknowledged_with_it(scene: Scene) -> None:
    await declare(scene, "ann")
    await declare(scene, "boss", role="director")
    await scene.declare_rule(escalations=STEPS, groupBy=["run"], groupIntervalSeconds=1)
    await scene.route()
    await fail(scene, "sales")
    await scene.freeze()
    scene.clock.advance(600)
    await scene.escalating.step()
    await fail(scene, "books")
    first = (await of(scene, "ann"))[0]
    await acknowledge(scene, first)
    scene.clock.advance(600)
    await scene.escalating.step()
    assert [len(each.entries) for each in await of(scene, "boss")] == [1, 1]
    assert first.environment == ENVIRONMENT
