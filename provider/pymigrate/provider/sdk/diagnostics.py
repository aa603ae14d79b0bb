"""Errors and warnings at the attribute that they are about, and the way from an engine's field to that attribute."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from tf.gen import tfplugin_pb2 as pb
from tf.utils import Diagnostics

from pymigrate.provider.sdk.schema import Attribute, Nesting

log = logging.getLogger("pymigrate.provider")

T = TypeVar("T")
Step = str | tuple[str] | tuple[int]
Path = Sequence[
    Step
]  # `("datasets", ("flights",), "source")`: an attribute's name, or in a tuple a map's key or a list's index
# A name, a quoted key, an index: the parts of `datasets["flights"].columns[2].name`.
_PARTS = re.compile(r'\[\s*"((?:[^"\\]|\\.)*)"\s*\]|\[([^\]"]*)\]|([^.\[\]]+)')


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
    diagnostics.add_error(error.summary, _detail(error.detail, error.path), path=shown(error.path) or None)


def add_warning(diagnostics: Diagnostics, warning: Refused) -> None:
    """Adds a warning in the words of what would be an error."""
    diagnostics.add_warning(warning.summary, _detail(warning.detail, warning.path), path=shown(warning.path) or None)


def guarded(diagnostics: Diagnostics, work: Callable[[], T]) -> T | None:
    """Does the work; what it raises becomes diagnostics, and None comes back."""
    try:
        return work()
    except ManyRefused as many:
        for error in many.errors:
            add(diagnostics, error)
    except Refused as error:
        add(diagnostics, error)
    except Exception as error:  # the edge: a raw gRPC error would leave orphans
        log.error("call failed", exc_info=error)
        diagnostics.add_error(
            "The provider failed", f"{type(error).__name__}: {error}. TF_LOG_PROVIDER=ERROR shows more."
        )
    return None


def attribute_path(field: str, attributes: Mapping[str, Attribute]) -> list[Step]:
    """The attribute that a field such as `datasets.flights.key` or `datasets["flights"].key` means: the longest part of it that
    the schema has. What the field begins with may be the object itself (`phase.datasets`); names may be in lowerCamelCase."""
    parts = _parts(field)
    if len(parts) > 1 and _snake(parts[0]) not in attributes and _snake(parts[1]) in attributes:
        parts = parts[1:]
    path: list[Step] = []
    while parts and (attribute := attributes.get(_snake(parts[0]))):
        path.append(attribute.name)
        parts = parts[1:]
        if not attribute.nested:
            break
        if attribute.nesting is not Nesting.SINGLE:
            is_index = attribute.nesting is Nesting.LIST
            if not parts or (is_index and not parts[0].isdecimal()):
                break
            path.append((int(parts[0]),) if is_index else (parts[0],))
            parts = parts[1:]
        attributes = attribute.nested
    return path


def to_path(path: Path) -> pb.AttributePath:
    """A path on the wire."""
    message = pb.AttributePath()
    for step in path:
        element: Any = step[0] if isinstance(step, tuple) else None
        if isinstance(element, int):
            message.steps.add(element_key_int=element)
        elif isinstance(element, str):
            message.steps.add(element_key_string=element)
        else:
            message.steps.add(attribute_name=str(step))
    return message


def written(path: Path) -> str:
    """A path as it is written in HCL: `datasets["flights"].source.connection`."""
    text = ""
    for step in path:
        if isinstance(step, tuple):
            text += f"[{step[0]}]" if isinstance(step[0], int) else f'["{step[0]}"]'
        else:
            text += f".{step}" if text else step
    return text


def shown(path: Path) -> list[Step]:
    """What of a path Terraform can point at: an attribute, or one element of it. A longer path it shows nowhere."""
    return list(path[: 2 if len(path) > 1 and isinstance(path[1], tuple) else 1])


def _detail(detail: str, path: Path) -> str:
    """The detail, with the whole path where Terraform points at a part of it only."""
    if len(shown(path)) == len(path):
        return detail
    return f"{written(path)}: {detail}" if detail else written(path)


def _parts(field: str) -> list[str]:
    return [
        re.sub(r"\\(.)", r"\1", quoted) if quoted else index.strip() or name
        for quoted, index, name in _PARTS.findall(field)
    ]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])[A-Z]", lambda found: f"_{found[0]}", name).lower()
