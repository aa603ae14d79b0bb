"""A secret's text as values by key: the whole text, and where it is a JSON object the texts and numbers in it."""

import json

from pymigrate.engine.ports.secrets import Secret


def values_of(text: str, version: str = "") -> dict[str, Secret]:
    """The whole text under the empty key, without a newline at its end, and each text or number under its own, as it is written."""
    values = {"": Secret(text.removesuffix("\n").removesuffix("\r"), version)}
    if not text.lstrip().startswith("{"):
        return values
    try:
        document = json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_Number)
    except (ValueError, RecursionError):
        return values
    return {
        key: Secret(str(value), version) for key, value in document.items() if isinstance(value, str) and key
    } | values


class _Number(str):
    """A number as it is written."""

    __slots__ = ()
