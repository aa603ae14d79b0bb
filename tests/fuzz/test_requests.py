"""Every request of every method, filled by chance, against an engine that serves: never a crash, and never without an answer.

Caller and engine share a process, whose time on a processor and memory are bounded. PYMIGRATE_TEST_FUZZ_EXAMPLES makes more than the few
that everybody makes.
"""

import os
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.engine.entrypoints.grpc.server import ADDERS
from pymigrate.v1 import environment_pb2
from tests.integration.engine.served import ServedEngine
from tests.unit.application.engines import ENVIRONMENT, PLAN, phase

EXAMPLES = int(os.environ.get("PYMIGRATE_TEST_FUZZ_EXAMPLES", "0"))
ANSWER_SECONDS_MAX = 1.0
MEMORY_KILOBYTES_MAX = 256 * 1024
METHODS = [
    method
    for name, (module, _) in sorted(ADDERS.items())
    for method in module.DESCRIPTOR.services_by_name[name].methods
]
# What a client is never told; DEADLINE_EXCEEDED is what it says itself of an answer that did not come.
NEVER = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
NAMES = (
    ENVIRONMENT,
    PLAN,
    f"{ENVIRONMENT}/connections/legacy",
    f"{PLAN}/runs/r",
    "environments/-",
    "-",
    "",
    "a/b",
    f"{PLAN}/runs/-",
)
ODD = (
    "\0",
    "\n",
    "../..",
    "%2e%2e",
    "${x}",
    "{{ 7 * 7 }}",
    "'; DROP TABLE run; --",
    "𝒳" * 20,
    "a" * 5_000,
    "1e309",
    "*",
    "[",
    "(?R)",
)
TEXTS = st.one_of(st.sampled_from(NAMES), st.sampled_from(ODD), st.text(max_size=20))
DEPTH_MAX = 4
SCALARS: dict[int, Callable[[FieldDescriptor], st.SearchStrategy[Any]]] = {
    FieldDescriptor.CPPTYPE_STRING: lambda _: TEXTS,
    FieldDescriptor.CPPTYPE_BOOL: lambda _: st.booleans(),
    FieldDescriptor.CPPTYPE_INT32: lambda _: st.one_of(
        st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)]), st.integers(0, 2_000)
    ),
    FieldDescriptor.CPPTYPE_INT64: lambda _: st.one_of(
        st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63)]), st.integers(0, 2_000)
    ),
    FieldDescriptor.CPPTYPE_UINT32: lambda _: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: lambda _: st.integers(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_DOUBLE: lambda _: st.floats(),
    FieldDescriptor.CPPTYPE_FLOAT: lambda _: st.floats(width=32),
    FieldDescriptor.CPPTYPE_ENUM: lambda field: st.sampled_from(
        [*(value.number for value in field.enum_type.values), 9_999]
    ),
}


@st.composite
def messages(draw: st.DrawFn, kind: type[Message], depth: int = 0) -> Message:
    """One of a kind, of which about half of the fields are set."""
    found = kind()
    for field in kind.DESCRIPTOR.fields:
        if field.name == "wait_seconds" or depth > DEPTH_MAX or not draw(st.booleans()):
            continue
        _set(draw, found, field, depth)
    return found


def _set(draw: st.DrawFn, found: Message, field: FieldDescriptor, depth: int) -> None:
    target = getattr(found, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
        for name in draw(st.lists(_scalar(key), max_size=2)):
            if value.message_type is not None:
                target[name].CopyFrom(draw(messages(GetMessageClass(value.message_type), depth + 1)))
            else:
                target[name] = draw(_scalar(value))
    elif field.message_type is not None:
        kind = GetMessageClass(field.message_type)
        if field.label == FieldDescriptor.LABEL_REPEATED:
            target.extend(draw(st.lists(messages(kind, depth + 1), max_size=2)))
        else:
            target.CopyFrom(draw(messages(kind, depth + 1)))
    elif field.label == FieldDescriptor.LABEL_REPEATED:
        target.extend(draw(st.lists(_scalar(field), max_size=3)))
    else:
        setattr(found, field.name, draw(_scalar(field)))


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=40)
    return SCALARS[field.cpp_type](field)


def _call(client: Client, method: MethodDescriptor, request: Message) -> grpc.StatusCode:
    """How a call ends; of a stream how its first answer does."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    answer = GetMessageClass(method.output_type)
    options: dict[str, Any] = {"metadata": client.metadata, "timeout": 30.0}
    try:
        if method.server_streaming:
            stream = client.channel.unary_stream(
                path, request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
            )(request, metadata=client.metadata, timeout=0.05)
            next(iter(stream), None)
            stream.cancel()
        else:
            client.channel.unary_unary(
                path, request_serializer=type(request).SerializeToString, response_deserializer=answer.FromString
            )(request, **options)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        is_quiet = method.server_streaming and code is grpc.StatusCode.DEADLINE_EXCEEDED
        return grpc.StatusCode.OK if is_quiet else code
    return grpc.StatusCode.OK


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Of an engine that has a plan."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    served = ServedEngine(tmp_path_factory.mktemp("fuzzed"))
    served.start()
    served.do(served.engine.declare({"orders": phase("orders")}))
    found = served.client("api")
    yield found
    found.channel.close()
    served.stop()
    served.close()
    structlog.reset_defaults()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_no_request_makes_the_engine_fail_or_keeps_its_caller_waiting(client: Client, method: MethodDescriptor) -> None:
    slowest = 0.0

    @settings(max_examples=EXAMPLES or 4, suppress_health_check=list(HealthCheck), database=None)
    @given(messages(GetMessageClass(method.input_type)))
    def ask(request: Message) -> None:
        nonlocal slowest
        began = time.process_time()
        assert _call(client, method, request) not in NEVER
        slowest = max(slowest, time.process_time() - began)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ask()
    assert slowest < ANSWER_SECONDS_MAX
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY_KILOBYTES_MAX


def test_the_engine_serves_still_after_all_of_that(client: Client) -> None:
    request = environment_pb2.ListEnvironmentsRequest()
    answer = client.environments.ListEnvironments(request, metadata=client.metadata, timeout=30)
    assert answer.next_page_token == ""
