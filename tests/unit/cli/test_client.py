"""The command line's client without a socket: what it asks, and how what it is told reads."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import grpc_testing
import pytest
from google.protobuf.message import Message

from pymigrate.engine.domain import errors
from pymigrate.engine.entrypoints.cli import declared
from pymigrate.engine.entrypoints.cli.client import Client, describe
from pymigrate.engine.entrypoints.cli.definition_files import definition_files
from pymigrate.engine.entrypoints.grpc.errors import code_of, status_of
from pymigrate.v1 import definition_pb2
from pymigrate.v1.definition_pb2 import ApplyDefinitionsRequest, ApplyDefinitionsResponse

SERVICE = definition_pb2.DESCRIPTOR.services_by_name["DefinitionService"]
METHOD = "ApplyDefinitions"
HEAD = "apiVersion: pymigrate.io/v1alpha1\nkind: {}\nmetadata: {}\nspec: {}\n"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Lines = list[tuple[str, str]]


class Conversation:
    """A client whose calls the test answers one by one."""

    def __init__(self, folder: Path) -> None:
        self.channel = grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())
        self.client = Client("", "a-token", self.channel)
        self.file = folder / "plan.yaml"
        self._pool = ThreadPoolExecutor(1)

    def apply(self, text: str) -> Any:
        """Applies definitions on a thread of its own; the future of its answer."""
        self.file.write_text(text)
        request = ApplyDefinitionsRequest(files=definition_files([self.file]))
        return self._pool.submit(declared.applied, self.client, request)

    def answer(self, service: Any, method: str, found: Message | errors.PyMigrateError) -> Any:
        """Answers the next call of a method; its request."""
        metadata, request, call = self.channel.take_unary_unary(service.methods_by_name[method])
        assert ("authorization", "Bearer a-token") in metadata
        assert ("pymigrate-managed-by", "cli") in metadata
        if isinstance(found, errors.PyMigrateError):
            status = status_of(found)
            trailers = (("grpc-status-details-bin", status.SerializeToString()),)
            call.terminate(None, trailers, code_of(found), status.message)
        else:
            call.terminate(found, (), grpc.StatusCode.OK, "")
        return request

    def close(self) -> None:
        """Waits for the thread."""
        self._pool.shutdown()


@pytest.fixture
def conversation(tmp_path: Path) -> Iterator[Conversation]:
    """Nothing said yet."""
    talk = Conversation(tmp_path)
    yield talk
    talk.close()


def test_files_are_sent_as_they_are_and_what_became_of_them_is_answered(conversation: Conversation) -> None:
    answered = conversation.apply(HEAD.format("Department", "{name: hr, environment: e}", "{owner: Ann}"))
    asked = conversation.answer(SERVICE, METHOD, ApplyDefinitionsResponse(unchanged_count=1))
    (file,) = asked.files
    assert file.content == conversation.file.read_bytes()
    assert not asked.validate_only
    assert answered.result(60) == ApplyDefinitionsResponse(unchanged_count=1)


def test_what_is_refused_otherwise_reads_as_what_it_says(conversation: Conversation) -> None:
    answered = conversation.apply(HEAD.format("Plan", "{name: p, environment: e}", "{}"))
    conversation.answer(SERVICE, METHOD, errors.StoreUnavailable("the disk is full"))
    with pytest.raises(grpc.RpcError) as error:
        answered.result(60)
    assert describe(error.value, Path("/home")) == "the disk is full"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (errors.NotOwned("environments/e", "git", "cli"), "environments/e is managed by git"),
        (errors.SystemUnavailable("can't connect to db:5432"), "can't connect to db:5432"),
        (
            errors.InvalidDefinition((errors.Problem("a.b", "is wrong"), errors.Problem("c", "too"))),
            "a.b: is wrong\nc: too",
        ),
    ],
)
def test_an_error_reads_as_what_it_says(conversation: Conversation, error: errors.PyMigrateError, says: str) -> None:
    lines = conversation.apply(HEAD.format("Environment", "{name: e}", "{}"))
    conversation.answer(SERVICE, METHOD, error)
    with pytest.raises(grpc.RpcError) as refused:
        lines.result(60)
    assert describe(refused.value, Path("/home")).startswith(says)


@pytest.mark.parametrize(("given", "is_sent"), [(TRACEPARENT, True), ("", False), ("nonsense\n", False)])
def test_the_trace_of_whoever_runs_the_command_goes_along(
    given: str, is_sent: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRACEPARENT", given)
    assert (("traceparent", TRACEPARENT) in Conversation(tmp_path).client.metadata) is is_sent
