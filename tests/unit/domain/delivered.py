"""Deliveries for tests, and the moments that they live in."""

from datetime import UTC, datetime, timedelta

from pymigrate.engine.domain.delivery import Content, Delivery, DeliveryState, DeliveryTry, TryOutcome
from pymigrate.engine.domain.notices import Severity

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ENVIRONMENT = "environments/prod"


def later(seconds: float) -> datetime:
    """So many seconds after NOW."""
    return NOW + timedelta(seconds=seconds)


def pending(number: int = 1, channel: str = "mail") -> Delivery:
    """One whose content is frozen, to be sent at once."""
    return Delivery(
        name=f"{ENVIRONMENT}/deliveries/d{number}",
        environment=ENVIRONMENT,
        state=DeliveryState.PENDING,
        rule="failures",
        stakeholder="ada",
        address="work",
        channel=channel,
        to="ada@example.com",
        thread=f"thread-{number}",
        key=f"{number:064x}",
        severity=Severity.ERROR,
        create_time=NOW,
        due_time=NOW,
        content=Content("It failed", "All of it."),
        frozen_time=NOW,
        next_try_time=NOW,
    )


def tried(outcome: TryOutcome, seconds: float = 1.0, dispatcher: str = "d1", answer: str = "") -> DeliveryTry:
    """A try that began so many seconds after NOW."""
    return DeliveryTry(later(seconds), 0.1, outcome, answer or f"{outcome}", dispatcher)
