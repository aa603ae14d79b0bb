"""Dry runs: who would get what, when and why, with nothing sent and nothing stored."""

import random
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.contents import Contents
from pymigrate.engine.application.kpis import FleetKpis
from pymigrate.engine.application.notification_kinds import NOTIFICATION_TEMPLATES, SILENCES
from pymigrate.engine.application.previews import TEXTS_MAX, Previews
from pymigrate.engine.domain.errors import InvalidDefinition, NotFound
from pymigrate.v1 import notification_pb2
from tests.unit.application.frozen import SandboxRenderer
from tests.unit.application.routed import ENVIRONMENT, RUN, Scene

SHORT = {"texts": {"en": {"subject": "{{ event.type }}", "body": "{{ event.subject }} for {{ recipient.name }}"}}}
FAILED = {"type": "phase.failed", "run": RUN, "phase": "sales"}


@pytest.fixture
async def scene() -> Scene:
    found = Scene()
    await found.begin()
    await found.declare(NOTIFICATION_TEMPLATES, "short", SHORT)
    await found.declare_engineers("ann", displayName="Ann")
    return found


async def preview(scene: Scene, **more: Any) -> notification_pb2.PreviewNotificationsResponse:
    """What would come of a failed phase, unless the event is another one."""
    board = Board(scene.store, scene.clock, random.Random(7))
    kpis = FleetKpis(scene.store, board, scene.clock)
    contents = Contents(scene.store, scene.directories, kpis, SandboxRenderer(), lambda _: "")
    previews = Previews(scene.store, scene.directories, scene.occurrences, contents, scene.clock)
    event = ParseDict(FAILED | more, notification_pb2.NotificationEvent())
    return await previews.preview(ENVIRONMENT, event)


async def test_a_dry_run_says_who_would_get_what_and_why(scene: Scene) -> None:
    await scene.declare_rule(template="short", confirmSecondsMax=60)
    found = await preview(scene)
    (told,) = found.deliveries
    assert (told.delivery.stakeholder, told.delivery.address, told.delivery.channel) == ("ann", "work", "mail")
    assert (told.delivery.rule, told.delivery.subject) == ("failures", "phase.failed")
    assert told.delivery.state == notification_pb2.DELIVERY_STATE_WAITING
    assert told.delivery.severity == notification_pb2.SEVERITY_ERROR
    assert told.body == f"{RUN}/phases/sales for Ann"
    assert list(told.because) == [
        "ann has the role engineer, whom retail concerns.",
        "Their address work takes what is info or graver.",
        "It is due at once.",
    ]
    assert list(found.steps) == ["Rule failures matches.", "Rule failures tells of it."]


async def test_a_dry_run_stores_nothing(scene: Scene) -> None:
    await scene.declare_rule(groupBy=["run"], escalations=[{"afterSeconds": 60, "recipients": {"roles": ["x"]}}])
    await scene.route()
    before = len(await scene.entries())
    await preview(scene)
    assert await scene.deliveries() == []
    assert len(await scene.entries()) == before


async def test_a_dry_run_tells_as_it_would_come_to_pass(scene: Scene) -> None:
    await scene.declare_engineers("ben", addresses={})
    await scene.declare_engineers("cem", isPaused=True)
    await scene.declare_engineers("dan", departments=["finance"])
    await scene.declare_rule(groupBy=["phase"], groupWaitSeconds=60)
    await scene.route()
    found = await preview(scene)
    await scene.happen("phase.failed")
    await scene.route()
    real = [(each.stakeholder, each.address, each.state.name, each.due_time) for each in await scene.deliveries()]
    dry = [
        (
            each.delivery.stakeholder,
            each.delivery.address,
            notification_pb2.DeliveryState.Name(each.delivery.state).removeprefix("DELIVERY_STATE_"),
            each.delivery.due_time.ToDatetime(scene.clock.now().tzinfo),
        )
        for each in found.deliveries
    ]
    assert dry == sorted(real)
    assert [name for name, _, _, _ in dry] == ["ann", "ben", "cem"]


async def test_a_dry_run_says_why_somebody_is_not_told(scene: Scene) -> None:
    await scene.declare_engineers("ben", addresses={})
    await scene.declare_rule()
    lost = (await preview(scene)).deliveries[1]
    assert lost.delivery.state == notification_pb2.DELIVERY_STATE_UNDELIVERABLE
    assert lost.delivery.failure.message == "ben has no address: declare one"
    assert lost.body == ""
    assert lost.because[-1] == "None of their addresses takes what is error."


