"""Messages of the contract as chance has them, within what a schema says of their values: as full, as deep and as odd as they may be."""

import random
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

TEXTS = (
    "a",
    "sales-2",
    "${host}",
    'O\'Brien "x"',
    "zwei\nZeilen",
    "Größe",
    "漢字",
    "😀",
    "null",
    "true",
    "1",
    " ",
    "*",
)
IDS = ("p", "warehouse", "a1_b-c", "0f" * 32, "c3" * 32, "True", "False", "environment")
NEEDED = frozenset({"Connection.system", "SecretBackend.backend", "VaultBackend.login", "Transform.kind", "CatchUp.by"})
"""Oneofs of which exactly one must be set; others may be unset."""
MEMBERS_MAX = 3
SHARE_SET = 0.6
TEXT_CHARACTERS_MAX = 40
YEAR_1_SECONDS, YEAR_10000_SECONDS = -62_135_596_800, 253_402_300_800


class RandomMessages:
    """Fills messages. By message, `merged`: the fields by which items of a list are told apart; `unset`: fields that are left out."""

    def __init__(
        self, rng: random.Random, merged: Mapping[str, Sequence[str]], unset: Mapping[str, Collection[str]]
    ) -> None:
        self._rng = rng
        self._merged = merged
        self._unset = unset

    def fill(self, message: Message, schema: Mapping[str, Any]) -> None:
        """Sets some of its fields, of every oneof at most one."""
        needed = schema.get("required", ())
        for field in self._fields(message):
            oneof = field.containing_oneof
            is_needed = field.camelcase_name in needed or (
                oneof and f"{message.DESCRIPTOR.name}.{oneof.name}" in NEEDED
            )
            if is_needed or self._rng.random() < SHARE_SET:
                self._set(message, field, schema["properties"][field.camelcase_name])

    def _fields(self, message: Message) -> list[FieldDescriptor]:
        chosen = {oneof.name: self._rng.choice(list(oneof.fields)) for oneof in message.DESCRIPTOR.oneofs}
        unset = self._unset.get(message.DESCRIPTOR.name, ())
        return [
            field
            for field in message.DESCRIPTOR.fields
            if field.name not in unset
            and (field.containing_oneof is None or chosen[field.containing_oneof.name] is field)
        ]

    def _set(self, message: Message, field: FieldDescriptor, schema: Mapping[str, Any]) -> None:
        target = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            value_field = field.message_type.fields_by_name["value"]
            for _ in range(self._rng.randint(1, min(MEMBERS_MAX, schema.get("maxProperties", MEMBERS_MAX)))):
                if value_field.message_type is not None:
                    self.fill(target[self._text()], schema["additionalProperties"])
                else:
                    target[self._text()] = self._value(value_field, schema["additionalProperties"])
        elif field.label == FieldDescriptor.LABEL_REPEATED:
            for _ in range(self._rng.randint(1, min(MEMBERS_MAX, schema.get("maxItems", MEMBERS_MAX)))):
                if field.message_type is not None:
                    self.fill(target.add(), schema["items"])
                else:
                    target.append(self._value(field, schema["items"]))
            self._drop_twins(target, field)
        elif isinstance(target, Timestamp):
            target.seconds = self._rng.randint(YEAR_1_SECONDS, YEAR_10000_SECONDS - 1)
            target.nanos = self._rng.choice((0, 5_000_000, 123_456_789))
        elif field.message_type is not None:
            target.SetInParent()
            self.fill(target, schema)
        else:
            setattr(message, field.name, self._value(field, schema))

    def _value(self, field: FieldDescriptor, schema: Mapping[str, Any]) -> Any:
        if field.enum_type is not None:
            return self._rng.choice([value.number for value in field.enum_type.values if value.number])
        least, most = schema.get("minimum"), schema.get("maximum")
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_INT32:
                return self._rng.randint(-(2**31) if least is None else least, 2**31 - 1 if most is None else most)
            case FieldDescriptor.CPPTYPE_INT64:
                return self._rng.randint(-(2**63) if least is None else least, 2**63 - 1 if most is None else most)
            case FieldDescriptor.CPPTYPE_DOUBLE:
                free = self._rng.choice((0.05, 3.0, -1.5, sys.float_info.max, 1e-300, 2.0**60))
                return free if least is None or most is None else self._rng.uniform(least, most)
            case FieldDescriptor.CPPTYPE_BOOL:
                return True
        if "enum" in schema or "pattern" in schema:
            fitting = [text for text in IDS if re.search(schema.get("pattern", ""), text)]
            return self._rng.choice([text for text in fitting if text in schema.get("enum", fitting)])
        return self._text(min(TEXT_CHARACTERS_MAX, schema.get("maxLength", TEXT_CHARACTERS_MAX)))

    def _text(self, characters_max: int = TEXT_CHARACTERS_MAX) -> str:
        return "".join(self._rng.choices(TEXTS, k=self._rng.randint(1, 3)))[:characters_max]

    def _drop_twins(self, target: Any, field: FieldDescriptor) -> None:
        keys = self._merged.get(field.message_type.name) if field.message_type is not None else None
        if keys:
            first = {tuple(getattr(item, key) for key in keys): item for item in reversed(target)}
            kept = [type(item).FromString(item.SerializeToString()) for item in first.values()]
            del target[:]
            target.extend(kept)
