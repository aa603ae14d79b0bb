"""Which HTTP method and path leads to which call of the contract, read from `google.api.http`, and the call that a request asks for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from google.api import annotations_pb2, http_pb2
from pymigrate.engine.domain.errors import NotFound
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.entrypoints.rest.problems import Refused
from pymigrate.engine.entrypoints.rest.templates import Path, Template, fits, parse_path, parse_template

DOCUMENT = "/openapi.json"
WHOLE_BODY = "*"
_LEAVES = frozenset({FieldMask.DESCRIPTOR.full_name, Timestamp.DESCRIPTOR.full_name})


@dataclass(frozen=True, slots=True)
class Binding:
    """One way to make one call. `body` is the field of the request that the body gives: `*` for all of it, empty for none.
    `is_additional`: the contract names another way first."""

    service: str
    method: MethodDescriptor
    http_method: str
    template: Template
    body: str
    is_additional: bool = False

    @property
    def is_stream(self) -> bool:
        """Whether the call answers more than once."""
        return bool(self.method.server_streaming)

    @property
    def input(self) -> Descriptor:
        """The descriptor of the request."""
        found: Descriptor = self.method.input_type
        return found

    def new_request(self) -> Message:
        """An empty request."""
        return GetMessageClass(self.input)()

    def query_fields(self) -> dict[str, FieldDescriptor]:
        """The fields that the query gives, by their name in the contract: single values and lists of them that nothing else gives."""
        if self.body == WHOLE_BODY:
            return {}
        taken = {self.body, *(variable.field.partition(".")[0] for variable in self.template.variables)}
        return {field.name: field for field in self.input.fields if field.name not in taken and is_leaf(field)}


def is_leaf(field: FieldDescriptor) -> bool:
    """Whether a field's value is one word of text in a query."""
    return field.message_type is None or field.message_type.full_name in _LEAVES


def bindings_of(services: Iterable[ServiceDescriptor]) -> Iterator[Binding]:
    """Every binding of every call, additional ones too. Raises ValueError for an annotation that can't be served."""
    for service in services:
        for method in service.methods:
            rule = method.GetOptions().Extensions[annotations_pb2.http]
            yield _binding(service, method, rule)
            for found in rule.additional_bindings:
                yield replace(_binding(service, method, found), is_additional=True)


def _binding(service: ServiceDescriptor, method: MethodDescriptor, rule: http_pb2.HttpRule) -> Binding:
    pattern = rule.WhichOneof("pattern")
    if pattern is None or pattern == "custom" or rule.response_body or method.client_streaming:
        raise ValueError(f"{method.full_name} has no HTTP method, or one that is not served")
    if rule.body not in {"", WHOLE_BODY, *method.input_type.fields_by_name}:
        raise ValueError(f"{method.full_name} takes its body for {rule.body}, which its request does not have")
    return Binding(service.name, method, pattern.upper(), parse_template(getattr(rule, pattern)), rule.body)


class Routes:
    """The bindings, by what a request asks for."""

    def __init__(self, bindings: Iterable[Binding]) -> None:
        self.bindings = tuple(bindings)

    def find(self, http_method: str, raw_path: str) -> tuple[Binding, dict[str, str]]:
        """The binding and the variables of the path. Raises NotFound for an unknown path, and Refused (405) for a method that it
        does not have. HEAD is GET without the body."""
        path = parse_path(raw_path)
        if path is None:
            raise NotFound(f"no path is written as {raw_path[:200]!r}: see {DOCUMENT}", field="path")
        found: list[tuple[Binding, dict[str, str]]] = []
        for binding in self.bindings:
            values = binding.template.match(path)
            if values is not None:
                found.append((binding, values))
        if not found:
            raise NotFound(
                f"there is no path of this form{self._nearest(path)}; {DOCUMENT} has every one", field="path"
            )
        wanted = "GET" if http_method == "HEAD" else http_method
        for binding, values in found:
            if binding.http_method == wanted and not (http_method == "HEAD" and binding.is_stream):
                return binding, values
        allowed = ", ".join(sorted({binding.http_method for binding, _ in found}))
        raise Refused(405, "METHOD_NOT_ALLOWED", f"{http_method} is not served here: use {allowed}", {"allow": allowed})

    def _nearest(self, path: Path) -> str:
        """A hint at the first segment that leads nowhere, or else at the verb."""
        left = [binding.template for binding in self.bindings]
        for at, given in enumerate(path.segments):
            admitted = [known for known in left if at < len(known.segments) and fits(known.segments[at], given)]
            if not admitted:
                return nearest(
                    given, sorted({known.segments[at] for known in left if at < len(known.segments)} - {"*"})
                )
            left = admitted
        verbs = {known.verb for known in left if len(known.segments) == len(path.segments)}
        return nearest(path.verb, sorted(verbs - {""}))
