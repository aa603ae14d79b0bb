"""Pages of lists: how much of a collection is told at once."""

from pymigrate.engine.domain.errors import InvalidDefinition, Problem

PAGE_DEFAULT = 100
PAGE_MAX = 1_000


def page_limit(page_size: int) -> int:
    """The size of a page. Raises InvalidDefinition for a negative one; a larger one than allowed is cut, as AIP-158 has it."""
    if page_size < 0:
        raise InvalidDefinition((Problem("page_size", "can't be negative"),))
    return min(page_size or PAGE_DEFAULT, PAGE_MAX)
