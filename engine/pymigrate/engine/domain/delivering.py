"""What becomes of a delivery once its content is frozen: claimed, tried, tried again, taken, dead, begun anew, acknowledged.

Deliveries change in place. Whatever order claims, reports and ends of leases come in: what was accepted stays accepted, every try is
noted, and the key never changes, so that a receiver can tell repetitions.
"""

import random
from datetime import datetime, timedelta

from pymigrate.engine.domain.delivery import TRIES_KEPT_MAX, Delivery, DeliveryState, DeliveryTry, Incident, TryOutcome
from pymigrate.engine.domain.errors import IllegalTransition
from pymigrate.engine.domain.run import Failure

# The first tries after a failure follow quickly, since most faults are over in a moment; what still fails then is an outage. It is to be
# outlasted by the few tries that are left: eight, the usual number, take ten minutes and more.
QUICK_FIRST_SECONDS = 0.2
QUICK_TRIES = 4
PATIENT_FIRST_SECONDS = 60.0
PATIENT_GROWTH = 4
PATIENT_MAX_SECONDS = 900.0
PATIENT_STEPS_MAX = 2
THROTTLED_FIRST_SECONDS = 1.0
THROTTLED_SPREAD = 0.1
RETRY_AFTER_SECONDS_MAX = 3_600.0

LOST_IN_A_ROW_MAX = 20

REFUSED = "DELIVERY_REFUSED"
TRIES_EXHAUSTED = "TRIES_EXHAUSTED"
CHANNEL_MISSING = "CHANNEL_MISSING"
ALREADY_ACKNOWLEDGED = "ALREADY_ACKNOWLEDGED"
LEASE_ENDED = "the dispatcher did not report in time: it may have been sent"

CONFIRMED = frozenset({DeliveryState.ACCEPTED, DeliveryState.DELIVERED, DeliveryState.ACKNOWLEDGED})
ENDED_BADLY = frozenset({DeliveryState.DEAD, DeliveryState.UNDELIVERABLE})
OPEN = (DeliveryState.WAITING, DeliveryState.PENDING, DeliveryState.SENDING)
UNTOLD = frozenset({DeliveryState.WAITING, DeliveryState.SUPPRESSED})


def claim(delivery: Delivery, dispatcher: str, lease: str, now: datetime, until: datetime) -> None:
    """Gives it to a dispatcher until then, and counts a try. Raises IllegalTransition unless it is pending."""
    _require(delivery, "claimed", DeliveryState.PENDING)
    delivery.state = DeliveryState.SENDING
    delivery.dispatcher, delivery.lease, delivery.lease_until = dispatcher, lease, until
    delivery.try_count += 1
    delivery.last_try_time = now
    delivery.next_try_time = None


def give_back(delivery: Delivery, lease: str, now: datetime) -> bool:
    """The dispatcher has not begun: the try is not counted, and it is pending again at once. False where the claim is another's by now."""
    if not is_held(delivery, lease):
        return False
    delivery.try_count -= 1
    _retry(delivery, now)
    return True


def lose(delivery: Delivery, now: datetime, rng: random.Random) -> None:
    """Its dispatcher has not reported by the end of the lease, or is gone: whether it was sent is unknown. The try is noted, and counts for
    nothing, since it is no fault of the receiver's; but what dispatchers are lost with again and again may be what ends them, and is dead
    after LOST_IN_A_ROW_MAX of them. Raises IllegalTransition unless somebody has it."""
    _require(delivery, "taken back", DeliveryState.SENDING)
    began = delivery.last_try_time or now
    seconds = max(0.0, (now - began).total_seconds())
    _note(delivery, DeliveryTry(began, seconds, TryOutcome.UNKNOWN, LEASE_ENDED, delivery.dispatcher))
    delivery.may_be_repeated = True
    newest = delivery.tries[-LOST_IN_A_ROW_MAX:]
    if len(newest) == LOST_IN_A_ROW_MAX and all(each.answer == LEASE_ENDED for each in newest):
        text = f"{LOST_IN_A_ROW_MAX} dispatchers in a row did not report of it: see in their logs whether it is what ends them"
        _die(delivery, Failure(TRIES_EXHAUSTED, text))
        return
    delivery.try_count -= 1
    _retry(delivery, now + timedelta(seconds=rng.uniform(0.0, QUICK_FIRST_SECONDS)))


