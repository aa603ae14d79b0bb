"""How notifications fare: by rule and channel, in time or late, and how far behind they are."""

import math
from typing import Any

import pytest

from pymigrate.engine.application.notification_figures import DAY_SECONDS, NotificationFigures
from pymigrate.engine.domain.delivery import Delivery, DeliveryState
from pymigrate.engine.domain.errors import InvalidDefinition, NotFound
from pymigrate.v1 import notification_pb2
from tests.unit.application.engines import ENVIRONMENT, Engine
from tests.unit.application.noticed import declare_notices
from tests.unit.domain.delivered import NOW, later, pending

TAKEN: dict[str, Any] = {"state": DeliveryState.ACCEPTED, "confirm_by_time": later(60)}


@pytest.fixture
async def noticed(engine: Engine) -> Engine:
    """An environment that tells people, a hundred seconds after NOW."""
    await declare_notices(engine)
    engine.clock.advance(100 - (engine.clock.now() - NOW).total_seconds())
    return engine


async def kpis(engine: Engine, *deliveries: Delivery, window_seconds: float = 0.0) -> notification_pb2.NotificationKpis:
    await engine.store.transact(lambda unit: unit.deliveries.insert(deliveries))
    return await NotificationFigures(engine.store, engine.clock).kpis(ENVIRONMENT, window_seconds)


async def test_where_nothing_was_told_everything_was_in_time(noticed: Engine) -> None:
    found = await kpis(noticed)
    assert (found.name, found.total.share_in_time, found.lag_seconds) == (ENVIRONMENT, 1.0, 0.0)
    assert not found.total.HasField("confirm_seconds")
    assert (len(found.rules), len(found.channels)) == (0, 0)
    assert found.update_time.ToDatetime(NOW.tzinfo) == later(100)


async def test_what_was_agreed_is_held_against_what_became_of_it(noticed: Engine) -> None:
    found = await kpis(
        noticed,
        pending(1, accept_time=later(10), **TAKEN),
        pending(2, accept_time=later(20), **TAKEN),
        pending(3, accept_time=later(61), **TAKEN),
        pending(4, state=DeliveryState.DEAD, confirm_by_time=later(60)),
        pending(5, confirm_by_time=later(200)),
        pending(6, accept_time=later(30), state=DeliveryState.ACCEPTED),
    )
    total = found.total
    assert dict(total.deliveries) == {"accepted": 4, "dead": 1, "pending": 1}
    assert (total.agreed, total.confirmed_in_time, total.late) == (5, 2, 2)
    assert total.share_in_time == 0.5
    assert total.confirm_seconds.p50 == 25.0
    assert total.confirm_seconds.p90 == pytest.approx(51.7)
    assert found.lag_seconds == 100.0


async def test_rules_and_channels_are_told_on_their_own(noticed: Engine) -> None:
    found = await kpis(
        noticed,
        pending(1, accept_time=later(10), rule="a", channel="mail", **TAKEN),
        pending(2, accept_time=later(20), rule="b", channel="mail", **TAKEN),
        pending(3, accept_time=later(90), rule="b", channel="hook", **TAKEN),
        pending(4, rule="", channel="hook"),
        pending(5, rule="a", channel="", state=DeliveryState.UNDELIVERABLE),
    )
    shares = {name: each.share_in_time for name, each in found.rules.items()}
    assert shares == {"a": 1.0, "b": 0.5}
    assert {name: dict(each.deliveries) for name, each in found.channels.items()} == {
        "mail": {"accepted": 2},
        "hook": {"accepted": 1, "pending": 1},
    }
    assert found.channels["mail"].confirm_seconds.p50 == 15.0
    assert sum(found.total.deliveries.values()) == 5


async def test_what_was_silenced_is_counted_and_nothing_was_agreed_of_it(noticed: Engine) -> None:
    found = await kpis(noticed, pending(state=DeliveryState.SUPPRESSED, confirm_by_time=later(1)))
    assert dict(found.total.deliveries) == {"suppressed": 1}
    assert (found.total.agreed, found.total.late, found.total.share_in_time) == (0, 0, 1.0)


async def test_only_what_became_due_within_the_window_is_counted(noticed: Engine) -> None:
    old, fresh = pending(1, due_time=later(-1)), pending(2, due_time=later(99))
    waiting = pending(3, state=DeliveryState.WAITING, due_time=later(101))
    found = await kpis(noticed, old, fresh, waiting, window_seconds=100)
    assert dict(found.total.deliveries) == {"pending": 1}
    assert found.lag_seconds == 101.0  # the oldest waits, whatever the window
    found = await kpis(noticed)
    assert dict(found.total.deliveries) == {"pending": 2}


@pytest.mark.parametrize("seconds", [-1.0, 31 * DAY_SECONDS + 1, math.nan, math.inf])
async def test_a_window_that_is_none_is_refused(noticed: Engine, seconds: float) -> None:
    with pytest.raises(InvalidDefinition, match="31 days"):
        await kpis(noticed, window_seconds=seconds)


async def test_an_environment_that_there_is_not_is_named_with_the_nearest(noticed: Engine) -> None:
    figures = NotificationFigures(noticed.store, noticed.clock)
    with pytest.raises(NotFound, match="did you mean `e`"):
        await figures.kpis("environments/ee")
