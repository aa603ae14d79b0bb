"""JSON Schemas of definitions, so that editors complete and check them: each kind's envelope around its message, from the descriptors.

They refuse what the engine refuses where a schema can say so: fields that there are not or that only the engine sets, words, kinds of
values, fields that exclude one another, and bounds where the contract's comment gives them as a number. Keys are in lowerCamelCase. They
are in draft 7, which every editor knows.
"""

import itertools
import re
from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS, DefinitionKind
from pymigrate.engine.application.gitops.envelopes import API_VERSION
from pymigrate.engine.application.kind import OUTPUT_ONLY
from pymigrate.engine.application.kinds import PHASES
from pymigrate.engine.domain.names import ID_PATTERN, ID_RULE
from pymigrate.engine.entrypoints.rest.comments import contract_comments
from pymigrate.engine.entrypoints.rest.schemas import Schemas

ALL = "definition"
"""The name of the schema for documents of any kind."""
_DRAFT = "http://json-schema.org/draft-07/schema#"
INTEGERS = frozenset({FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64})
NATURALS = frozenset({FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64})
FLOATS = frozenset({FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT})
_RANGE = re.compile(r"(?<![\w-])(-?\d[\d,]*) to (\d[\d,]*)(?! [KMG]i?B)")
_CHARACTERS = re.compile(r"\b[Aa]t most (\d[\d,]*) characters\b")
_ITEMS = re.compile(r"\b[Aa]t most (\d[\d,]*)(?! characters| [kKMG]i?B)\b")
_NEVER = "-1: never"


def definition_schemas() -> Mapping[str, dict[str, Any]]:
    """Every schema by its name: each kind's word, and ALL."""
    return {word: kind_schema(word) for word in DEFINITION_KINDS} | {ALL: any_schema()}


def kind_schema(word: str) -> dict[str, Any]:
    """The schema of documents of one kind."""
    schemas = _DefinitionSchemas(contract_comments())
    envelope = _envelope(schemas, DEFINITION_KINDS[word])
    return {"$schema": _DRAFT, "title": word, **envelope, "definitions": schemas.components()}


def any_schema() -> dict[str, Any]:
    """The schema of documents of any kind."""
    schemas = _DefinitionSchemas(contract_comments())
    by_kind = [
        {
            "if": {"properties": {"kind": {"const": word}}, "required": ["kind"]},
            "then": _envelope(schemas, kind),
        }
        for word, kind in DEFINITION_KINDS.items()
    ]
    return {
        "$schema": _DRAFT,
        "title": "Definition",
        "description": "An object that PyMigrate is to have.",
        "type": "object",
        "properties": {"apiVersion": {"const": API_VERSION}, "kind": {"enum": list(DEFINITION_KINDS)}},
        "required": ["apiVersion", "kind", "metadata"],
        "allOf": by_kind,
        "definitions": schemas.components(),
    }


class _DefinitionSchemas(Schemas):
    within = "#/definitions/"

    def message(self, message: Descriptor) -> dict[str, Any]:
        schema = {**super().message(message), "additionalProperties": False}
        if pairs := _excluding(message):
            schema["not"] = {"anyOf": [{"required": pair} for pair in pairs]}
        return schema

    def fields(self, message: Descriptor) -> list[FieldDescriptor]:
        unset = engine_fields(message)
        return [field for field in message.fields if field.name not in unset]

    def field(self, field: FieldDescriptor) -> dict[str, Any]:
        return {**super().field(field), **bounds(field, self.comments.get(field.full_name, ""))}

    def number_or_text(self, field: FieldDescriptor) -> dict[str, Any]:
        """Whole numbers may be texts of digits, as some writers of JSON have those of 64 bits."""
        if field.cpp_type in INTEGERS:
            return {"type": ["integer", "string"], "pattern": "^-?[0-9]+$"}
        if field.cpp_type in NATURALS:
            return {"type": ["integer", "string"], "pattern": "^[0-9]+$", "minimum": 0}
        return {"type": "number"} if field.cpp_type in FLOATS else super().number_or_text(field)


def _envelope(schemas: Schemas, kind: DefinitionKind) -> dict[str, Any]:
    message = kind.kind.message().DESCRIPTOR
    return {
        "description": schemas.comments.get(message.full_name, ""),
        "type": "object",
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": kind.word},
            "metadata": _metadata(schemas, kind),
            "spec": schemas.reference(message),
        },
        "required": ["apiVersion", "kind", "metadata"],
        "additionalProperties": False,
    }


def _metadata(schemas: Schemas, kind: DefinitionKind) -> dict[str, Any]:
    segment = {"type": "string", "pattern": f"^{ID_PATTERN.pattern}$"}
    properties: dict[str, Any] = {"name": {**segment, "description": f"The last segment of its name: {ID_RULE}."}}
    if not kind.is_top:
        said = "The environment that it lies in. Without one it is that which files are read for."
        properties["environment"] = {**segment, "description": said}
    if labels := kind.kind.message().DESCRIPTOR.fields_by_name.get("labels"):
        properties["labels"] = schemas.field(labels)
    return {"type": "object", "properties": properties, "required": ["name"], "additionalProperties": False}


def engine_fields(message: Descriptor) -> frozenset[str]:
    """What no definition says of a message: what is the engine's to say, in objects with a life of their own."""
    for kind in (*(each.kind for each in DEFINITION_KINDS.values()), PHASES):
        if kind.message().DESCRIPTOR.full_name == message.full_name:
            return OUTPUT_ONLY | kind.output_only
    return frozenset()


def _excluding(message: Descriptor) -> list[list[str]]:
    """Pairs of fields of which only one may be set."""
    return [
        [first.camelcase_name, second.camelcase_name]
        for oneof in message.oneofs
        for first, second in itertools.combinations(oneof.fields, 2)
    ]


def bounds(field: FieldDescriptor, comment: str) -> dict[str, Any]:
    """The bounds that a comment gives as numbers. 0 is what is not set, so it is always allowed."""
    if field.label == FieldDescriptor.LABEL_REPEATED:
        found = _ITEMS.findall(comment)
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        return {"maxProperties" if is_map else "maxItems": _number(found[0])} if len(found) == 1 else {}
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        found = _CHARACTERS.findall(comment)
        return {"maxLength": _number(found[0])} if len(found) == 1 else {}
    ranges = _RANGE.findall(comment)
    if field.cpp_type not in INTEGERS | NATURALS | FLOATS or len(ranges) != 1:
        return {}
    least, most = map(_number, ranges[0])
    return {"minimum": min(least, -1 if _NEVER in comment else 0), "maximum": most}


def _number(digits: str) -> int:
    return int(digits.replace(",", "").rstrip(","))
