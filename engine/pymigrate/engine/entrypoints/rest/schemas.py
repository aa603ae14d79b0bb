"""JSON schemas of the contract's messages in the one shape: as components of the OpenAPI document, and what other schemas add to them."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from pymigrate.v1.shape import NUMBER_WORDS, enum_words

PACKAGE = "pymigrate.v1."
_SCALARS: Mapping[int, dict[str, Any]] = {
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_INT64: {"type": "integer", "format": "int64"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    FieldDescriptor.CPPTYPE_UINT64: {"type": "integer", "minimum": 0},
    FieldDescriptor.CPPTYPE_DOUBLE: {"anyOf": [{"type": "number"}, {"enum": list(NUMBER_WORDS)}]},
    FieldDescriptor.CPPTYPE_FLOAT: {"anyOf": [{"type": "number"}, {"enum": list(NUMBER_WORDS)}]},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
}


class Schemas:
    """The schemas of the messages that were asked for, with those that they hold."""

    within = "#/components/schemas/"
    """Where the document holds them."""

    def __init__(self, comments: Mapping[str, str]) -> None:
        self.comments = comments
        self._wanted: dict[str, Descriptor] = {}

    def reference(self, message: Descriptor) -> dict[str, Any]:
        """A reference to a message's schema, which the document will hold."""
        name = component(message)
        self._wanted[name] = message
        return {"$ref": f"{self.within}{name}"}

    def components(self) -> dict[str, Any]:
        """Every schema that is referred to, by name."""
        made: dict[str, Any] = {}
        while waiting := [name for name in self._wanted if name not in made]:
            for name in waiting:
                made[name] = self.message(self._wanted[name])
        return dict(sorted(made.items()))

    def field(self, field: FieldDescriptor) -> dict[str, Any]:
        """The schema of a field with its comment."""
        schema = self._shape(field)
        text = self.comments.get(field.full_name, "")
        oneof = field.containing_oneof
        if oneof is not None and len(oneof.fields) > 1:
            others = ", ".join(other.camelcase_name for other in oneof.fields if other.name != field.name)
            text = f"{text} Excludes {others}.".strip()
        return {**schema, "description": text} if text else schema

    def message(self, message: Descriptor) -> dict[str, Any]:
        """The schema of a message."""
        schema: dict[str, Any] = {"type": "object"}
        if text := self.comments.get(message.full_name):
            schema["description"] = text
        if message.fields:
            schema["properties"] = {field.camelcase_name: self.field(field) for field in self.fields(message)}
        return schema

    def fields(self, message: Descriptor) -> Sequence[FieldDescriptor]:
        """The fields that a message may have."""
        return list(message.fields)

    def _shape(self, field: FieldDescriptor) -> dict[str, Any]:
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            return {"type": "object", "additionalProperties": self._single(message.fields_by_name["value"])}
        if field.label == FieldDescriptor.LABEL_REPEATED:
            return {"type": "array", "items": self._single(field)}
        return self._single(field)

    def _single(self, field: FieldDescriptor) -> dict[str, Any]:
        if field.enum_type is not None:
            return self._enum(field.enum_type)
        if field.message_type is None:
            is_bytes = field.type == FieldDescriptor.TYPE_BYTES
            return {"type": "string", "contentEncoding": "base64"} if is_bytes else self.number_or_text(field)
        if field.message_type.full_name == Timestamp.DESCRIPTOR.full_name:
            return {"type": "string", "format": "date-time"}
        if field.message_type.full_name == FieldMask.DESCRIPTOR.full_name:
            return {"type": "string"}
        return self.reference(field.message_type)

    def number_or_text(self, field: FieldDescriptor) -> dict[str, Any]:
        """The schema of a single value that holds no others."""
        return dict(_SCALARS[field.cpp_type])

    def _enum(self, enum: EnumDescriptor) -> dict[str, Any]:
        return {"type": "string", "enum": list(enum_words(enum))}


def component(message: Descriptor) -> str:
    """The name of a message's schema: `Plan` for `pymigrate.v1.Plan`."""
    return str(message.full_name).removeprefix(PACKAGE)
