"""Errors and warnings at the attribute that they are about, and the way from an engine's field to that attribute."""

from collections.abc import Mapping, Sequence
from typing import Any

from tf.gen import tfplugin_pb2 as pb
from tf.utils import Diagnostics

from pymigrate.provider.sdk.schema import Attribute, Nesting

Path = Sequence[str | tuple[str] | tuple[int]]


class Refused(Exception):
    """An operation that can't be done. `path` leads to the attribute that causes it."""

    def __init__(self, summary: str, detail: str = "", path: Path = ()) -> None:
        super().__init__(f"{summary}: {detail}" if detail else summary)
        self.summary = summary
        self.detail = detail
        self.path = tuple(path)


class ManyRefused(Exception):
    """Several errors of one operation."""

    def __init__(self, errors: Sequence[Refused]) -> None:
        super().__init__("; ".join(map(str, errors)))
        self.errors = tuple(errors)


def add(diagnostics: Diagnostics, error: Refused) -> None:
    """Adds an error."""
    diagnostics.add_error(error.summary, error.detail, path=list(error.path) or None)


def attribute_path(field: str, attributes: Mapping[str, Attribute]) -> list[str | tuple[str]]:
    """The attribute that a dotted field such as `datasets.flights.key` means: the longest part of it that the schema has."""
    path: list[str | tuple[str]] = []
    words = field.replace("[", ".").replace("]", "").replace('"', "").split(".")
    while words and words[0] in attributes:
        attribute = attributes[words.pop(0)]
        path.append(attribute.name)
        if attribute.nested and attribute.nesting is Nesting.MAP and words:
            path.append((words.pop(0),))
        elif not attribute.nested:
            break
        attributes = attribute.nested
    return path


def to_path(path: Path) -> pb.AttributePath:
    """A path on the wire."""
    message = pb.AttributePath()
    for step in path:
        key: Any = step[0] if isinstance(step, tuple) else None
        if isinstance(key, int):
            message.steps.add(element_key_int=key)
        elif isinstance(key, str):
            message.steps.add(element_key_string=key)
        else:
            message.steps.add(attribute_name=str(step))
    return message
