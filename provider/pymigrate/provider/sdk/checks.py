"""What a value must look like, told before anything is asked of an engine. Attributes are given their checks by their path.

A check says what is wrong with one known value, and nothing where it is right. That of a list or a map of texts looks at each element.
"""

import re
from collections.abc import Callable
from decimal import Decimal

Check = Callable[[object], str]
# A parameter of an environment: what the text becomes with its value is checked by the engine, where the parameter has one.
_PLACE = re.compile(r"\$\{[a-z][a-z0-9_-]*\}")


def matches(pattern: str, described: str) -> Check:
    """A text of a pattern, or one with parameters in it; `described` goes on after "must be"."""
    compiled = re.compile(pattern)

    def check(value: object) -> str:
        is_right = isinstance(value, str) and (compiled.fullmatch(value) or _PLACE.search(value))
        return "" if is_right else f"`{value}` must be {described}"

    return check


def one_of(*words: str) -> Check:
    """One of a few words."""
    return lambda value: "" if value in words else f"`{value}` must be one of {', '.join(words)}"


def at_least(least: float, *, or_zero: bool = False) -> Check:
    """A number from `least` on; 0 too where that says something of its own."""

    def check(value: object) -> str:
        if not isinstance(value, int | float | Decimal) or value >= least or (or_zero and value == 0):
            return ""
        return f"{value:g} must be at least {least:g}{', or 0' if or_zero else ''}"

    return check


def between(least: float, most: float) -> Check:
    """A number from `least` to `most`."""

    def check(value: object) -> str:
        is_right = not isinstance(value, int | float | Decimal) or least <= value <= most
        return "" if is_right else f"{value:g} must be {least:g} to {most:,.0f}"

    return check


def hidden(pattern: str, described: str) -> Check:
    """A text of a pattern that is never shown: it may be a secret that was written by mistake."""
    inner = matches(pattern, described)
    return lambda value: f"must be {described}" if inner(value) else ""
