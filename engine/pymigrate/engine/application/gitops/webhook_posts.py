"""What hosts post, and what becomes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Post:
    """What was posted: headers by lower-case name, and the body as it came."""

    headers: Mapping[str, str]
    body: bytes


class Taken(StrEnum):
    """What becomes of a post."""

    TAKEN = "taken"
    IGNORED = "ignored"  # it concerns nothing here
    KNOWN = "known"  # it came before
    REFUSED = "refused"  # by nobody who may post, or to no source: which of both is not told
    MALFORMED = "malformed"
    UNREADABLE = "unreadable"  # the secrets can't be read
    TOO_MANY = "too_many"


@dataclass(frozen=True, slots=True)
class Reception:
    """What becomes of a post, and why."""

    taken: Taken
    said: str = ""
