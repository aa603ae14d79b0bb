"""What a plan costs the business: costs, users, agreements that are broken, ratings, and what is not known."""

from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.domain.assessment import assess
from pymigrate.engine.domain.business import BusinessFigures, Move
from pymigrate.engine.domain.calendar import Calendar, WeeklyWindow
from pymigrate.engine.domain.quantiles import Quantiles, quantile, quantiles_of
from pymigrate.engine.domain.rating import Rating
from pymigrate.engine.domain.reach import Effect
from pymigrate.engine.domain.systems import Criticality, Department, Landscape, System
from tests.unit.domain.businesses import HOUR, START, Times, landscape, move, offline, read_only, sales

DOWNSTREAM = landscape(
    sales=sales(),
    finance=Department({"ledger": System(dependencies=("sales/crm",))}, users=5, currency="EUR", hour_cost=10.0),
    board=Department({"cockpit": System(dependencies=("finance/ledger",))}, users=2, currency="USD", hour_cost=1.0),
    canteen=Department({"till": System("till")}, users=100, currency="EUR", hour_cost=1e6),
)


def figures(known: Landscape, phases: dict[str, tuple[Move, Times]]) -> BusinessFigures:
    """What phases cost."""
    moves = {name: each for name, (each, _) in phases.items()}
    return assess(moves, {name: times for name, (_, times) in phases.items()}, known, START)


def one(known: Landscape, moved: Move, times: Times) -> BusinessFigures:
    """What a plan of one phase `p` costs."""
    return figures(known, {"p": (moved, times)})


def certain(value: float) -> Quantiles:
    return Quantiles(value, pytest.approx(value))  # type: ignore[arg-type]  # compares as a float


def test_an_offline_phase_costs_its_department_and_everyone_downstream() -> None:
    found = one(DOWNSTREAM, move(), offline((0, 2 * HOUR)))
    assert found.phases["p"].costs == {"EUR": certain(220.0), "USD": certain(2.0)}
    assert found.summary.costs == {"EUR": certain(220.0), "USD": certain(2.0)}
    assert {name: each.costs for name, each in found.departments.items()} == {
        "sales": {"EUR": certain(200.0)},
        "finance": {"EUR": certain(20.0)},
        "board": {"USD": certain(2.0)},
    }


def test_costs_vary_with_the_draws() -> None:
    found = one(DOWNSTREAM, move(), offline(*[(0.0, hours * HOUR) for hours in range(1, 12)]))
    assert found.departments["sales"].costs["EUR"] == Quantiles(pytest.approx(600.0), pytest.approx(1_000.0))  # type: ignore[arg-type]


@pytest.mark.parametrize(("share", "cost"), [(1.0, 200.0), (0.25, 50.0), (0.0, 0.0)])
def test_an_hour_in_which_nobody_writes_costs_its_share_and_nobody_downstream(share: float, cost: float) -> None:
    known = landscape(sales=sales(read_only_share=share), finance=DOWNSTREAM.department("finance"))
    found = one(known, move(effect=Effect.READ_ONLY), read_only((0, 2 * HOUR)))
    assert found.phases["p"].costs["EUR"].p50 == pytest.approx(cost)
    assert found.departments["finance"].costs["EUR"].p50 == 0.0
    assert found.departments["finance"].write_downtime.p90 == 0.0


def test_an_online_phase_blocks_writing_in_its_tail_alone() -> None:
    times = Times([0.0], [10 * HOUR], [0.0], [0.5 * HOUR])
    found = one(DOWNSTREAM, move(effect=Effect.LOAD), times)
    assert found.departments["sales"].costs["EUR"].p50 == pytest.approx(50.0)
    assert found.phases["p"].downtime.p90 == 0.0
    assert "Nobody can write to sales/crm for 30 min" in found.phases["p"].rated.reasons[0].text


def test_overlapping_downtimes_of_several_phases_count_once() -> None:
    phases = {
        "a": (move(), offline((0, 2 * HOUR))),
        "b": (move(), offline((1 * HOUR, 3 * HOUR))),
        "c": (move(effect=Effect.READ_ONLY), read_only((2 * HOUR, 5 * HOUR))),
    }
    known = landscape(sales=sales(read_only_share=0.5))
    found = figures(known, phases)
    department = found.departments["sales"]
    assert (department.downtime.p50, department.write_downtime.p50) == (3 * HOUR, 5 * HOUR)
    assert department.costs["EUR"].p50 == pytest.approx(300.0 + 0.5 * 200.0)
    assert found.summary.costs["EUR"] == department.costs["EUR"]
    assert found.summary.downtime.p50 == 4 * HOUR, "the phases' own downtimes are added"


def test_people_count_once_however_many_phases_hit_their_systems() -> None:
    phases = {name: (move(), offline((0, HOUR))) for name in ("a", "b")}
    found = figures(DOWNSTREAM, phases)
    assert found.summary.users == 17
    assert found.phases["a"].users == 17


