"""Answers of the contract as JSON in the one shape, and numbers that JSON does not have as the words that protobuf's JSON has for them."""

from typing import Any

import orjson
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pymigrate.v1.shape import to_json_data

PARTS_MIN = 50
PARTS_KEPT_MAX = 4_000
_Part = tuple[str, bytes]


def encoded(message: Message) -> bytes:
    """The message as JSON, on one line."""
    return orjson.dumps(to_json_data(message))


class Writer:
    """Writes answers that are asked for again and again: of long lists, such as the plans of a fleet, what has not changed since is not
    written anew. At most PARTS_KEPT_MAX entries are kept, those of the newest answers."""

    def __init__(self) -> None:
        self._kept: dict[_Part, bytes] = {}

    def encoded(self, message: Message) -> bytes:
        """The message as JSON, on one line: `encoded`, but for the order of its fields."""
        long = [field for field, value in message.ListFields() if _is_list(field) and len(value) >= PARTS_MIN]
        if not long:
            return encoded(message)
        others = type(message)()
        others.CopyFrom(message)
        for field in long:
            others.ClearField(field.name)
        data: dict[str, Any] = to_json_data(others)
        for field in long:
            name = field.message_type.full_name
            data[field.camelcase_name] = [self._part(name, part) for part in getattr(message, field.name)]
        return orjson.dumps(data)

    def _part(self, name: str, part: Message) -> orjson.Fragment:
        key = (name, part.SerializeToString(deterministic=True))
        written = self._kept.pop(key, None) or encoded(part)
        self._kept[key] = written  # the last of all
        if len(self._kept) > PARTS_KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        return orjson.Fragment(written)


def _is_list(field: FieldDescriptor) -> bool:
    """Whether a field is a list of messages, and no map."""
    is_many = field.label == FieldDescriptor.LABEL_REPEATED and field.message_type is not None
    return is_many and not field.message_type.GetOptions().map_entry