async def test_a_dry_run_names_the_silence(scene: Scene) -> None:
    document = {
        "reason": "upkeep",
        "match": {},
        "startTime": "2025-12-31T23:00:00Z",
        "endTime": "2026-01-01T01:00:00Z",
    }
    await scene.declare(SILENCES, "upkeep", document)
    await scene.declare_rule()
    (told,) = (await preview(scene)).deliveries
    assert told.delivery.state == notification_pb2.DELIVERY_STATE_SUPPRESSED
    assert told.because[-1] == "Silence upkeep keeps it back until 2026-01-01T01:00:00+00:00."


async def test_a_dry_run_says_what_a_message_waits_for(scene: Scene) -> None:
    await scene.declare_rule("groups", groupBy=["run"], groupWaitSeconds=60, continues=True)
    await scene.declare_rule("digests", digest={"times": ["08:00"]}, continues=True, order=-1)
    found = {each.delivery.rule: list(each.because[2:]) for each in (await preview(scene)).deliveries}
    assert found == {
        "digests": ["It waits for the rule's digest.", "It is due at 2026-01-01T08:00:00+00:00."],
        "groups": ["It waits for others of its group.", "It is due at 2026-01-01T00:01:00+00:00."],
    }


async def test_a_dry_run_of_what_would_gather_shows_the_message_with_what_is_in_it(scene: Scene) -> None:
    await scene.declare_rule(groupBy=["run"], groupWaitSeconds=60)
    await scene.route()
    await scene.happen("phase.failed")
    await scene.route()
    (told,) = (await preview(scene)).deliveries
    assert told.because[2] == "It is added to a message that waits already, with 1 event in it."
    assert (told.delivery.event_count, len(told.delivery.events)) == (2, 1)
    assert (await scene.deliveries())[0].entry_count == 1


async def test_a_dry_run_says_what_would_be_counted_and_not_told(scene: Scene) -> None:
    await scene.declare_rule(duplicateSeconds=60)
    await scene.route()
    await scene.happen("phase.failed")
    await scene.route()
    (known,) = await scene.deliveries()
    found = await preview(scene, failure={"reason": "SOURCE_UNAVAILABLE"})
    assert list(found.deliveries) == []
    assert (
        found.steps[-1] == f"Rule failures has told ann the same: it is counted with {known.name}, and not told again."
    )


async def test_a_dry_run_says_that_an_hours_limit_is_reached(scene: Scene) -> None:
    await scene.declare_rule(messagesPerHourMax=1)
    await scene.route()
    await scene.happen("phase.failed")
    await scene.route()
    (told,) = (await preview(scene)).deliveries
    assert told.because[2] == "The rule may tell them 1 message an hour, and has: it waits until one more is allowed."


async def test_a_dry_run_of_many_recipients_shows_the_first_texts(scene: Scene) -> None:
    await scene.declare_engineers(*(f"p{number:03d}" for number in range(TEXTS_MAX + 1)))
    await scene.declare_rule(template="short")
    found = await preview(scene)
    assert len(found.deliveries) == TEXTS_MAX + 2
    assert [bool(each.body) for each in found.deliveries].count(True) == TEXTS_MAX
    assert found.steps[-1] == f"The texts of the first {TEXTS_MAX} are shown."


async def test_a_dry_run_of_what_no_rule_tells_says_so(scene: Scene) -> None:
    await scene.declare_rule()
    found = await preview(scene, type="run.failed")
    assert list(found.deliveries) == []
    assert list(found.steps) == [
        "Rule failures does not match: its type run.failed is none of phase.*.",
        "No rule tells of it.",
    ]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"type": ""}, "event.type: is required"),
        ({"type": "phase.*"}, "event.type: must be one type"),
        ({"type": "phase.fialed"}, "did you mean `phase.failed`"),
        ({"run": "environments/other/plans/p/runs/r"}, "event.run: must be a run of this environment"),
        ({"run": "r"}, "event.run: must be a run of this environment"),
        ({"subject": "environments/e2/plans/p"}, "event.subject: must lie in this environment"),
        ({"time": "1960-01-01T00:00:00Z"}, "event.time: must be a time from 1970"),
        ({"severity": 9}, "event.severity: 9 is no severity"),
    ],
    ids=str,
)
async def test_an_event_that_can_not_happen_is_refused(scene: Scene, wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidDefinition, match=problem):
        await preview(scene, **wrong)


async def test_an_environment_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound, match="there is no environments/e"):
        await preview(Scene())
