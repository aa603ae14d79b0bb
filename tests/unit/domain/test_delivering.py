"""What becomes of a delivery that is tried: taken, tried again later and later, dead, begun anew, acknowledged."""

import random
from typing import Any

import pytest

from pymigrate.engine.domain import delivering
from pymigrate.engine.domain.delivery import TRIES_KEPT_MAX, Delivery, DeliveryState, TryOutcome
from pymigrate.engine.domain.errors import IllegalTransition
from pymigrate.engine.domain.run import Failure
from tests.unit.domain.delivered import NOW, later, pending, tried

TRIES_MAX = 8


def claimed(delivery: Delivery | None = None, lease: str = "l1", dispatcher: str = "d1") -> Delivery:
    """One that a dispatcher has for 25 seconds."""
    found = delivery or pending()
    delivering.claim(found, dispatcher, lease, NOW, later(25))
    return found


def told(delivery: Delivery, outcome: TryOutcome, lease: str = "l1", **options: Any) -> bool:
    """A report two seconds after NOW."""
    known: dict[str, Any] = {"tries_max": TRIES_MAX, "rng": random.Random(1)} | options
    attempt = known.pop("attempt", None) or tried(outcome)
    return delivering.report(delivery, lease, attempt, later(2), **known)


def test_a_claim_gives_it_to_one_dispatcher_until_the_lease_ends_and_counts_a_try() -> None:
    delivery = claimed()
    assert (delivery.state, delivery.dispatcher, delivery.lease) == (DeliveryState.SENDING, "d1", "l1")
    assert (delivery.lease_until, delivery.last_try_time, delivery.try_count) == (later(25), NOW, 1)
    assert delivery.next_try_time is None


def test_what_somebody_has_is_claimed_by_nobody_else() -> None:
    with pytest.raises(IllegalTransition, match="is sending and can't be claimed"):
        claimed(claimed(), lease="l2", dispatcher="d2")


def test_what_was_accepted_is_confirmed_and_held_by_nobody() -> None:
    delivery = claimed()
    assert told(delivery, TryOutcome.ACCEPTED)
    assert (delivery.state, delivery.accept_time, delivery.deliver_time) == (DeliveryState.ACCEPTED, later(2), None)
    assert (delivery.lease, delivery.lease_until, delivery.dispatcher) == ("", None, "")
    assert delivery.tries == [tried(TryOutcome.ACCEPTED)]
    assert not delivery.may_be_repeated


def test_what_the_channel_says_has_arrived_is_delivered() -> None:
    delivery = claimed()
    told(delivery, TryOutcome.ACCEPTED, is_delivered=True)
    assert (delivery.state, delivery.accept_time, delivery.deliver_time) == (
        DeliveryState.DELIVERED,
        later(2),
        later(2),
    )


def test_a_fault_of_the_moment_is_tried_again_within_half_a_second() -> None:
    for seed in range(100):
        delivery = claimed()
        told(delivery, TryOutcome.TRANSIENT, rng=random.Random(seed))
        assert delivery.state is DeliveryState.PENDING
        assert delivery.next_try_time is not None
        assert later(2) <= delivery.next_try_time <= later(2.5)


def test_tries_come_later_and_later_up_to_a_quarter_of_an_hour() -> None:
    def drawn(count: int) -> list[float]:
        """What chance makes of the wait after so many failures."""
        return [delivering.retry_seconds(TryOutcome.TRANSIENT, count, 0.0, random.Random(seed)) for seed in range(300)]

    longest = [0.2, 0.4, 0.8, 1.6, 60.0, 240.0, 900.0, 900.0, 900.0]
    for count, expected in enumerate(longest, 1):
        assert expected * 0.95 <= max(drawn(count)) <= expected, count
        assert min(drawn(count)) < 0.05 * expected or expected >= 60, count


def test_the_usual_number_of_tries_outlasts_an_outage_of_ten_minutes() -> None:
    for seed in range(100):
        rng = random.Random(seed)
        waits = [delivering.retry_seconds(TryOutcome.TRANSIENT, count, 0.0, rng) for count in range(1, TRIES_MAX)]
        assert sum(waits) >= 600


def test_a_receiver_that_asks_for_time_is_given_it() -> None:
    delivery = claimed()
    told(delivery, TryOutcome.THROTTLED, retry_after_seconds=30.0)
    assert delivery.next_try_time is not None
    assert later(32) <= delivery.next_try_time <= later(35)


def test_a_receiver_can_not_put_it_off_for_ever() -> None:
    wait = delivering.retry_seconds(TryOutcome.THROTTLED, 1, 1e12, random.Random(1))
    assert wait <= delivering.RETRY_AFTER_SECONDS_MAX * (1 + delivering.THROTTLED_SPREAD)