def report(
    delivery: Delivery,
    lease: str,
    attempt: DeliveryTry,
    now: datetime,
    *,
    tries_max: int,
    rng: random.Random,
    retry_after_seconds: float = 0.0,
    is_delivered: bool = False,
) -> bool:
    """Notes what came of a try. False where it comes late: the lease is another's by now, and yet what it says counts, for what was
    accepted has arrived. Telling it again changes nothing. Raises IllegalTransition for one that nobody ever claimed."""
    if delivery.last_try_time is None:
        raise IllegalTransition(f"{delivery.name} was never claimed: nothing can have come of a try", field="delivery")
    is_timely = is_held(delivery, lease)
    if not is_timely and _is_noted(delivery, attempt):
        return True
    is_repeated = not is_timely and delivery.state in CONFIRMED | {DeliveryState.SENDING}
    _note(delivery, attempt)
    match attempt.outcome:
        case TryOutcome.ACCEPTED:
            delivery.may_be_repeated |= is_repeated
            _accept(delivery, now, is_delivered=is_delivered)
        case TryOutcome.UNKNOWN if not is_timely:
            delivery.may_be_repeated = True
        case _ if is_timely:
            _fail(delivery, attempt, retry_after_seconds, now, tries_max, rng)
        case _:
            pass  # another try is under way or was made since, and decides
    return is_timely


def refuse(delivery: Delivery, failure: Failure) -> None:
    """It can't be sent at all, such as for a channel that is gone. Raises IllegalTransition unless it is pending."""
    _require(delivery, "given up", DeliveryState.PENDING)
    delivery.state, delivery.failure = DeliveryState.UNDELIVERABLE, failure
    delivery.next_try_time = None


def abandon(delivery: Delivery, failure: Failure) -> None:
    """What it belongs to is gone: it is not told any more. A try that is under way may yet be reported, and then counts. Raises
    IllegalTransition for what has ended."""
    _require(delivery, "abandoned", *OPEN)
    delivery.state, delivery.failure = DeliveryState.UNDELIVERABLE, failure
    _let_go(delivery)
    delivery.next_try_time = None


def redrive(delivery: Delivery, now: datetime) -> None:
    """Begins again with the tries, with the same key and, where it was rendered before, the same content. Raises IllegalTransition unless
    it is dead or undeliverable."""
    _require(delivery, "redriven", *sorted(ENDED_BADLY))
    delivery.try_count = 0
    delivery.failure = None
    if delivery.frozen_time is None:
        delivery.state, delivery.due_time = DeliveryState.WAITING, now
    else:
        _retry(delivery, now)


def acknowledge(delivery: Delivery, acknowledger: str, now: datetime) -> bool:
    """Somebody has seen it and acts; what is still to be sent of it is not sent any more. False where somebody did before, and nothing
    changes. Raises IllegalTransition where nobody was ever told."""
    if delivery.state in UNTOLD:
        raise IllegalTransition(
            f"{delivery.name} is {delivery.state} and was told to nobody: there is nothing to acknowledge", field="name"
        )
    if delivery.state is DeliveryState.ACKNOWLEDGED:
        return False
    delivery.state = DeliveryState.ACKNOWLEDGED
    delivery.acknowledger, delivery.acknowledge_time = acknowledger, now
    delivery.failure = None
    _let_go(delivery)
    delivery.next_try_time = None
    return True


def acknowledge_with(delivery: Delivery, incident: Incident, acknowledger: str, now: datetime) -> bool:
    """Somebody acts on an incident, told by another message of it: what has arrived of it, and tells of nothing else, asks for nothing
    more. False where it is not such a one, and nothing changes."""
    has_arrived = delivery.state in {DeliveryState.ACCEPTED, DeliveryState.DELIVERED}
    if not has_arrived or not set(delivery.entries) <= set(incident.entries):
        return False
    return acknowledge(delivery, acknowledger, now)


def call_off(delivery: Delivery, acknowledger: str) -> bool:
    """Somebody acts before it went out, and it is not told any more. False where it has gone out, may have, or is about to, and nothing
    changes."""
    if delivery.state not in {DeliveryState.WAITING, DeliveryState.PENDING} or delivery.may_be_repeated:
        return False
    delivery.state = DeliveryState.SUPPRESSED
    delivery.failure = Failure(
        ALREADY_ACKNOWLEDGED, f"{acknowledger or 'somebody'} had acknowledged before it was told"
    )
    delivery.next_try_time = None
    return True


