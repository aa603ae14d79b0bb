"""The tokens that calls on runs give out and take back: where a page ends, and how far somebody has watched."""

from datetime import datetime

from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.run import Run

SEQUENCE_DIGITS_MAX = 18


def read_sequence(token: str) -> int | None:
    """The sequence that a token stands for; None for what no call gave out."""
    return int(token) if token.isdecimal() and len(token) <= SEQUENCE_DIGITS_MAX else None


def given_sequence(token: str) -> int:
    """The sequence that a token stands for. Raises InvalidDefinition for what no call gave out."""
    sequence = read_sequence(token)
    if sequence is None:
        raise InvalidDefinition((Problem("resume_token", "is not a token that WatchRun gave out"),))
    return sequence


def page_token_of(run: Run) -> str:
    """Says that a page ended with this run."""
    return f"{run.create_time.isoformat()}|{run.name}"


def read_page_token(token: str) -> tuple[datetime, str] | None:
    """The run that a page ended with; None for the first page. Raises InvalidDefinition for what no call gave out."""
    if not token:
        return None
    text, _, name = token.partition("|")
    refusal = InvalidDefinition((Problem("page_token", "is not a token that ListRuns gave out"),))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise refusal from error
    if moment.tzinfo is None:
        raise refusal
    return moment, name
