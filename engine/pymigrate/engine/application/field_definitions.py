"""What may be declared in the fields that many resources share: names, texts, labels and numbers."""

import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from google.protobuf.message import Message

from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import ID_RULE, is_id

DISPLAY_NAME_MAX = 200
DESCRIPTION_MAX = 2_000
LABELS_MAX = 64
LABEL_NAME_MAX = 64
LABEL_VALUE_MAX = 256
LANES_MAX = 10_000
# Controls, line and paragraph separators, and halves of characters that no message can carry.
_ENDS_LINES = frozenset({"Cc", "Zl", "Zp", "Cs"})


def text_problems(message: Message) -> Iterator[Problem]:
    """Problems of the display name, the description and the labels."""
    fields = message.DESCRIPTOR.fields_by_name
    if "display_name" in fields:
        yield from length_problems("display_name", getattr(message, "display_name"), DISPLAY_NAME_MAX)  # noqa: B009 (by descriptor)
    if "description" in fields:
        yield from length_problems("description", getattr(message, "description"), DESCRIPTION_MAX)  # noqa: B009 (by descriptor)
    labels: Mapping[str, str] = getattr(message, "labels", {})
    if len(labels) > LABELS_MAX:
        yield Problem("labels", f"has at most {LABELS_MAX} entries")
    for name, value in sorted(labels.items()):
        if not 0 < len(name) <= LABEL_NAME_MAX or len(value) > LABEL_VALUE_MAX:
            yield Problem(
                f"labels.{name}",
                f"a label has a name of 1 to {LABEL_NAME_MAX} and a value of at most {LABEL_VALUE_MAX} characters",
            )


def id_problems(path: str, name: str) -> Iterator[Problem]:
    """Problems of a name that others refer to."""
    if not is_id(name):
        yield Problem(path, f"`{name}` is no name: use {ID_RULE}")


def length_problems(path: str, value: str, characters_max: int) -> Iterator[Problem]:
    """Problems of a text's length, in characters."""
    if len(value) > characters_max:
        yield Problem(path, f"has at most {characters_max:,} characters")


def range_problems(path: str, value: int, least: int, most: int) -> Iterator[Problem]:
    """Problems of a number, from the least to the most."""
    if not least <= value <= most:
        yield Problem(path, f"must be {least:,} to {most:,}")


def number_problems(path: str, value: float, least: float, most: float, unset: str = "") -> Iterator[Problem]:
    """Problems of a number that may have a fraction, from the least to the most. `unset` says what 0 means where it is allowed besides."""
    if math.isfinite(value) and (least <= value <= most or (unset and value == 0)):
        return
    yield Problem(path, f"must be {least:,.10g} to {most:,.10g}{f', or 0 for {unset}' if unset else ''}")


def line_problems(path: str, value: str, characters_max: int) -> Iterator[Problem]:
    """Problems of a text that is told on one line, and may become the header of a message: nothing in it may end the line."""
    yield from length_problems(path, value, characters_max)
    if not is_line(value):
        yield Problem(path, "must be one line, without line breaks and control characters")


def is_line(text: str) -> bool:
    """Whether the text has neither line breaks nor control characters, of whatever kind."""
    return not any(unicodedata.category(character) in _ENDS_LINES for character in text)


def names_problems(path: str, names: Sequence[str], entries_max: int) -> Iterator[Problem]:
    """Problems of a list of names: each is one, and there once."""
    if len(names) > entries_max:
        yield Problem(path, f"has at most {entries_max:,} entries")
    if len(set(names)) < len(names):
        yield Problem(path, "names one twice")
    for name in names:
        yield from id_problems(path, name)
