"""Refuses definitions that hold a secret where a reference belongs, whatever the field, and repeats none of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.literal_secrets import secret_in
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secrets import Secret

# Whose entries are called by what they hold; labels and columns are called as their author likes.
TELLING = frozenset({"fields", "headers", "options", "parameters", "secret_headers", "settings", "values"})
OWN = frozenset({"name", "uid", "etag", "plan_hash", "definition_hash"})


@dataclass(frozen=True, slots=True)
class _Text:
    """A text of a message: where it is, and the name that its author gave it in a map, if any."""

    path: str
    value: str
    name: str = ""


def without_literals(message: Message, found: Iterable[Problem], path: str = "") -> tuple[Problem, ...]:
    """The problems that were found of a message and one for every text in it that looks like a secret, none of them with the secret."""
    problems, hidden = list(found), Redactor()
    literals = [(text, noun) for text in _texts(message, path) if (noun := secret_in(text.value, text.name))]
    if not literals:
        return tuple(problems)
    for text, _ in literals:
        hidden.note(Secret(text.value))
    told = {problem.field for problem in problems}
    problems += [
        Problem(
            text.path,
            f"holds what looks like {noun}: write a reference in its place, env://NAME or file:///path, or leave it out, and replace the "
            "secret, since it was sent in the clear; if it is none, put a blank into it or word it otherwise",
        )
        for text, noun in literals
        if text.path not in told
    ]
    return tuple(
        replace(problem, field=hidden.clean(problem.field), description=hidden.clean(problem.description))
        for problem in problems
    )


def _texts(message: Message, path: str) -> Iterator[_Text]:
    """Every text at any depth, map keys too; what the engine itself sets is left out."""
    waiting = [(path, message)]
    while waiting:
        place, held = waiting.pop()
        for field, value in held.ListFields():
            if not place and field.name in OWN:
                continue
            within = f"{place}.{field.name}" if place else field.name
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                yield from _entries(within, field, value, waiting)
            elif field.message_type is not None:
                waiting += _parts(within, field, value)
            elif field.type == FieldDescriptor.TYPE_STRING:
                yield from (_Text(*part) for part in _parts(within, field, value))


def _parts(within: str, field: FieldDescriptor, value: Any) -> list[tuple[str, Any]]:
    """The values of a field, each with its path."""
    if field.label != FieldDescriptor.LABEL_REPEATED:
        return [(within, value)]
    return [(f"{within}[{at}]", part) for at, part in enumerate(value)]


def _entries(
    within: str, field: FieldDescriptor, value: Mapping[Any, Any], waiting: list[tuple[str, Message]]
) -> Iterator[_Text]:
    """The keys and values of a map; messages among them are put among those that wait."""
    for key, part in sorted(value.items()):
        if isinstance(key, str):
            yield _Text(within, key)
        if isinstance(part, Message):
            waiting.append((f"{within}.{key}", part))
        elif isinstance(part, str):
            yield _Text(f"{within}.{key}", part, str(key) if field.name in TELLING else "")