def test_a_department_says_which_phases_move_its_data_and_because_of_whom_else_it_is_hit() -> None:
    phases = {
        "ledger": (move("finance", "books"), offline((5.0, 9.0))),
        "crm": (move(), offline((1.0, 3.0))),
        "crm2": (move(), offline((2.0, 4.0))),
    }
    found = figures(DOWNSTREAM, phases).departments
    assert (found["sales"].phases, found["sales"].because_of) == (("crm", "crm2"), ())
    assert (found["sales"].start.p50, found["sales"].end.p50, found["sales"].duration.p50) == (1.0, 4.0, 3.0)
    assert (found["finance"].phases, found["finance"].because_of) == (("ledger",), ("sales",))
    assert (found["finance"].start.p50, found["finance"].downtime.p50) == (5.0, 7.0)
    assert (found["board"].phases, found["board"].because_of) == ((), ("sales",))
    assert (found["board"].start.p50, found["board"].end.p50) == (1.0, 4.0)


def with_agreement(**agreed: float) -> Landscape:
    """Sales with a system of which something was agreed."""
    return landscape(sales=sales(systems={"crm": System("crm", **agreed)}))  # type: ignore[arg-type]  # fields by name


def test_an_outage_that_is_longer_than_agreed_in_the_median_breaks_it_for_certain() -> None:
    found = one(with_agreement(rto_seconds=HOUR), move(), offline((0, HOUR + 1))).phases["p"]
    assert [(each.system, each.level, each.seconds_max, each.is_certain) for each in found.breaches] == [
        ("sales/crm", "rto", HOUR, True)
    ]
    assert found.rated.rating is Rating.CRITICAL


def test_an_outage_that_is_longer_than_agreed_in_more_than_one_of_ten_cases_may_break_it() -> None:
    draws = [(0.0, HOUR)] * 8 + [(0.0, 3 * HOUR)] * 2
    found = one(with_agreement(rto_seconds=2 * HOUR), move(), offline(*draws)).phases["p"]
    assert [each.is_certain for each in found.breaches] == [False]
    assert found.rated.rating is Rating.HIGH


def test_an_outage_as_long_as_agreed_breaks_nothing() -> None:
    found = one(with_agreement(rto_seconds=HOUR, availability_percent=99.5), move(), offline((0, HOUR))).phases["p"]
    assert found.breaches == ()
    assert found.rated.rating is Rating.MODERATE


def test_outages_of_two_phases_break_an_rto_when_they_touch_and_an_availability_when_they_do_not() -> None:
    known = with_agreement(rto_seconds=1.5 * HOUR, availability_percent=99.8)  # 1.44 h a month
    touching = figures(known, {"a": (move(), offline((0, HOUR))), "b": (move(), offline((HOUR, 2 * HOUR)))})
    apart = figures(known, {"a": (move(), offline((0, HOUR))), "b": (move(), offline((2 * HOUR, 3 * HOUR)))})
    assert [each.level for each in touching.departments["sales"].breaches] == ["rto", "availability"]
    assert [each.level for each in apart.departments["sales"].breaches] == ["availability"]
    assert (touching.phases["a"].breaches, touching.summary.breaches) == ((), 2)


def test_a_system_downstream_of_one_that_is_down_breaks_its_own_agreement() -> None:
    ledger = System(rto_seconds=60.0, dependencies=("sales/crm",))
    known = landscape(sales=sales(), finance=Department({"ledger": ledger}))
    down = one(known, move(), offline((0, HOUR)))
    assert [each.system for each in down.phases["p"].breaches] == ["finance/ledger"]
    assert len(down.departments["finance"].breaches) == 1
    readable = one(known, move(effect=Effect.READ_ONLY), read_only((0, HOUR)))
    assert readable.phases["p"].breaches == ()


def test_a_phase_that_does_not_fit_its_window_breaks_it() -> None:
    nights = Calendar(windows=(WeeklyWindow(time(22), time(4)),))
    phases = {
        "long": (move(calendars=(nights,)), offline((0, 23 * HOUR))),
        "short": (move(calendars=(nights,)), offline((0, HOUR))),
        "free": (move(), offline((0, 100 * HOUR))),
    }
    found = figures(DOWNSTREAM, phases)
    (breach,) = found.phases["long"].breaches
    assert (breach.system, breach.level, breach.seconds_max, breach.is_certain) == (
        "sales/crm",
        "window",
        4 * HOUR,
        True,
    )
    assert (found.summary.phases, found.summary.phases_in_window, found.summary.breaches) == (3, 2, 1)
    assert found.summary.rated.rating is Rating.CRITICAL


