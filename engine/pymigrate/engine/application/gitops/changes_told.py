"""How an object differs from what a file says, field by field: paths as overrides write them, values as JSON in the one shape."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from pymigrate.engine.application.kind import OUTPUT_ONLY
from pymigrate.engine.application.overlaying import Path, is_map, join_path
from pymigrate.v1 import definition_pb2
from pymigrate.v1.shape import to_json_data


def field_changes(
    before: Message, after: Message, skipped: frozenset[str] = OUTPUT_ONLY, path: Path = ()
) -> Iterator[definition_pb2.FieldChange]:
    """Every field that differs between two messages of a kind, in the order of their fields. Messages are looked into, lists are told
    whole. `skipped` are left out at the top; `path` is where both lie."""
    waiting: list[tuple[Any, Any, Path]] = [(before, after, path)]
    while waiting:
        old, new, place = waiting.pop()
        below: list[tuple[Any, Any, Path]] = []
        for field in old.DESCRIPTOR.fields:
            if place == path and field.name in skipped:
                continue
            if getattr(old, field.name) == getattr(new, field.name) and _has(old, field) == _has(new, field):
                continue
            at = (*place, field.name)
            if is_map(field):
                yield from _entries(old, new, field, at, below)
            elif _is_message(field) and _has(old, field) and _has(new, field):
                below.append((getattr(old, field.name), getattr(new, field.name), at))
            else:
                yield _change(at, _value(old, field), _value(new, field))
        waiting += reversed(below)


def whole(path: Path, before: Message | None, after: Message | None) -> definition_pb2.FieldChange:
    """A message that was added or taken away at a path."""
    return _change(path, *("" if each is None else _json(to_json_data(each)) for each in (before, after)))


def _entries(
    old: Any, new: Any, field: FieldDescriptor, path: Path, below: list[tuple[Any, Any, Path]]
) -> Iterator[definition_pb2.FieldChange]:
    """The entries of a map that differ; messages on both sides are put among those that wait."""
    before, after = getattr(old, field.name), getattr(new, field.name)
    is_looked_into = _is_message(field.message_type.fields_by_name["value"])
    for key in sorted({*before, *after}):
        if key in before and key in after:
            if before[key] == after[key]:
                continue
            if is_looked_into:
                below.append((before[key], after[key], (*path, key)))
                continue
        yield _change((*path, key), _entry(old, field, before, key), _entry(new, field, after, key))


def _is_message(field: FieldDescriptor) -> bool:
    is_one = field.label != FieldDescriptor.LABEL_REPEATED
    return is_one and field.message_type is not None and field.message_type is not Timestamp.DESCRIPTOR


def _has(message: Any, field: FieldDescriptor) -> bool:
    return bool(message.HasField(field.name)) if field.has_presence else bool(getattr(message, field.name))


def _value(message: Any, field: FieldDescriptor) -> str:
    """What a field holds, as JSON; empty: nothing."""
    if not _has(message, field):
        return ""
    alone = type(message)()
    held = getattr(message, field.name)
    if field.label == FieldDescriptor.LABEL_REPEATED:
        getattr(alone, field.name).extend(held)
    elif field.message_type is not None:
        getattr(alone, field.name).CopyFrom(held)
    else:
        setattr(alone, field.name, held)
    return _json(next(iter(to_json_data(alone).values())))


def _entry(message: Any, field: FieldDescriptor, entries: Mapping[str, Any], key: str) -> str:
    if key not in entries:
        return ""
    alone = type(message)()
    held = getattr(alone, field.name)
    if field.message_type.fields_by_name["value"].message_type is not None:
        held[key].CopyFrom(entries[key])
    else:
        held[key] = entries[key]
    return _json(next(iter(to_json_data(alone).values()))[key])


def _change(path: Path, before: str, after: str) -> definition_pb2.FieldChange:
    return definition_pb2.FieldChange(path=join_path(path), before=before, after=after)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