def test_what_is_refused_for_good_is_dead_at_once_and_says_why() -> None:
    delivery = claimed()
    told(delivery, TryOutcome.PERMANENT, attempt=tried(TryOutcome.PERMANENT, answer="550 no such user"))
    assert delivery.state is DeliveryState.DEAD
    assert delivery.failure == Failure(delivering.REFUSED, "it was refused for good: 550 no such user")
    assert delivery.next_try_time is None


def test_after_the_last_try_it_is_dead_and_says_how_often_it_was_tried() -> None:
    delivery = pending()
    for number in range(3):
        claimed(delivery)
        told(delivery, TryOutcome.TRANSIENT, tries_max=3, attempt=tried(TryOutcome.TRANSIENT, number))
    assert delivery.state is DeliveryState.DEAD
    assert delivery.failure == Failure(delivering.TRIES_EXHAUSTED, "3 tries failed, the last one: transient")
    assert len(delivery.tries) == 3


def test_an_answer_that_was_lost_is_tried_again_and_may_be_repeated() -> None:
    delivery = claimed()
    told(delivery, TryOutcome.UNKNOWN)
    assert delivery.state is DeliveryState.PENDING
    assert delivery.may_be_repeated


def test_a_lease_that_ended_is_a_try_of_which_nobody_knows() -> None:
    delivery = claimed()
    delivering.lose(delivery, later(26), random.Random(1))
    assert delivery.state is DeliveryState.PENDING
    assert delivery.may_be_repeated
    assert [(each.outcome, each.dispatcher, each.seconds) for each in delivery.tries] == [
        (TryOutcome.UNKNOWN, "d1", 26.0)
    ]


def test_a_dispatcher_that_is_lost_is_no_fault_of_the_receivers() -> None:
    delivery = pending()
    for _ in range(delivering.LOST_IN_A_ROW_MAX - 1):
        claimed(delivery)
        delivering.lose(delivery, later(26), random.Random(1))
        assert delivery.next_try_time is not None
        assert later(26) <= delivery.next_try_time <= later(26.2)
    assert (delivery.state, delivery.try_count) == (DeliveryState.PENDING, 0)


def test_a_message_that_dispatchers_are_lost_with_again_and_again_is_dead_in_the_end() -> None:
    delivery = pending()
    for _ in range(delivering.LOST_IN_A_ROW_MAX):
        claimed(delivery)
        delivering.lose(delivery, later(26), random.Random(1))
    assert delivery.state is DeliveryState.DEAD
    assert delivery.failure is not None
    assert "did not report" in delivery.failure.message


def test_what_was_not_begun_is_given_back_and_no_try_is_counted() -> None:
    delivery = claimed()
    assert delivering.give_back(delivery, "l1", later(3))
    assert (delivery.state, delivery.try_count, delivery.next_try_time) == (DeliveryState.PENDING, 0, later(3))
    assert not delivery.may_be_repeated
    assert delivery.tries == []


def test_giving_back_what_another_has_changes_nothing() -> None:
    delivery = claimed()
    assert not delivering.give_back(delivery, "another", later(3))
    assert delivery.state is DeliveryState.SENDING


def test_a_late_acceptance_ends_it_although_another_has_it_and_says_that_it_may_come_twice() -> None:
    delivery = claimed()
    delivering.lose(delivery, later(26), random.Random(1))
    claimed(delivery, lease="l2", dispatcher="d2")
    assert not told(delivery, TryOutcome.ACCEPTED, lease="l1")
    assert delivery.state is DeliveryState.ACCEPTED
    assert delivery.may_be_repeated
    assert not told(delivery, TryOutcome.ACCEPTED, lease="l2", attempt=tried(TryOutcome.ACCEPTED, 30, "d2"))
    assert delivery.state is DeliveryState.ACCEPTED
    assert len(delivery.tries) == 3


def test_a_late_failure_is_noted_and_leaves_the_try_that_is_under_way_alone() -> None:
    delivery = claimed()
    delivering.lose(delivery, later(26), random.Random(1))
    claimed(delivery, lease="l2", dispatcher="d2")
    assert not told(delivery, TryOutcome.PERMANENT, lease="l1")
    assert (delivery.state, delivery.lease) == (DeliveryState.SENDING, "l2")
    assert delivery.tries[-1].outcome is TryOutcome.PERMANENT


