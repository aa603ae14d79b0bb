"""How a run's lanes follow its load, whatever the load does: never outside the bounds, up at once, down late, and no to and fro."""

import itertools
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from pymigrate.engine.domain.lane_scaling import (
    RELIEF,
    SETTLE_SECONDS,
    LaneLoad,
    ScalingBounds,
    ScalingDecision,
    ScalingMemory,
    ScalingReason,
    scaled,
)

LANES = st.integers(0, 60)
LOADS = st.builds(
    LaneLoad,
    pending=LANES,
    running=LANES,
    lag_seconds=st.sampled_from([-1.0, 0.0, 29.0, 31.0, 61.0, 900.0]),
    latency_factor=st.sampled_from([0.0, 1.0, 1.4, 1.6, 2.9, 3.1, 40.0]),
)
BOUNDS = st.tuples(st.integers(1, 20), st.integers(0, 40), st.sampled_from([1.0, 10.0, 60.0])).map(
    lambda found: ScalingBounds(lanes_min=found[0], lanes_max=found[0] + found[1], cooldown_seconds=found[2])
)
STEPS = st.lists(st.tuples(LOADS, st.sampled_from([0.0, 0.1, 1.0, 6.0, 70.0])), min_size=1, max_size=40)
CALM = LaneLoad(pending=0, running=0)


def followed(
    bounds: ScalingBounds, steps: list[tuple[LaneLoad, float]], memory: ScalingMemory | None = None
) -> list[tuple[float, LaneLoad, ScalingDecision]]:
    """What is decided at each step, with when and upon which load."""
    found, now, memory = [], 0.0, memory or ScalingMemory()
    for load, seconds in steps:
        decision = scaled(bounds, load, memory, now)
        found.append((now, load, decision))
        memory, now = decision.memory, now + seconds
    return found


@given(BOUNDS, STEPS)
def test_lanes_stay_within_the_bounds(bounds: ScalingBounds, steps: list[tuple[LaneLoad, float]]) -> None:
    for _, _, decision in followed(bounds, steps):
        assert bounds.lanes_min <= decision.limit <= bounds.lanes_max


@given(BOUNDS, STEPS, st.integers(1, 60))
def test_a_backlog_has_its_lanes_at_once_where_no_source_has_suffered(
    bounds: ScalingBounds, steps: list[tuple[LaneLoad, float]], wanted: int
) -> None:
    steps = [(replace(load, latency_factor=1.0), seconds) for load, seconds in steps]
    now, _, last = followed(bounds, steps)[-1]
    decision = scaled(bounds, LaneLoad(pending=wanted, running=0), last.memory, now)
    assert decision.limit >= bounds.clamped(wanted)
    assert decision.limit == max(last.limit, bounds.clamped(wanted)) or decision.reason is ScalingReason.IDLE


@given(BOUNDS)
def test_a_lag_adds_one_lane_at_once_and_another_once_the_first_has_settled(bounds: ScalingBounds) -> None:
    assume(bounds.lanes_max - bounds.lanes_min >= 2)
    load = LaneLoad(pending=0, running=bounds.lanes_min, lag_seconds=61.0)
    memory = ScalingMemory(limit=bounds.lanes_min)
    found = followed(bounds, [(load, SETTLE_SECONDS / 2), (load, SETTLE_SECONDS / 2), (load, 0.0)], memory)
    assert [decision.limit - bounds.lanes_min for _, _, decision in found] == [1, 1, 2]
    assert found[0][2].look_again_seconds == SETTLE_SECONDS


@given(BOUNDS, STEPS, st.integers(1, 60))
def test_a_source_that_suffers_loses_lanes_at_once_or_had_lost_some_just_before(
    bounds: ScalingBounds, steps: list[tuple[LaneLoad, float]], running: int
) -> None:
    now, _, last = followed(bounds, steps)[-1]
    decision = scaled(bounds, LaneLoad(pending=5, running=running, latency_factor=3.1), last.memory, now)
    slowed_at = last.memory.slowed_at
    is_settling = slowed_at is not None and now < slowed_at + SETTLE_SECONDS
    if not is_settling:
        assert decision.limit <= max(bounds.lanes_min, int(running * 0.7))
    assert decision.limit <= last.limit


