"""Draws for tests: at once, on the caller's thread."""

from pymigrate.engine.domain.drawing import Drawing, Draws, drawn
from pymigrate.engine.domain.run import RunAggregate


async def draw_at_once(drawing: Drawing, aggregate: RunAggregate, draws: int) -> Draws:
    """As many draws as are asked for."""
    return drawn(drawing, aggregate, draws)


async def draw_one(drawing: Drawing, aggregate: RunAggregate, draws: int) -> Draws:
    """A single draw whatever is asked for, where figures do not matter and many engines run."""
    return drawn(drawing, aggregate, min(draws, 1))
