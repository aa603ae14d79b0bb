"""What dispatchers send to the engine, checked and read: claims and reports."""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from pymigrate.engine.domain.delivery import DeliveryTry, TryOutcome
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.ports.channel import ANSWER_CHARACTERS_MAX
from pymigrate.v1 import notification_pb2

DELIVERIES_MAX = 500
REPORTS_MAX = 500
WAIT_MAX_SECONDS = 30.0
DISPATCHER_CHARACTERS_MAX = 200


def try_of(report: notification_pb2.DeliveryReport, dispatcher: str, now: datetime) -> DeliveryTry:
    """The try that a report tells of; one without a time began when it was reported."""
    told: notification_pb2.DeliveryTry = getattr(report, "try")
    began = told.time.ToDatetime(UTC) if told.HasField("time") else now
    return DeliveryTry(
        began,
        told.seconds,
        TryOutcome(told.outcome),
        told.answer[:ANSWER_CHARACTERS_MAX],
        told.dispatcher or dispatcher,
    )


def refuse_claim(dispatcher: str, deliveries_max: int, wait_seconds: float) -> None:
    """Raises InvalidDefinition for a claim that makes no sense."""
    problems = list(_dispatcher_problems(dispatcher))
    if not 1 <= deliveries_max <= DELIVERIES_MAX:
        problems.append(Problem("deliveries_max", f"must be 1 to {DELIVERIES_MAX}"))
    if not 0 <= wait_seconds < math.inf:
        problems.append(Problem("wait_seconds", f"must be 0 to {WAIT_MAX_SECONDS:g}"))
    if problems:
        raise InvalidDefinition(tuple(problems))


def refuse_reports(dispatcher: str, reports: Sequence[notification_pb2.DeliveryReport]) -> None:
    """Raises InvalidDefinition for reports of which one makes no sense."""
    problems = list(_dispatcher_problems(dispatcher))
    if len(reports) > REPORTS_MAX:
        problems.append(Problem("reports", f"are at most {REPORTS_MAX} at once"))
    words = {outcome.value for outcome in TryOutcome}
    for at, report in enumerate(reports[:REPORTS_MAX]):
        told: notification_pb2.DeliveryTry = getattr(report, "try")
        if report.HasField("try") and told.outcome not in words:
            problems.append(Problem(f"reports[{at}].try.outcome", f"must be one of {', '.join(sorted(words))}"))
        if not (0 <= told.seconds < math.inf and 0 <= report.retry_after_seconds < math.inf):
            problems.append(Problem(f"reports[{at}]", "has seconds that are no duration"))
    if problems:
        raise InvalidDefinition(tuple(problems))


def _dispatcher_problems(dispatcher: str) -> Iterator[Problem]:
    if not dispatcher or len(dispatcher) > DISPATCHER_CHARACTERS_MAX or not dispatcher.isprintable():
        yield Problem("dispatcher", f"is required, in at most {DISPATCHER_CHARACTERS_MAX} printable characters")