@pytest.mark.parametrize(
    ("criticality", "rating"),
    [
        (Criticality.LOW, Rating.MODERATE),
        (Criticality.MEDIUM, Rating.MODERATE),
        (Criticality.HIGH, Rating.HIGH),
        (Criticality.CRITICAL, Rating.HIGH),
    ],
)
def test_an_important_system_that_is_down_without_any_agreement_is_rated_high(
    criticality: Criticality, rating: Rating
) -> None:
    known = landscape(sales=sales(systems={"crm": System("crm", criticality)}))
    assert one(known, move(), offline((0, HOUR))).summary.rated.rating is rating
    agreed = landscape(sales=sales(systems={"crm": System("crm", criticality, rto_seconds=2 * HOUR)}))
    assert one(agreed, move(), offline((0, HOUR))).summary.rated.rating is Rating.MODERATE


def test_what_nobody_notices_is_rated_low_with_a_reason() -> None:
    found = one(DOWNSTREAM, move(), offline((0, 0.5))).summary.rated
    assert (found.rating, len(found.reasons)) == (Rating.LOW, 1)


def test_what_is_not_known_is_rated_moderate_with_the_reason() -> None:
    found = one(DOWNSTREAM, move(unknowns=("Nothing could be measured.",), rows=-1), offline((0, 0.5)))
    assert found.phases["p"].rated.rating is Rating.MODERATE
    assert [each.text for each in found.phases["p"].rated.reasons] == [
        "Nothing could be measured.",
        "How much phase p moves is not known.",
    ]
    assert (found.summary.rows, found.summary.bytes, found.summary.rated.rating) == (-1, 100, Rating.MODERATE)


def test_a_system_that_nobody_declares_and_a_cost_that_nobody_declared_are_unknowns() -> None:
    found = one(landscape(sales=Department()), move("sales", "legacy"), offline((0, HOUR)))
    assert found.unknowns == (
        "No department declares a system with connection legacy: who needs it is not known.",
        "What an hour without its systems costs sales is not declared.",
    )
    assert found.summary.costs == {}


def test_reasons_come_the_gravest_first_with_figures() -> None:
    known = landscape(
        sales=sales(systems={"crm": System("crm", rto_seconds=HOUR)}, users=1_200),
        finance=Department({"ledger": System(criticality=Criticality.CRITICAL, dependencies=("sales/crm",))}),
    )
    reasons = [each.text for each in one(known, move(), offline((0, 2 * HOUR))).phases["p"].rated.reasons]
    assert reasons == [
        "sales/crm is down for longer at once than the agreed 1 h: 2 h.",
        "The business stops while finance/ledger is down, for 2 h, and nothing was agreed of its outages.",
        "finance/ledger and sales/crm are down for 1,200 people for 2 h, at a cost of EUR 200.",
    ]


def test_a_plan_without_phases_costs_nothing() -> None:
    found = figures(DOWNSTREAM, {})
    assert (found.summary.users, found.summary.costs, found.summary.rated.rating) == (0, {}, Rating.LOW)


PHASES = st.lists(
    st.tuples(
        st.sampled_from(["sales", "finance"]), st.floats(0, 50), st.floats(0, 50), st.sampled_from([*Effect][:2])
    ),
    min_size=1,
    max_size=5,
)


def drawn(phases: list[tuple[str, float, float, Effect]], longer: float = 0.0) -> BusinessFigures:
    """What phases cost of which the first takes longer by so many seconds."""
    found = {}
    for number, (department, start, seconds, effect) in enumerate(phases):
        span = (start, start + seconds + (0.0 if number else longer))
        connection = "crm" if department == "sales" else "books"
        times = offline(span) if effect is Effect.DOWN else read_only(span)
        found[f"p{number}"] = (move(department, connection, effect=effect), times)
    return figures(DOWNSTREAM, found)


@given(PHASES, st.floats(0, 50))
def test_costs_are_never_negative_and_a_longer_downtime_never_costs_less(
    phases: list[tuple[str, float, float, Effect]], longer: float
) -> None:
    before, after = drawn(phases), drawn(phases, longer)
    for name, found in before.departments.items():
        for currency, cost in found.costs.items():
            assert 0 <= cost.p50 <= after.departments[name].costs[currency].p50 + 1e-9
        assert found.downtime.p50 <= found.write_downtime.p50 + 1e-9
        assert found.write_downtime.p50 <= sum(each.write_downtime.p50 for each in before.phases.values()) + 1e-9
    assert before.summary.rated.rating <= after.summary.rated.rating


def test_a_quantile_lies_between_its_neighbours() -> None:
    assert quantile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert quantiles_of([3.0]) == Quantiles(3.0, 3.0)
    assert quantiles_of([*map(float, range(11))][::-1]) == Quantiles(5.0, 9.0)
    with pytest.raises(ValueError, match="no values"):
        quantiles_of([])
