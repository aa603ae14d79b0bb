"""The best moment to start a plan."""

from datetime import UTC, datetime, time, timedelta

from pymigrate.engine.domain.calendar import Calendar, WeeklyWindow
from pymigrate.engine.domain.starts import best_start
from tests.unit.domain.businesses import HOUR, START, Times, landscape, move, offline, sales

NIGHTS = Calendar(UTC, (WeeklyWindow(time(22), time(4)),))
NOON = START + timedelta(hours=12)
KNOWN = landscape(sales=sales())


def best(lasts: dict[datetime, float], otherwise: float, now: datetime = NOON) -> datetime | None:
    """The best start of one phase that is down for as many hours as each start says, after a wait for its window."""

    def rehearse(start: datetime) -> dict[str, Times] | None:
        hours = lasts.get(start, otherwise)
        return None if hours < 0 else {"p": offline((0.0, hours * HOUR))}

    return best_start({"p": move(calendars=(NIGHTS,))}, KNOWN, now, rehearse)


def night(number: int) -> datetime:
    return START + timedelta(days=number, hours=22)


def test_of_equally_cheap_starts_the_earliest_is_best() -> None:
    assert best({NOON: 12.0}, 2.0) == night(0)


def test_a_later_start_is_best_when_it_is_cheaper() -> None:
    assert best({NOON: 12.0, night(3): 1.0}, 2.0) == night(3)


def test_a_start_from_which_a_phase_does_not_fit_is_none() -> None:
    assert best({night(0): 7.0, NOON: 17.0}, 5.0) == night(1)
    assert best({}, 40.0) is None


def test_a_start_from_which_the_plan_never_ends_is_none() -> None:
    assert best({NOON: -1.0, night(0): -1.0}, 2.0) == night(1)


def test_a_plan_without_windows_may_start_now() -> None:
    assert best_start({"p": move()}, KNOWN, NOON, lambda start: None) == NOON


def test_where_no_cost_is_declared_the_shortest_outage_counts() -> None:
    known = landscape(sales=sales(currency="", hour_cost=0.0))
    lasts = {NOON: 12.0, night(2): 1.0}
    found = best_start(
        {"p": move(calendars=(NIGHTS,))}, known, NOON, lambda at: {"p": offline((0.0, lasts.get(at, 2.0) * HOUR))}
    )
    assert found == night(2)


def test_costs_in_several_currencies_are_compared_as_shares_of_the_highest() -> None:
    known = landscape(sales=sales(), usa=sales(currency="USD", hour_cost=1.0, systems={}))
    moves = {"p": move(calendars=(NIGHTS,)), "q": move("usa", "other", calendars=(NIGHTS,))}
    hours = {night(0): (2.0, 2.0), night(1): (2.0, 0.5), night(2): (1.9, 2.0)}

    def rehearse(start: datetime) -> dict[str, Times] | None:
        if start not in hours:
            return None
        first, second = hours[start]
        return {"p": offline((0.0, first * HOUR)), "q": offline((0.0, second * HOUR))}

    assert best_start(moves, known, NOON, rehearse) == night(1)