def acknowledge_incident(incident: Incident, acknowledger: str, now: datetime) -> bool:
    """Somebody acts: nobody else is told of it. False where somebody did before."""
    if incident.acknowledge_time is not None:
        return False
    incident.acknowledger, incident.acknowledge_time = acknowledger, now
    incident.next_time = None
    return True


def is_held(delivery: Delivery, lease: str) -> bool:
    """Whether the claim of that lease still stands."""
    return delivery.state is DeliveryState.SENDING and bool(lease) and delivery.lease == lease


def retry_seconds(outcome: TryOutcome, try_count: int, retry_after_seconds: float, rng: random.Random) -> float:
    """How long to wait after so many failed tries: a random part of what grows with them, so that what failed together does not come
    back together, and never less than the receiver asked for."""
    if outcome is TryOutcome.THROTTLED:
        asked = min(max(retry_after_seconds, THROTTLED_FIRST_SECONDS), RETRY_AFTER_SECONDS_MAX)
        return max(asked * rng.uniform(1.0, 1.0 + THROTTLED_SPREAD), _backoff_seconds(try_count, rng))
    asked = min(retry_after_seconds, RETRY_AFTER_SECONDS_MAX)
    return max(asked, _backoff_seconds(try_count, rng))


def _backoff_seconds(try_count: int, rng: random.Random) -> float:
    failed = max(try_count, 1) - 1
    if failed < QUICK_TRIES:
        return rng.uniform(0.0, QUICK_FIRST_SECONDS * 2**failed)
    longest = min(
        PATIENT_FIRST_SECONDS * PATIENT_GROWTH ** min(failed - QUICK_TRIES, PATIENT_STEPS_MAX), PATIENT_MAX_SECONDS
    )
    return rng.uniform(longest / 2, longest)


def _accept(delivery: Delivery, now: datetime, *, is_delivered: bool) -> None:
    delivery.accept_time = delivery.accept_time or now
    if is_delivered:
        delivery.deliver_time = delivery.deliver_time or now
    if delivery.state is not DeliveryState.ACKNOWLEDGED:
        delivery.state = DeliveryState.DELIVERED if delivery.deliver_time else DeliveryState.ACCEPTED
    delivery.failure = None
    delivery.next_try_time = None
    _let_go(delivery)


def _fail(
    delivery: Delivery,
    attempt: DeliveryTry,
    retry_after_seconds: float,
    now: datetime,
    tries_max: int,
    rng: random.Random,
) -> None:
    if attempt.outcome is TryOutcome.UNKNOWN:
        delivery.may_be_repeated = True
    if attempt.outcome is TryOutcome.PERMANENT:
        _die(delivery, Failure(REFUSED, f"it was refused for good: {attempt.answer or 'without a word'}"))
    elif delivery.try_count >= tries_max:
        text = f"{delivery.try_count} tries failed, the last one: {attempt.answer or attempt.outcome}"
        _die(delivery, Failure(TRIES_EXHAUSTED, text))
    else:
        seconds = retry_seconds(attempt.outcome, delivery.try_count, retry_after_seconds, rng)
        _retry(delivery, now + timedelta(seconds=seconds))


def _die(delivery: Delivery, failure: Failure) -> None:
    delivery.state, delivery.failure = DeliveryState.DEAD, failure
    delivery.next_try_time = None
    _let_go(delivery)


def _retry(delivery: Delivery, at: datetime) -> None:
    delivery.state, delivery.next_try_time = DeliveryState.PENDING, at
    _let_go(delivery)


def _let_go(delivery: Delivery) -> None:
    delivery.lease, delivery.lease_until, delivery.dispatcher = "", None, ""


def _note(delivery: Delivery, attempt: DeliveryTry) -> None:
    delivery.tries = [*delivery.tries, attempt][-TRIES_KEPT_MAX:]


def _is_noted(delivery: Delivery, attempt: DeliveryTry) -> bool:
    return any((each.time, each.dispatcher) == (attempt.time, attempt.dispatcher) for each in delivery.tries)


def _require(delivery: Delivery, done: str, *states: DeliveryState) -> None:
    if delivery.state not in states:
        raise IllegalTransition(
            f"{delivery.name} is {delivery.state} and can't be {done}: only what is {' or '.join(states)} can",
            field="name",
        )