@given(BOUNDS, STEPS)
def test_no_lane_is_added_while_a_source_suffers_or_within_the_cooldown_after_it_has(
    bounds: ScalingBounds, steps: list[tuple[LaneLoad, float]]
) -> None:
    taken_at: float | None = None
    before = 0
    for now, load, decision in followed(bounds, steps):
        if before and decision.limit > before:
            assert load.latency_factor <= bounds.latency_factor_max
            if taken_at is not None:
                assert now >= taken_at + bounds.cooldown_seconds
                assert load.latency_factor <= bounds.latency_factor_max * RELIEF
                taken_at = None
        if decision.reason is ScalingReason.SOURCE_SLOW:
            taken_at = now
        elif decision.memory.slowed_at is None:
            taken_at = None
        before = decision.limit


@given(BOUNDS, STEPS)
def test_idle_lanes_are_taken_away_only_when_fewer_were_wanted_at_every_look_of_a_whole_cooldown(
    bounds: ScalingBounds, steps: list[tuple[LaneLoad, float]]
) -> None:
    found = followed(bounds, steps)
    for at, (now, _, decision) in enumerate(found):
        if decision.reason is ScalingReason.IDLE:
            before = found[at - 1][2].limit
            window = [each for each in found[: at + 1] if each[0] > now - bounds.cooldown_seconds]
            assert decision.limit < before
            assert all(load.wanted < before for _, load, _ in window)
            assert decision.limit >= max(bounds.clamped(load.wanted) for _, load, _ in window)


@given(BOUNDS, STEPS)
def test_lanes_that_nobody_wants_are_gone_after_the_cooldown_whatever_was_before(
    bounds: ScalingBounds, steps: list[tuple[LaneLoad, float]]
) -> None:
    now, _, last = followed(bounds, steps)[-1]
    memory, looks = last.memory, 0
    now += 1
    decision = scaled(bounds, CALM, memory, now)
    while decision.look_again_seconds is not None:
        looks += 1
        assert looks < 5
        now += decision.look_again_seconds
        decision = scaled(bounds, CALM, decision.memory, now)
    assert decision.limit == bounds.lanes_min


@given(BOUNDS, STEPS, LOADS)
def test_a_load_that_stays_the_same_turns_the_limit_at_most_once(
    bounds: ScalingBounds, steps: list[tuple[LaneLoad, float]], load: LaneLoad
) -> None:
    _, _, last = followed(bounds, steps)[-1]
    limits = [last.limit]
    limits += [decision.limit for _, _, decision in followed(bounds, [(load, 3.0)] * 100, last.memory)]
    ways = [after > before for before, after in itertools.pairwise(limits) if after != before]
    assert sum(one != other for one, other in itertools.pairwise(ways)) <= 1


@given(BOUNDS, STEPS, LOADS, LANES)
def test_more_that_waits_never_means_fewer_lanes(
    bounds: ScalingBounds, steps: list[tuple[LaneLoad, float]], load: LaneLoad, more: int
) -> None:
    now, _, last = followed(bounds, steps)[-1]
    fewer = scaled(bounds, load, last.memory, now).limit
    assert scaled(bounds, replace(load, pending=load.pending + more), last.memory, now).limit >= fewer


@given(BOUNDS, STEPS, LOADS, st.sampled_from([0.0, 5.0, 50.0, 1_000.0]))
def test_being_further_behind_never_means_fewer_lanes(
    bounds: ScalingBounds, steps: list[tuple[LaneLoad, float]], load: LaneLoad, more: float
) -> None:
    now, _, last = followed(bounds, steps)[-1]
    fewer = scaled(bounds, load, last.memory, now).limit
    assert scaled(bounds, replace(load, lag_seconds=load.lag_seconds + more), last.memory, now).limit >= fewer


