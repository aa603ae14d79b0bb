"""People, rules and occurrences, for tests of who is told what."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pymigrate.engine.domain.notices import (
    Address,
    ChannelTerms,
    Directory,
    EventMatch,
    Occurrence,
    Recipients,
    Rule,
    Schedule,
    Severity,
    Silence,
    Stakeholder,
)
from pymigrate.engine.domain.run import Failure

ENVIRONMENT = "environments/prod"
NOW = datetime(2026, 5, 5, 12, tzinfo=UTC)
MAIL = ChannelTerms("mail", "smtp")
HOOK = ChannelTerms("hook", "webhook")
FAILED = Failure("SOURCE_UNAVAILABLE", "the source does not answer")


def occurrence(
    type_: str = "phase.failed", severity: Severity = Severity.ERROR, entry: int = 1, **more: Any
) -> Occurrence:
    """Something that happened to phase `sales` of plan `warehouse`, of department `retail`."""
    known: dict[str, Any] = {
        "subject": f"{ENVIRONMENT}/plans/warehouse/runs/r1/phases/sales",
        "plan": "warehouse",
        "run": f"{ENVIRONMENT}/plans/warehouse/runs/r1",
        "phase": "sales",
        "department": "retail",
        "failure": FAILED,
    }
    return Occurrence(
        id=f"event-{entry}",
        entry=entry,
        type=type_,
        time=NOW + timedelta(seconds=entry),
        severity=severity,
        environment=ENVIRONMENT,
        **(known | more),
    )


def person(name: str, *roles: str, **more: Any) -> Stakeholder:
    """Somebody with an address by mail that takes everything, unless others are given."""
    known: dict[str, Any] = {"addresses": {"work": Address("mail", f"{name}@example.com")}}
    return Stakeholder(name, f"uid-{name}", roles=roles, **(known | more))


def rule(name: str, *roles: str, **more: Any) -> Rule:
    """A rule that matches everything and tells these roles, unless more is given."""
    known: dict[str, Any] = {"match": EventMatch(), "recipients": Recipients(roles=roles)}
    return Rule(name, f"uid-{name}", **(known | more))


def directory(
    people: Iterable[Stakeholder] = (),
    rules: Iterable[Rule] = (),
    schedules: Iterable[Schedule] = (),
    silences: Iterable[Silence] = (),
    channels: Iterable[ChannelTerms] = (MAIL, HOOK),
) -> Directory:
    """An environment that declares these."""
    return Directory(
        ENVIRONMENT,
        {each.id: each for each in people},
        {each.id: each for each in rules},
        {each.id: each for each in schedules},
        {each.id: each for each in silences},
        {each.id: each for each in channels},
    )


def below(parent: str, child: Rule) -> Rule:
    """The same rule below another."""
    return replace(child, parent=parent)
