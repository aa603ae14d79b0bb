"""Every answer that an operation of the OpenAPI document can give: what was asked for, and each problem by its status and headers."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from google.protobuf.empty_pb2 import Empty

from pymigrate.engine.entrypoints.rest import headers
from pymigrate.engine.entrypoints.rest.bindings import Binding
from pymigrate.engine.entrypoints.rest.lines import NDJSON, answers_in_lines
from pymigrate.engine.entrypoints.rest.problems import MEDIA_TYPE
from pymigrate.engine.entrypoints.rest.schemas import Schemas

JSON = "application/json"
# The contract has a message of the name `Problem`, which is another thing.
PROBLEM_COMPONENT = "ProblemDetails"
EVENTS = "text/event-stream"
_CHALLENGE = {"WWW-Authenticate": "`Bearer`."}
_RETRY = {"Retry-After": "After how many seconds to try again."}
_ACCEPT = {"Accept": "The media types that a body may have."}
# What is told of each status, and the headers that come with it.
PROBLEMS: dict[HTTPStatus, tuple[str, dict[str, str]]] = {
    HTTPStatus.BAD_REQUEST: ("A field, a parameter or a header is wrong.", {}),
    HTTPStatus.UNAUTHORIZED: ("There is no token, or another engine's.", _CHALLENGE),
    HTTPStatus.FORBIDDEN: ("Who calls is known, and may not do this.", {}),
    HTTPStatus.NOT_FOUND: ("No object has the name.", {}),
    HTTPStatus.CONFLICT: ("It exists already, its state does not allow it, or another side manages it.", {}),
    HTTPStatus.PRECONDITION_FAILED: ("It was changed since it was read.", {}),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("The body is too large.", {}),
    HTTPStatus.REQUEST_URI_TOO_LONG: ("The query is too long.", {}),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("The body is no JSON in UTF-8.", _ACCEPT),
    HTTPStatus.TOO_MANY_REQUESTS: ("Too many calls or streams are under way, or they come too often.", _RETRY),
    HTTPStatus.INTERNAL_SERVER_ERROR: ("The engine failed; its log tells more.", {}),
    HTTPStatus.SERVICE_UNAVAILABLE: ("A source, a target, the store or the engine does not answer just now.", _RETRY),
    HTTPStatus.GATEWAY_TIMEOUT: ("The call took longer than any may, and was ended.", _RETRY),
}


def responses(binding: Binding, schemas: Schemas) -> dict[str, Any]:
    """The answers of a binding, by status."""
    told = {str(int(status)): {"$ref": f"#/components/responses/{_name(status)}"} for status in _problems(binding)}
    return dict(sorted((_answer(binding, schemas) | told).items()))


def problem_components() -> dict[str, Any]:
    """The problems that answers refer to, by name."""
    return {
        _name(status): {
            "description": text,
            **({"headers": {name: _header(told) for name, told in sent.items()}} if sent else {}),
            "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{PROBLEM_COMPONENT}"}}},
        }
        for status, (text, sent) in PROBLEMS.items()
    }


def _problems(binding: Binding) -> Iterator[HTTPStatus]:
    """The statuses of the problems that a call can have. A state forbids what would change it, and a call that is more than reading."""
    is_reading = binding.http_method == "GET"
    asked = {
        HTTPStatus.NOT_FOUND: bool(binding.template.variables) or bool(binding.query_fields()),
        HTTPStatus.CONFLICT: not is_reading or bool(binding.template.verb),
        HTTPStatus.PRECONDITION_FAILED: not is_reading,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE: bool(binding.body),
    }
    return (status for status in PROBLEMS if asked.get(status, True))


def _answer(binding: Binding, schemas: Schemas) -> dict[str, Any]:
    if binding.method.output_type.full_name == Empty.DESCRIPTOR.full_name:
        return {"204": {"description": "Done."}}
    schema = schemas.reference(binding.method.output_type)
    if binding.is_stream:
        told = "Events, of which the schema describes each."
        content: dict[str, Any] = {EVENTS: {"schema": _event(schema)}}
        if answers_in_lines(binding.method.output_type):
            told = "Events, of which the schema describes each; or the lines themselves, to whoever accepts these."
            content[NDJSON] = {"schema": {"type": "object", "description": "A line."}}
        return {"200": {"description": told, "content": content}}
    answer: dict[str, Any] = {"description": "The answer.", "content": {JSON: {"schema": schema}}}
    if headers.ETAG not in binding.method.output_type.fields_by_name:
        return {"200": answer}
    answer["headers"] = {"ETag": _header("The state, for If-Match.")}
    known = {"304": {"description": "It is as If-None-Match says.", "headers": answer["headers"]}}
    return {"200": answer, **(known if binding.http_method == "GET" else {})}


def _event(schema: dict[str, Any]) -> dict[str, Any]:
    """An event of a stream, as OpenAPI 3.1 has it described in the place of the whole stream's schema."""
    data = {"anyOf": [schema, {"$ref": f"#/components/schemas/{PROBLEM_COMPONENT}"}]}
    kinds = "Absent where it is an answer; `end` is the last one, and `problem` the last one of a stream that failed."
    return {
        "type": "object",
        "required": ["data"],
        "properties": {
            "id": {"type": "string", "description": "Resumes after this event, as Last-Event-ID."},
            "event": {"type": "string", "enum": ["message", "end", "problem"], "description": kinds},
            "data": {
                "type": "string",
                "description": "The answer; of a `problem` the problem, and of `end` nothing.",
                "contentMediaType": JSON,
                "contentSchema": data,
            },
        },
    }


def _header(text: str) -> dict[str, Any]:
    return {"description": text, "schema": {"type": "string"}}


def _name(status: HTTPStatus) -> str:
    return "".join(word.capitalize() for word in status.name.split("_"))
