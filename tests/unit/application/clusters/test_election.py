"""The election of a leader: one at a time, whatever happens to clocks, answers and candidates."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from pymigrate.engine.application.clusters.election import Election, LeadershipLost, Terms
from pymigrate.engine.ports.cluster import ClusterUnavailable, Object
from pymigrate.engine.testing.virtual_loop import VirtualClock, VirtualLoop, run_virtually
from tests.unit.application.clusters.scripted import Leases

TERMS = Terms()


@dataclass
class Candidate:
    """Runs for the Lease, and notes when it led. `pause` stops it as SIGSTOP would: its clock goes on, and it does nothing."""

    loop: VirtualLoop
    leases: Leases
    name: str
    clock: VirtualClock
    log: list[tuple[float, str]]
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    lost: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.election = Election(
            self.leases,
            self.clock,
            random.Random(self.name),
            namespace="system",
            name="operator",
            identity=self.name,
            lost=self._on_lost,
        )
        self.running = asyncio.ensure_future(self.election.run(self._lead))

    def _on_lost(self) -> None:
        self.lost.append(self.loop.time())
        self.log.append((self.loop.time(), f"{self.name} lost"))

    async def _lead(self) -> None:
        self.log.append((self.loop.time(), f"{self.name} leads"))
        await self.ending.wait()

    async def close(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)


def play(scene: Callable[[VirtualLoop, Leases], Awaitable[None]], seed: int = 1) -> None:
    async def main(loop: VirtualLoop) -> None:
        await scene(loop, Leases())
        assert loop.errors == []

    run_virtually(main, random.Random(seed))


def candidates(
    loop: VirtualLoop, leases: Leases, *clocks: VirtualClock
) -> tuple[list[Candidate], list[tuple[float, str]]]:
    log: list[tuple[float, str]] = []
    return [Candidate(loop, leases, "ab"[at], clock, log) for at, clock in enumerate(clocks)], log


def test_one_of_two_candidates_leads_and_goes_on_leading() -> None:
    async def scene(loop: VirtualLoop, leases: Leases) -> None:
        both, log = candidates(loop, leases, VirtualClock(loop), VirtualClock(loop))
        await asyncio.sleep(300)
        assert len(log) == 1
        assert sum(each.election.is_leading() for each in both) == 1
        for each in both:
            await each.close()

    play(scene)


def test_a_leader_that_ends_in_order_hands_over_without_the_others_waiting_for_its_lease() -> None:
    async def scene(loop: VirtualLoop, leases: Leases) -> None:
        (first,), log = candidates(loop, leases, VirtualClock(loop))
        await asyncio.sleep(5)
        second = Candidate(loop, leases, "b", VirtualClock(loop), log)
        await asyncio.sleep(5)
        first.ending.set()
        await first.running
        assert not first.election.is_leading()
        assert first.lost == []
        await asyncio.sleep(2 * TERMS.renew_seconds)
        assert second.election.is_leading()
        assert leases.lease is not None
        assert leases.lease["spec"]["leaseTransitions"] == 1
        await second.close()

    play(scene)


@pytest.mark.parametrize("seconds", [0.5, 5.0])
def test_a_leader_whose_renewals_are_not_answered_has_lost_before_another_can_lead(seconds: float) -> None:
    async def scene(loop: VirtualLoop, leases: Leases) -> None:
        async def hang(written: Object) -> None:
            if written["spec"]["holderIdentity"] == "a":
                await asyncio.sleep(3_600)

        (first,), log = candidates(loop, leases, VirtualClock(loop))
        await asyncio.sleep(seconds)
        second = Candidate(loop, leases, "b", VirtualClock(loop), log)
        leases.before = hang
        await asyncio.sleep(40)
        assert [what for _, what in log] == ["a leads", "a lost", "b leads"]
        with pytest.raises(LeadershipLost):
            await first.running
        await second.close()

    play(scene)


@pytest.mark.parametrize("rates", [(1.0, 1.4), (1.4, 1.0), (0.8, 1.1)])
def test_clocks_that_run_apart_and_are_set_wrong_never_make_two_leaders(rates: tuple[float, float]) -> None:
    async def scene(loop: VirtualLoop, leases: Leases) -> None:
        clocks = [VirtualClock(loop, offset, rate) for offset, rate in zip((-9_000.0, 50_000.0), rates, strict=True)]
        both, _ = candidates(loop, leases, *clocks)
        for number in range(3_000):
            await asyncio.sleep(0.1)
            assert sum(each.election.is_leading() for each in both) <= 1
            leases.is_away = 1_000 <= number < 1_200
            for clock in clocks:
                clock.offset_seconds += (-1) ** number * 1_000.0 * number
        for each in both:
            await each.close()

    play(scene)


def test_a_leader_that_was_paused_does_not_lead_when_it_comes_back_and_is_told_so() -> None:
    async def scene(loop: VirtualLoop, leases: Leases) -> None:
        clock = VirtualClock(loop)
        (first,), log = candidates(loop, leases, clock)
        await asyncio.sleep(5)
        assert first.election.is_leading()
        # All of the pause passes at once for it: no timer of its own ran in between.
        base = clock.monotonic
        clock.monotonic = lambda: base() + 60.0  # type: ignore[method-assign]  # a machine that stood still
        assert not first.election.is_leading()
        await asyncio.sleep(TERMS.renew_seconds)
        assert [what for _, what in log] == ["a leads", "a lost"]
        assert (await asyncio.gather(first.running, return_exceptions=True))[0].__class__ is LeadershipLost

    play(scene)


def test_a_leader_that_finds_the_lease_in_other_hands_stops_at_once() -> None:
    async def scene(loop: VirtualLoop, leases: Leases) -> None:
        (first,), _ = candidates(loop, leases, VirtualClock(loop))
        await asyncio.sleep(5)
        assert leases.lease is not None
        await leases._store({**leases.lease, "spec": {**leases.lease["spec"], "holderIdentity": "somebody"}})
        await asyncio.sleep(TERMS.renew_seconds + 0.1)
        assert first.lost
        with pytest.raises(LeadershipLost, match="held by somebody"):
            await first.running

    play(scene)


def test_a_leader_whose_lease_was_deleted_stops() -> None:
    async def scene(loop: VirtualLoop, leases: Leases) -> None:
        (first,), _ = candidates(loop, leases, VirtualClock(loop))
        await asyncio.sleep(5)
        leases.lease = None
        with pytest.raises(LeadershipLost, match="was deleted"):
            await first.running
        assert first.lost

    play(scene)


def test_a_lease_that_is_deleted_under_its_holder_makes_no_second_leader_beside_it() -> None:
    async def scene(loop: VirtualLoop, leases: Leases) -> None:
        async def hang(_: Object) -> None:
            await asyncio.sleep(3_600)

        both, log = candidates(loop, leases, VirtualClock(loop), VirtualClock(loop))
        await asyncio.sleep(5)
        leases.lease, leases.before = None, hang  # the holder does not even hear of it
        for _ in range(10 * TERMS.lease_seconds):
            await asyncio.sleep(0.1)
            assert sum(each.election.is_leading() for each in both) <= 1
        await asyncio.sleep(TERMS.renew_seconds)
        first, second = ("a", "b") if log[0][1] == "a leads" else ("b", "a")
        assert [what for _, what in log] == [f"{first} leads", f"{first} lost", f"{second} leads"]
        for each in both:
            await each.close()

    play(scene)


def test_renewals_whose_answers_are_lost_now_and_then_cost_no_leadership() -> None:
    async def scene(loop: VirtualLoop, leases: Leases) -> None:
        rng = random.Random(7)

        async def lose(_: Object) -> None:
            if rng.random() < 0.3:
                raise ClusterUnavailable("reset after the commit")

        leases.after = lose
        both, log = candidates(loop, leases, VirtualClock(loop), VirtualClock(loop))
        await asyncio.sleep(300)
        assert len(log) == 1
        for each in both:
            await each.close()

    play(scene)


def test_a_holder_that_died_is_followed_once_its_lease_was_seen_unchanged_for_its_whole_duration() -> None:
    async def scene(loop: VirtualLoop, leases: Leases) -> None:
        await leases._store(
            {
                "metadata": {"namespace": "system", "name": "operator"},
                "spec": {
                    "holderIdentity": "dead",
                    "leaseDurationSeconds": 15,
                    "renewTime": "1999-01-01T00:00:00.000000Z",
                },
            }
        )
        (second,), log = candidates(loop, leases, VirtualClock(loop))
        await asyncio.sleep(60)
        ((time, what),) = log
        assert what == "a leads"
        assert 15 < time < 15 + 2 * TERMS.renew_seconds
        await second.close()

    play(scene)


def test_terms_in_which_two_could_lead_are_refused() -> None:
    with pytest.raises(ValueError, match="gives up before"):
        Terms(lease_seconds=10, give_up_seconds=10.0)
