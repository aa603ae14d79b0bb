"""Parameters in texts: `${name}` stands for a value and `$${` for `${`. Nothing else is evaluated: there is no code, no loop and no second
look at what was put in."""

import re
from collections.abc import Callable, Iterator

TEXT_CHARACTERS_MAX = 1_000_000
_PLACE = re.compile(r"\$\$\{|\$\{(?P<name>[^{}$\s]*)(?P<end>\})?")
_NAME = re.compile(r"[a-z](?:[a-z0-9_-]{0,61}[a-z0-9])?")


class Malformed(ValueError):
    """A text that can't be read, or that would become too long."""


def has_places(text: str) -> bool:
    """Whether anything in the text is to be read."""
    return "${" in text


def names_in(text: str) -> tuple[str, ...]:
    """The parameters that a text refers to, each once, in their order. Raises Malformed."""
    return tuple(dict.fromkeys(name for name, _ in _pieces(text) if name))


def sole_name(text: str) -> str:
    """The parameter that is the whole text; empty where the text is anything else."""
    found = _PLACE.fullmatch(text)
    return found["name"] or "" if found and found["end"] and _NAME.fullmatch(found["name"]) else ""


def interpolate(text: str, value_of: Callable[[str], str]) -> str:
    """The text with the values in their places. Raises Malformed, and whatever `value_of` raises."""
    if "${" not in text:
        return text
    parts: list[str] = []
    characters = 0
    for name, plain in _pieces(text):
        part = value_of(name) if name else plain
        characters += len(part)
        if characters > TEXT_CHARACTERS_MAX:
            raise Malformed(f"becomes longer than {TEXT_CHARACTERS_MAX:,} characters")
        parts.append(part)
    return "".join(parts)


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """The text in its order, as the name of a parameter or as what stands there plainly."""
    at = 0
    for found in _PLACE.finditer(text):
        yield "", text[at : found.start()]
        at = found.end()
        if found.group() == "$${":
            yield "", "${"
            continue
        name = found["name"] or ""
        if not found["end"]:
            raise Malformed(
                f"`{found.group()[:40]}` does not end with `}}`; for the characters themselves write `$${{`"
            )
        if not _NAME.fullmatch(name):
            raise Malformed(
                f"`{found.group()[:70]}` names no parameter: nothing but a name may stand in it; for the characters themselves"
                " write `$${`"
            )
        yield name, ""
    yield "", text[at:]
