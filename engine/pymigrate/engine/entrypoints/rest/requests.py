"""A request of the contract from an HTTP request: the path's variables, the query, the JSON body, and the headers that stand for fields."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from pymigrate.engine.application.kind import OUTPUT_ONLY
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.entrypoints.rest.bindings import WHOLE_BODY, Binding
from pymigrate.engine.entrypoints.rest.headers import apply_headers
from pymigrate.engine.entrypoints.rest.problems import Refused
from pymigrate.v1.shape import ShapeError, from_data

MEDIA_TYPES = ("application/json", "application/merge-patch+json")
MASK = "update_mask"
DEPTH_MAX = 100
TRUTHS = {"true": True, "false": False}
_CAPITAL = re.compile(r"[A-Z]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Given:
    """What came over the wire: the path's variables by field, the query's pairs, the headers by lower-case name, the body."""

    variables: Mapping[str, str]
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes = b""


def read_request(binding: Binding, given: Given) -> Message:
    """The request. Raises InvalidDefinition that names the field, the parameter or the header; Refused (415) for a body of another type."""
    request = binding.new_request()
    data = _read_body(binding, given)
    try:
        if binding.body == WHOLE_BODY:
            from_data(data, request)
        elif binding.body:
            body = getattr(request, binding.body)
            body.SetInParent()
            from_data(data, body)
        from_data(_read_query(binding, given.query, request), request)
    except ShapeError as error:
        prefix = binding.body if binding.body != WHOLE_BODY else ""
        place = ".".join(filter(None, (prefix, error.path)))
        raise _invalid(place or "body", error.description) from error
    for path, value in given.variables.items():
        _bind(request, path, value)
    _complete_mask(binding, data, request)
    apply_headers(binding, given.headers, request)
    return request


def _read_body(binding: Binding, given: Given) -> dict[str, Any]:
    if not given.body:
        return {}
    if not binding.body:
        raise _invalid("body", "this call takes none: everything is in the path and the query")
    media_type, _, parameters = given.headers.get("content-type", "").lower().partition(";")
    charset = parameters.partition("charset=")[2].strip(' "') or "utf-8"
    if media_type.strip() not in MEDIA_TYPES or charset != "utf-8" or "content-encoding" in given.headers:
        accepted = ", ".join(MEDIA_TYPES)
        message = f"a body is plain JSON in UTF-8: send `content-type: {MEDIA_TYPES[0]}` and no content-encoding"
        raise Refused(415, "UNSUPPORTED_MEDIA_TYPE", message, {"accept": accepted})
    try:
        data = orjson.loads(given.body)
    except orjson.JSONDecodeError as error:
        raise _invalid("body", f"is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise _invalid("body", "must be a map of fields")
    if _is_deeper(data, DEPTH_MAX):
        raise _invalid("body", f"is nested more than {DEPTH_MAX} deep")
    return data


def _is_deeper(data: Any, depth_max: int) -> bool:
    """Whether maps and lists stand in each other more than so many times."""
    level = [data]
    for _ in range(depth_max):
        level = [
            child
            for each in level
            for child in (each.values() if isinstance(each, dict) else each)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _read_query(binding: Binding, query: Sequence[tuple[str, str]], request: Message) -> dict[str, Any]:
    """The query as plain data; a field mask goes into the request at once."""
    fields = binding.query_fields()
    names = {field.camelcase_name: field for field in fields.values()} | fields
    data: dict[str, Any] = {}
    for name, text in query:
        if name not in names:
            raise _invalid(name, _unknown(binding, name, names))
        if _CONTROL.search(text):
            raise _invalid(name, "must not hold control characters")
        field = names[name]
        if field.label == FieldDescriptor.LABEL_REPEATED:
            data.setdefault(field.name, []).append(_value(field, text))
        elif field.name in data:
            raise _invalid(name, "is given twice")
        elif field.message_type is FieldMask.DESCRIPTOR:
            getattr(request, field.name).paths.extend(map(_snake, filter(None, text.split(","))))
        else:
            data[field.name] = _value(field, text)
    return data


def _unknown(binding: Binding, name: str, names: Mapping[str, FieldDescriptor]) -> str:
    known = {spelling for field in binding.input.fields for spelling in (field.name, field.camelcase_name)}
    if name in known:
        return "belongs into the body" if binding.body == WHOLE_BODY else "is given by the path or the body"
    return f"there is no such parameter{nearest(name, sorted({field.camelcase_name for field in names.values()}))}"


def _value(field: FieldDescriptor, text: str) -> Any:
    """The text as the kind of value that the one shape wants for the field; what is none stays as it is and is refused there."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return TRUTHS.get(text, text)
    if field.cpp_type in {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}:
        try:
            return float(text)
        except ValueError:
            return text
    return text


def _bind(request: Message, path: str, value: str) -> None:
    *outer, last = path.split(".")
    target = request
    for name in outer:
        target = getattr(target, name)
    stands = getattr(target, last)
    if stands not in {"", value}:
        raise _invalid(path, f"is `{stands}` in the body, and `{value}` in the path")
    setattr(target, last, value)


def _complete_mask(binding: Binding, data: Mapping[str, Any], request: Any) -> None:
    """A PATCH without a mask changes the fields that its body names, those that it sets to null among them (RFC 7396)."""
    if binding.http_method != "PATCH" or MASK not in binding.input.fields_by_name or request.update_mask.paths:
        return
    named = list(dict.fromkeys(map(_snake, data)))
    paths = [name for name in named if name not in OUTPUT_ONLY]
    if not paths:
        raise _invalid("body", "names no field to change: put one in, or say which by updateMask (`*`: all of them)")
    request.update_mask.paths.extend(paths)


def _snake(name: str) -> str:
    return _CAPITAL.sub(lambda capital: f"_{capital[0].lower()}", name)


def _invalid(field: str, description: str) -> InvalidDefinition:
    return InvalidDefinition((Problem(field, description),))
