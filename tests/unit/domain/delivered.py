"""Deliveries for tests, and the moments that they live in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pymigrate.engine.domain.delivery import Content, Delivery, DeliveryState, DeliveryTry, TryOutcome
from pymigrate.engine.domain.notices import Severity

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ENVIRONMENT = "environments/e"


def later(seconds: float) -> datetime:
    """So many seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


def pending(number: int = 1, channel: str = "mail", **others: Any) -> Delivery:
    """One whose content is frozen, to be sent at once; `others` are fields that differ."""
    found = Delivery(
        name=f"{ENVIRONMENT}/deliveries/d{number}",
        environment=ENVIRONMENT,
        state=DeliveryState.PENDING,
        rule="failures",
        stakeholder="ann",
        address="work",
        channel=channel,
        to="ann@example.com",
        thread=f"thread-{number}",
        key=f"{number:064x}",
        severity=Severity.ERROR,
        create_time=NOW,
        due_time=NOW,
        content=Content("It failed", "All of it."),
        frozen_time=NOW,
        next_try_time=NOW,
    )
    return replace(found, **others)


def tried(outcome: TryOutcome, seconds: float = 1.0, dispatcher: str = "d1", answer: str = "") -> DeliveryTry:
    """A try that began so many seconds after NOW."""
    return DeliveryTry(later(seconds), 0.1, outcome, answer or f"{outcome}", dispatcher)
