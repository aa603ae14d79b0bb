"""What is counted of deliveries as they move: each step once, and only what was committed."""

from pymigrate.engine.application.notification_metrics import Moves, NotificationMetrics
from pymigrate.engine.domain.delivery import DeliveryState, TryOutcome
from pymigrate.engine.ports.metric_families import (
    NOTIFICATION_CONFIRM_DURATION,
    NOTIFICATION_TRIES,
    NOTIFICATIONS,
    NOTIFICATIONS_AGREED,
)
from pymigrate.engine.testing.metrics import MemoryMetrics
from tests.unit.domain.delivered import later, pending, tried


def test_a_delivery_that_is_taken_is_counted_with_how_long_it_took() -> None:
    metrics, moves = MemoryMetrics(), Moves()
    delivery = pending(confirm_by_time=later(60))
    moves.watch([delivery], "smtp")
    delivery.tries.append(tried(TryOutcome.ACCEPTED))
    delivery.state, delivery.accept_time = DeliveryState.ACCEPTED, later(2)
    NotificationMetrics(metrics).count(moves)
    assert metrics.values[NOTIFICATIONS] == {("e", "accepted"): 1.0}
    assert metrics.values[NOTIFICATIONS_AGREED] == {("e", "in_time"): 1.0}
    assert metrics.values[NOTIFICATION_TRIES] == {("e", "smtp", "accepted"): 1.0}
    assert metrics.observed[NOTIFICATION_CONFIRM_DURATION] == {("e",): [2.0]}


def test_what_stays_as_it_was_and_what_is_to_be_tried_again_is_not_counted() -> None:
    metrics, moves = MemoryMetrics(), Moves()
    taken = pending(1, state=DeliveryState.ACCEPTED, accept_time=later(1))
    again = pending(2, state=DeliveryState.SENDING)
    moves.watch([taken, again])
    again.state = DeliveryState.PENDING
    NotificationMetrics(metrics).count(moves)
    assert (dict(metrics.values), dict(metrics.observed)) == ({}, {})


def test_what_is_confirmed_by_an_acknowledgement_alone_is_confirmed_then() -> None:
    metrics, moves = MemoryMetrics(), Moves()
    delivery = pending(state=DeliveryState.ACCEPTED, accept_time=later(1), confirm_state="acknowledged")
    moves.watch([delivery])
    delivery.state, delivery.acknowledge_time = DeliveryState.ACKNOWLEDGED, later(30)
    NotificationMetrics(metrics).count(moves)
    assert metrics.observed[NOTIFICATION_CONFIRM_DURATION] == {("e",): [30.0]}
    assert NOTIFICATIONS_AGREED not in metrics.values  # nothing was agreed of when


def test_what_is_confirmed_late_is_left_to_whoever_finds_it_overdue() -> None:
    metrics, moves = MemoryMetrics(), Moves()
    delivery = pending(confirm_by_time=later(1))
    moves.watch([delivery])
    delivery.state, delivery.accept_time = DeliveryState.ACCEPTED, later(2)
    found = NotificationMetrics(metrics)
    found.count(moves)
    assert NOTIFICATIONS_AGREED not in metrics.values
    found.count_late([delivery])
    assert metrics.values[NOTIFICATIONS_AGREED] == {("e", "late"): 1.0}


def test_what_is_made_to_stay_is_counted_as_it_is_made() -> None:
    metrics, moves = MemoryMetrics(), Moves()
    moves.made([pending(1), pending(2, state=DeliveryState.SUPPRESSED), pending(3, state=DeliveryState.UNDELIVERABLE)])
    NotificationMetrics(metrics).count(moves)
    assert metrics.values[NOTIFICATIONS] == {("e", "suppressed"): 1.0, ("e", "undeliverable"): 1.0}


def test_only_tries_that_were_noted_since_are_counted_by_their_outcome() -> None:
    metrics, moves = MemoryMetrics(), Moves()
    delivery = pending(tries=[tried(TryOutcome.TRANSIENT)])
    moves.watch([delivery], "webhook")
    delivery.tries = [*delivery.tries, tried(TryOutcome.UNKNOWN), tried(TryOutcome.UNKNOWN)]
    NotificationMetrics(metrics).count(moves)
    assert metrics.values[NOTIFICATION_TRIES] == {("e", "webhook", "unknown"): 2.0}
