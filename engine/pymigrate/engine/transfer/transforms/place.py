"""How far a transformed source has been read: the source's own position, with how many of its rows came before and how many of them
were refused. Rows that a lane commits are not enough to know that: a filter leaves rows out, and a quarantine takes some."""

import json
from dataclasses import dataclass

from pymigrate.engine.ports.ranges import Position


@dataclass(frozen=True, slots=True)
class Place:
    """`inner` is the source's position. `read` counts its rows from the start of the lane's range, `refused` those of them that were
    refused. `digest` is a digest of the refused rows, so that they too are known again."""

    inner: Position | None = None
    read: int = 0
    refused: int = 0
    digest: str = ""

    def is_like(self, other: "Place") -> bool:
        """Whether as many rows were read, and the same ones refused."""
        return (self.read, self.refused, self.digest) == (other.read, other.refused, other.digest)

    def position(self) -> Position:
        """As a position that `place_of` reads."""
        return Position(json.dumps([self.inner, self.read, self.refused, self.digest]))


def place_of(position: Position | None) -> Place:
    """The place that a transformed source's position says; the start for None."""
    if position is None:
        return Place()
    inner, read, refused, digest = json.loads(position)
    return Place(None if inner is None else Position(inner), read, refused, digest)