def test_a_late_acceptance_raises_the_dead() -> None:
    delivery = claimed()
    delivering.lose(delivery, later(26), random.Random(1))
    claimed(delivery, lease="l2", dispatcher="d2")
    told(delivery, TryOutcome.PERMANENT, lease="l2", attempt=tried(TryOutcome.PERMANENT, 30, "d2"))
    assert delivery.state is DeliveryState.DEAD
    told(delivery, TryOutcome.ACCEPTED, lease="l1")
    assert (delivery.state, delivery.failure) == (DeliveryState.ACCEPTED, None)


def test_a_report_that_comes_twice_is_noted_once() -> None:
    delivery = claimed()
    assert told(delivery, TryOutcome.ACCEPTED)
    assert told(delivery, TryOutcome.ACCEPTED)
    assert len(delivery.tries) == 1
    assert not delivery.may_be_repeated


def test_a_failure_that_is_told_twice_does_not_count_twice() -> None:
    delivery = claimed()
    told(delivery, TryOutcome.TRANSIENT)
    due = delivery.next_try_time
    assert told(delivery, TryOutcome.TRANSIENT, rng=random.Random(5))
    assert (delivery.try_count, delivery.next_try_time) == (1, due)


def test_nothing_is_reported_of_what_nobody_claimed() -> None:
    with pytest.raises(IllegalTransition, match="never claimed"):
        told(pending(), TryOutcome.ACCEPTED)


def test_a_dead_one_begins_again_with_its_key_and_its_content() -> None:
    delivery = claimed()
    told(delivery, TryOutcome.PERMANENT)
    key, content = delivery.key, delivery.content
    delivering.redrive(delivery, later(60))
    assert (delivery.state, delivery.try_count, delivery.next_try_time) == (DeliveryState.PENDING, 0, later(60))
    assert (delivery.key, delivery.content, delivery.failure) == (key, content, None)
    assert len(delivery.tries) == 1


def test_one_that_was_never_rendered_waits_to_be_when_it_is_redriven() -> None:
    delivery = pending()
    delivery.state, delivery.frozen_time, delivery.next_try_time = DeliveryState.UNDELIVERABLE, None, None
    delivering.redrive(delivery, later(60))
    assert (delivery.state, delivery.due_time) == (DeliveryState.WAITING, later(60))


@pytest.mark.parametrize("state", sorted(set(DeliveryState) - delivering.ENDED_BADLY))
def test_only_what_ended_badly_is_redriven(state: DeliveryState) -> None:
    delivery = pending()
    delivery.state = state
    with pytest.raises(IllegalTransition, match="only what is dead or undeliverable can"):
        delivering.redrive(delivery, NOW)


def test_what_can_not_be_sent_says_why() -> None:
    delivery = pending()
    delivering.refuse(delivery, Failure(delivering.CHANNEL_MISSING, "there is no mail"))
    assert (delivery.state, delivery.next_try_time) == (DeliveryState.UNDELIVERABLE, None)
    assert delivery.failure is not None


def test_an_acknowledgement_is_noted_once() -> None:
    delivery = claimed()
    told(delivery, TryOutcome.ACCEPTED)
    assert delivering.acknowledge(delivery, "ada", later(5))
    assert not delivering.acknowledge(delivery, "bob", later(6))
    assert (delivery.state, delivery.acknowledger, delivery.acknowledge_time) == (
        DeliveryState.ACKNOWLEDGED,
        "ada",
        later(5),
    )


def test_what_was_acknowledged_is_not_tried_again_and_stays_so_when_a_report_comes() -> None:
    delivery = claimed()
    told(delivery, TryOutcome.UNKNOWN)
    delivering.acknowledge(delivery, "ada", later(5))
    assert delivery.next_try_time is None
    told(delivery, TryOutcome.ACCEPTED, lease="l1", attempt=tried(TryOutcome.ACCEPTED, 9), is_delivered=True)
    assert delivery.state is DeliveryState.ACKNOWLEDGED
    assert (delivery.accept_time, delivery.deliver_time) == (later(2), later(2))


@pytest.mark.parametrize("state", sorted(delivering.UNTOLD))
def test_what_was_told_to_nobody_is_acknowledged_by_nobody(state: DeliveryState) -> None:
    delivery = pending()
    delivery.state = state
    with pytest.raises(IllegalTransition, match="told to nobody"):
        delivering.acknowledge(delivery, "ada", NOW)


def test_of_many_tries_the_newest_are_kept() -> None:
    delivery = pending()
    for number in range(TRIES_KEPT_MAX + 5):
        claimed(delivery)
        told(delivery, TryOutcome.TRANSIENT, tries_max=1_000, attempt=tried(TryOutcome.TRANSIENT, number))
    assert len(delivery.tries) == TRIES_KEPT_MAX
    assert delivery.tries[-1].time == later(TRIES_KEPT_MAX + 4)
