"""The OpenAPI 3.1 document of the contract: every binding an operation, told in the comments of the .proto files."""

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from itertools import pairwise
from typing import Any

from pymigrate.engine.entrypoints.rest import headers
from pymigrate.engine.entrypoints.rest.bindings import WHOLE_BODY, Binding
from pymigrate.engine.entrypoints.rest.comments import contract_comments
from pymigrate.engine.entrypoints.rest.documented import JSON, PROBLEM_COMPONENT, problem_components, responses
from pymigrate.engine.entrypoints.rest.requests import MASK
from pymigrate.engine.entrypoints.rest.schemas import Schemas
from pymigrate.engine.entrypoints.rest.templates import Template

OPENAPI = "3.1.0"
PROBLEM = {
    "type": "object",
    "description": "A problem (RFC 9457).",
    "required": ["type", "title", "status", "detail", "reason"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "Names the kind of problem."},
        "title": {"type": "string", "description": "The phrase of the status."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What is wrong, where, and what to do next."},
        "reason": {"type": "string", "description": "A constant in capitals, the same over gRPC."},
        "field": {"type": "string", "description": "The field, parameter or header that is wrong."},
        "retryAfterSeconds": {"type": "number", "description": "When trying again may help."},
        "violations": {
            "type": "array",
            "description": "Every field that is wrong.",
            "items": {
                "type": "object",
                "required": ["field", "description"],
                "properties": {"field": {"type": "string"}, "description": {"type": "string"}},
            },
        },
    },
}


def document(bindings: Sequence[Binding]) -> dict[str, Any]:
    """The document as plain data."""
    schemas = Schemas(contract_comments())
    paths: dict[str, dict[str, Any]] = {
        "/livez": _probe("Whether the process answers.", {"200": "It does."}),
        "/readyz": _probe("Whether the engine takes calls.", {"200": "It does.", "503": "Not yet, or no longer."}),
    }
    for binding in bindings:
        path, parameters = openapi_path(binding.template)
        operation = _operation(binding, schemas)
        operation["parameters"] = [*map(_path_parameter, parameters), *operation["parameters"]]
        paths.setdefault(path, {})[binding.http_method.lower()] = operation
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "PyMigrate",
            "version": version("pymigrate"),
            "description": "Data migrations as infrastructure: the contract `pymigrate.v1` over HTTP.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"bearer": []}],
        "tags": _tags(bindings),
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "responses": problem_components(),
            "schemas": {**schemas.components(), PROBLEM_COMPONENT: PROBLEM},
        },
    }


def openapi_path(template: Template) -> tuple[str, list[str]]:
    """A template as OpenAPI writes it, and its parameters: each `*` becomes one named for the word before it, as in
    `/v1/environments/{environment}/plans/{plan}:validate`."""
    parameters: list[str] = []
    segments: list[str] = []
    for segment in template.segments:
        if segment != "*":
            segments.append(segment)
            continue
        parameters.append(_one_of(segments[-1]))
        segments.append(f"{{{parameters[-1]}}}")
    return f"/{'/'.join(segments)}{':' if template.verb else ''}{template.verb}", parameters


def operation_id(binding: Binding) -> str:
    """The call's name; where it is made in other ways too, each of those says of what, as in `GetKpisOfEnvironmentPlan`."""
    if not binding.is_additional:
        return str(binding.method.name)
    segments = binding.template.segments
    words = [_one_of(word) for word, after in pairwise(segments) if after == "*"]
    return f"{binding.method.name}Of{''.join(word[0].upper() + word[1:] for word in words)}"


def _one_of(collection: str) -> str:
    """`department` of `departments`, `delivery` of `deliveries`."""
    return f"{collection.removesuffix('ies')}y" if collection.endswith("ies") else collection.removesuffix("s")


def _operation(binding: Binding, schemas: Schemas) -> dict[str, Any]:
    text = contract_comments().get(binding.method.full_name, "")
    operation: dict[str, Any] = {
        "operationId": operation_id(binding),
        "tags": [binding.service],
        "summary": text.partition(". ")[0].removesuffix("."),
        "description": text,
        "parameters": [*_query_parameters(binding, schemas), *_headers(binding)],
        "responses": responses(binding, schemas),
    }
    if binding.body:
        whole = binding.body == WHOLE_BODY
        message = binding.input if whole else binding.input.fields_by_name[binding.body].message_type
        operation["requestBody"] = {
            "required": binding.http_method == "PATCH",
            "content": {JSON: {"schema": schemas.reference(message)}},
        }
    return operation


def _query_parameters(binding: Binding, schemas: Schemas) -> list[dict[str, Any]]:
    parameters = []
    for field in binding.query_fields().values():
        schema = schemas.field(field)
        text = schema.pop("description", "")
        if binding.http_method == "PATCH" and field.name == MASK:
            text = "The fields to change, with commas between; `*`: every one. Without it: those that the body names."
        parameters.append({"name": field.camelcase_name, "in": "query", "description": text, "schema": schema})
    return parameters


def _headers(binding: Binding) -> list[dict[str, Any]]:
    found = []
    if headers.takes_etag(binding):
        found.append(_header("If-Match", "Only the state of this ETag is changed."))
    elif binding.http_method == "GET" and headers.ETAG in binding.method.output_type.fields_by_name:
        found.append(_header("If-None-Match", "Answers 304 while the state is the one of this ETag."))
    if headers.FIELDS[headers.IDEMPOTENCY_KEY] in binding.input.fields_by_name:
        found.append(
            _header("Idempotency-Key", "A call that is made again with the same key answers as the first one did.")
        )
    if headers.FIELDS[headers.LAST_EVENT_ID] in binding.input.fields_by_name:
        found.append(_header("Last-Event-ID", "Goes on after the event of this id."))
    return found


def _header(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}


def _path_parameter(name: str) -> dict[str, Any]:
    text = f"The {name}, by the last segment of its name."
    return {"name": name, "in": "path", "required": True, "description": text, "schema": {"type": "string"}}


def _probe(text: str, answers: dict[str, str]) -> dict[str, Any]:
    content = {"text/plain": {"schema": {"type": "string"}}}
    responses = {status: {"description": told, "content": content} for status, told in answers.items()}
    return {"get": {"summary": text, "tags": ["Health"], "security": [], "responses": responses}}


def _tags(bindings: Iterable[Binding]) -> list[dict[str, str]]:
    names = {binding.service: binding.method.containing_service.full_name for binding in bindings}
    comments = contract_comments()
    tags = [{"name": name, "description": comments.get(full_name, "")} for name, full_name in names.items()]
    return [*tags, {"name": "Health", "description": "Probes of the process."}]