@given(BOUNDS, STEPS, LOADS, st.sampled_from([0.0, 0.5, 1.0, 10.0]))
def test_a_slower_source_never_means_more_lanes(
    bounds: ScalingBounds, steps: list[tuple[LaneLoad, float]], load: LaneLoad, more: float
) -> None:
    now, _, last = followed(bounds, steps)[-1]
    most = scaled(bounds, load, last.memory, now).limit
    slower = replace(load, latency_factor=load.latency_factor + more)
    assert scaled(bounds, slower, last.memory, now).limit <= most


@given(BOUNDS, STEPS)
def test_whoever_is_told_to_look_again_has_some_time_till_then(
    bounds: ScalingBounds, steps: list[tuple[LaneLoad, float]]
) -> None:
    for _, _, decision in followed(bounds, steps):
        assert decision.look_again_seconds is None or decision.look_again_seconds > 0


def test_an_operator_that_remembers_nothing_takes_the_engines_limit_as_it_is() -> None:
    load = LaneLoad(pending=0, running=3, lag_seconds=40.0)
    decision = scaled(ScalingBounds(lanes_max=8), load, ScalingMemory(limit=5), 0.0)
    assert (decision.limit, decision.reason) == (5, ScalingReason.STEADY)


def test_a_source_that_recovered_gets_its_lanes_back_after_the_cooldown() -> None:
    bounds = ScalingBounds(lanes_max=10, cooldown_seconds=30.0)
    slow = LaneLoad(pending=0, running=10, latency_factor=4.0)
    well = LaneLoad(pending=3, running=7, latency_factor=1.0)
    found = followed(bounds, [(slow, 10.0), (well, 19.9), (well, 0.2), (well, 0.0)], ScalingMemory(limit=10))
    assert [decision.limit for _, _, decision in found] == [7, 7, 7, 10]
    assert found[1][2].look_again_seconds == 20.0


def test_a_source_that_suffers_still_loses_more_only_once_the_last_step_has_settled() -> None:
    bounds = ScalingBounds(lanes_max=100)
    slow = LaneLoad(pending=0, running=50, latency_factor=4.0)
    slower = replace(slow, running=35)
    found = followed(bounds, [(slow, 4.9), (slower, 0.2), (slower, 0.0)], ScalingMemory(limit=100))
    assert [decision.limit for _, _, decision in found] == [35, 35, 24]


def test_a_source_that_suffers_without_a_lane_of_the_run_takes_none_from_it() -> None:
    slow = LaneLoad(pending=20, running=0, latency_factor=4.0)
    assert scaled(ScalingBounds(lanes_max=100), slow, ScalingMemory(limit=20), 0.0).limit == 20


def test_idleness_keeps_what_a_burst_within_the_cooldown_wanted() -> None:
    bounds = ScalingBounds(lanes_max=100, cooldown_seconds=60.0)
    calm, burst = LaneLoad(pending=0, running=2), LaneLoad(pending=6, running=2)
    steps = [(calm, 30.0), (burst, 1.0), (calm, 29.0), (calm, 60.0), (calm, 0.0)]
    found = followed(bounds, steps, ScalingMemory(limit=50))
    assert [decision.limit for _, _, decision in found] == [50, 50, 50, 8, 2]


def test_a_lag_that_is_only_half_gone_keeps_its_lanes() -> None:
    bounds = ScalingBounds(lanes_max=10, cooldown_seconds=1.0, lag_seconds_max=60.0)
    steps = [(LaneLoad(pending=0, running=2, lag_seconds=31.0), 30.0)] * 3
    assert followed(bounds, steps, ScalingMemory(limit=5))[-1][2].limit == 5
    gone = [(LaneLoad(pending=0, running=2, lag_seconds=30.0), 30.0)] * 3
    assert followed(bounds, gone, ScalingMemory(limit=5))[-1][2].limit == 2


def test_a_backlog_adds_no_lane_to_a_source_that_suffers_already_from_the_fewest() -> None:
    slow = LaneLoad(pending=20, running=1, latency_factor=4.0)
    assert scaled(ScalingBounds(lanes_max=100), slow, ScalingMemory(limit=1), 0.0).limit == 1
