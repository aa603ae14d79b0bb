"""Headers that stand for fields of the contract: If-Match for `etag` (RFC 9110), Idempotency-Key for `request_id`, Last-Event-ID for
`resume_token`. A precondition that a call does not have is refused, since nothing would hold it."""

import re
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.entrypoints.rest.bindings import WHOLE_BODY, Binding

ETAG = "etag"
IDEMPOTENCY_KEY = "idempotency-key"
IF_MATCH = "if-match"
IF_NONE_MATCH = "if-none-match"
LAST_EVENT_ID = "last-event-id"
FIELDS = {IDEMPOTENCY_KEY: "request_id", LAST_EVENT_ID: "resume_token"}
_STRONG = re.compile(r'"([\x21\x23-\x7e]*)"')
_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e]*)"')


def apply_headers(binding: Binding, headers: Mapping[str, str], request: Message) -> None:
    """Puts what the headers say into the request. Raises InvalidDefinition that names the header."""
    for header, field in FIELDS.items():
        if field in binding.input.fields_by_name and (value := headers.get(header, "").strip()):
            _put(request, field, value.removeprefix('"').removesuffix('"'), header)
    given = headers.get(IF_MATCH, "").strip()
    if not given or given == "*":
        return
    holder = etag_holder(binding, request)
    if holder is None:
        raise _invalid(IF_MATCH, "can't be held by this call, which has no etag: leave it out")
    strong = _STRONG.fullmatch(given)
    if strong is None:
        raise _invalid(IF_MATCH, 'must be one strong entity tag, as the ETag header gave it: `"..."`, or `*`')
    _put(holder, ETAG, strong[1], IF_MATCH)


def takes_etag(binding: Binding) -> bool:
    """Whether the call holds a precondition."""
    return etag_holder(binding, binding.new_request()) is not None


def etag_holder(binding: Binding, request: Message) -> Message | None:
    """What holds the etag of a request: itself, or the object that its body changes. A new object's has no meaning."""
    if ETAG in binding.input.fields_by_name:
        return request
    field = binding.input.fields_by_name.get(binding.body) if binding.http_method == "PATCH" else None
    if field is None or binding.body == WHOLE_BODY or ETAG not in field.message_type.fields_by_name:
        return None
    held: Message = getattr(request, field.name)
    return held


def etag_of(answer: Any) -> str:
    """The ETag header of an answer; empty where it has no etag."""
    has_etag = ETAG in answer.DESCRIPTOR.fields_by_name and answer.etag
    return f'"{answer.etag}"' if has_etag else ""


def is_known(headers: Mapping[str, str], etag: str) -> bool:
    """Whether If-None-Match names the state that an answer has."""
    given = headers.get(IF_NONE_MATCH, "").strip()
    return bool(etag) and (given == "*" or etag.strip('"') in _TAG.findall(given))


def _put(message: Any, field: str, value: str, header: str) -> None:
    if not value.isprintable():
        raise _invalid(header, "must not hold control characters")
    if getattr(message, field) not in {"", value}:
        raise _invalid(header, f"says something else than {field} does: give one of them")
    setattr(message, field, value)


def _invalid(field: str, description: str) -> InvalidDefinition:
    return InvalidDefinition((Problem(field, description),))
