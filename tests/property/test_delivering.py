"""A delivery under any order of claims, reports, ends of leases, redrives and acknowledgements."""

import random
from copy import deepcopy

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pymigrate.engine.domain import delivering
from pymigrate.engine.domain.delivery import DeliveryState, DeliveryTry, TryOutcome
from tests.unit.domain.delivered import later, pending

TRIES_MAX = 4
OUTCOMES = st.sampled_from(TryOutcome)
PROGRESS = [DeliveryState.ACCEPTED, DeliveryState.DELIVERED, DeliveryState.ACKNOWLEDGED]


class OneDelivery(RuleBasedStateMachine):
    """Claims are remembered with their dispatcher, and any of them may report, in time or late, once or twice."""

    @initialize(seed=st.integers(0, 1_000))
    def begin(self, seed: int) -> None:
        self.delivery = pending()
        self.key, self.content = self.delivery.key, self.delivery.content
        self.rng = random.Random(seed)
        self.seconds = 0.0
        self.leases: list[tuple[str, str]] = []
        self.told: list[DeliveryTry] = []
        self.reports: list[tuple[str, DeliveryTry, bool]] = []
        self.lost = 0
        self.reached = -1

    def tick(self) -> float:
        """A moment later; every moment is one of its own."""
        self.seconds += 1.0
        return self.seconds

    @precondition(lambda self: self.delivery.state is DeliveryState.PENDING)
    @rule()
    def somebody_claims(self) -> None:
        number = len(self.leases) + 1
        now = self.tick()
        self.leases.append((f"l{number}", f"d{number % 3}"))
        delivering.claim(self.delivery, f"d{number % 3}", f"l{number}", later(now), later(now + 25))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), outcome=OUTCOMES, is_delivered=st.booleans())
    def somebody_reports(self, data: st.DataObject, outcome: TryOutcome, is_delivered: bool) -> None:
        lease, dispatcher = data.draw(st.sampled_from(self.leases))
        now = self.tick()
        attempt = DeliveryTry(later(now), 0.5, outcome, "said", dispatcher)
        self.told.append(attempt)
        self.reports.append((lease, attempt, is_delivered))
        was_held = delivering.is_held(self.delivery, lease)
        assert self.report(lease, attempt, now, is_delivered) == was_held
        if outcome is TryOutcome.ACCEPTED:
            assert self.delivery.state in delivering.CONFIRMED

    @precondition(lambda self: self.reports)
    @rule(data=st.data())
    def somebody_reports_again(self, data: st.DataObject) -> None:
        lease, attempt, is_delivered = data.draw(st.sampled_from(self.reports))
        if delivering.is_held(self.delivery, lease):
            return
        before = deepcopy(self.delivery)
        assert self.report(lease, attempt, self.tick(), is_delivered)
        assert self.delivery == before

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def somebody_gives_back(self, data: st.DataObject) -> None:
        lease, _ = data.draw(st.sampled_from(self.leases))
        before = self.delivery.try_count
        if delivering.give_back(self.delivery, lease, later(self.tick())):
            assert self.delivery.try_count == before - 1

    @precondition(lambda self: self.delivery.state is DeliveryState.SENDING)
    @rule()
    def the_lease_ends(self) -> None:
        self.lost += 1
        delivering.lose(self.delivery, later(self.tick()), self.rng)
        assert self.delivery.may_be_repeated

    @precondition(lambda self: self.delivery.state in delivering.ENDED_BADLY)
    @rule()
    def an_operator_redrives(self) -> None:
        delivering.redrive(self.delivery, later(self.tick()))

    @rule()
    def somebody_acknowledges(self) -> None:
        delivering.acknowledge(self.delivery, "ada", later(self.tick()))

    def report(self, lease: str, attempt: DeliveryTry, now: float, is_delivered: bool) -> bool:
        return delivering.report(
            self.delivery, lease, attempt, later(now), tries_max=TRIES_MAX, rng=self.rng, is_delivered=is_delivered
        )

    @invariant()
    def what_was_confirmed_stays_confirmed(self) -> None:
        state = self.delivery.state
        now = PROGRESS.index(state) if state in PROGRESS else -1
        assert now >= self.reached
        self.reached = now

    @invariant()
    def every_try_is_noted(self) -> None:
        assert all(each in self.delivery.tries for each in self.told)
        assert len(self.delivery.tries) == len(self.told) + self.lost

    @invariant()
    def key_and_content_stay(self) -> None:
        assert (self.delivery.key, self.delivery.content) == (self.key, self.content)

    @invariant()
    def it_is_held_while_it_is_being_sent_and_else_by_nobody(self) -> None:
        is_sending = self.delivery.state is DeliveryState.SENDING
        assert bool(self.delivery.lease) == is_sending
        assert (self.delivery.lease_until is not None) == is_sending

    @invariant()
    def it_comes_to_be_tried_while_it_is_pending_and_else_not(self) -> None:
        is_pending = self.delivery.state is DeliveryState.PENDING
        assert (self.delivery.next_try_time is not None) == is_pending

    @invariant()
    def it_is_never_tried_more_often_than_agreed(self) -> None:
        assert 0 <= self.delivery.try_count <= TRIES_MAX

    @invariant()
    def whoever_ended_badly_says_why(self) -> None:
        assert (self.delivery.failure is not None) == (self.delivery.state in delivering.ENDED_BADLY)


OneDelivery.TestCase.settings = settings(stateful_step_count=30)
TestOneDelivery = OneDelivery.TestCase
