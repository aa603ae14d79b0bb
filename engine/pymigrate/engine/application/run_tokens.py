"""The tokens that calls on what happened give out and take back: where a page ends, and how far somebody has watched."""

from datetime import datetime

from pymigrate.engine.domain.errors import InvalidDefinition, Problem

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


def page_token_of(create_time: datetime, name: str) -> str:
    """Says that a page of the newest first ended with this one."""
    return f"{create_time.isoformat()}|{name}"


def read_page_token(token: str, call: str = "ListRuns") -> tuple[datetime, str] | None:
    """What a page ended with; None for the first page. Raises InvalidDefinition for what the call never gave out."""
    if not token:
        return None
    text, _, name = token.partition("|")
    refusal = InvalidDefinition((Problem("page_token", f"is not a token that {call} gave out"),))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise refusal from error
    if moment.tzinfo is None:
        raise refusal
    return moment, name
