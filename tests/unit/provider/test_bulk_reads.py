"""A refresh of many objects asks for their list: nothing is told that another command, a write or some seconds have made old."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tf.gen import tfplugin_pb2 as pb
from tf.utils import to_dynamic_value

from pymigrate.provider.bulk_reads import AGE_SECONDS_MAX, READS_MIN, BulkReads
from pymigrate.provider.engine import Engine
from pymigrate.provider.provider import PymigrateProvider
from pymigrate.provider.reaching import EnginePlace
from pymigrate.provider.resources.connection import ConnectionResource
from pymigrate.provider.sdk.servicer import Servicer
from pymigrate.provider.sdk.states import read_private, read_state
from pymigrate.v1 import connection_pb2
from tests.unit.provider.answering_engine import AnsweringEngine, answering
from tests.unit.provider.impact_engine import refuse

PARENT = "environments/prod"
MANY = 40


class Clock:
    """A time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """A provider whose engine has many connections."""

    def __init__(self, engine: AnsweringEngine) -> None:
        self.engine, self.clock = engine, Clock()
        self.provider = PymigrateProvider()
        self.provider.bulk_reads = BulkReads(self.clock)
        self.servicer = Servicer(self.provider)
        self.objects = {name(at): connection(at) for at in range(MANY)}
        engine.answers["GetConnection"] = self._get
        engine.answers["ListConnections"] = self._list
        self.configure()

    def configure(self) -> None:
        """Another command of Terraform."""
        config = dict.fromkeys(["home", "downtime_increase_share_max"]) | {"home": str(self.engine.home)}
        self.servicer.ConfigureProvider(pb.ConfigureProvider.Request(config=to_dynamic_value(config)), None)

    def read(self, at: int) -> tuple[Any, str]:
        """What Terraform is told of a connection: its state and the etag."""
        attributes = ConnectionResource.attributes()
        current = to_dynamic_value(dict.fromkeys(attributes) | {"name": name(at)})
        request = pb.ReadResource.Request(type_name="pymigrate_connection", current_state=current)
        answer = self.servicer.ReadResource(request, None)
        assert not answer.diagnostics
        return read_state(attributes, answer.new_state), read_private(answer.private).get("etag", "")

    def asked(self) -> list[str]:
        """The calls since the last time, by their request."""
        found = [type(request).__name__.removesuffix("Request") for request in self.engine.asked]
        self.engine.asked.clear()
        return found

    def _get(self, request: Any, call: Any) -> Any:
        if request.name not in self.objects:
            call.abort(grpc.StatusCode.NOT_FOUND, "there is none")
        return self.objects[request.name]

    def _list(self, request: Any, call: Any) -> Any:
        assert request.parent == PARENT
        first = int(request.page_token or 0)
        page = list(self.objects.values())[first : first + 15]
        token = str(first + 15) if first + 15 < len(self.objects) else ""
        return connection_pb2.ListConnectionsResponse(connections=page, next_page_token=token)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Many connections behind an engine."""
    with answering(tmp_path / "engine") as engine:
        yield Scene(engine)


def name(at: int) -> str:
    """A connection's resource name."""
    return f"{PARENT}/connections/c{at}"


def connection(at: int, **more: Any) -> connection_pb2.Connection:
    """A connection of the engine."""
    message = connection_pb2.Connection(name=name(at), etag=f"e{at}", **more)
    message.sqlite.path = f"/srv/{at}.db"
    return message


def test_few_objects_are_read_one_by_one_and_many_by_their_list(scene: Scene) -> None:
    told = [scene.read(at) for at in range(MANY)]
    assert scene.asked() == ["GetConnection"] * READS_MIN + ["ListConnections"] * 3
    assert [(state["connection_id"], etag) for state, etag in told] == [(f"c{at}", f"e{at}") for at in range(MANY)]
    assert {state["environment"] for state, _ in told} == {PARENT}


def test_what_is_not_in_the_list_is_read_by_itself_before_it_is_told_to_be_gone(scene: Scene) -> None:
    for at in range(READS_MIN + 1):
        scene.read(at)
    scene.asked()
    scene.objects[name(99)] = connection(99)
    assert scene.read(99)[1] == "e99"
    assert scene.read(98)[0] is None
    assert scene.asked() == ["GetConnection", "GetConnection"]


def test_another_command_begins_anew(scene: Scene) -> None:
    for at in range(MANY):
        scene.read(at)
    scene.asked()
    scene.objects[name(20)] = connection(20, lanes_max=9)
    scene.configure()
    assert scene.read(20)[0]["lanes_max"] == 9
    assert scene.asked() == ["GetConnection"]


def test_what_was_listed_is_old_after_some_seconds_and_after_each_write(scene: Scene) -> None:
    for at in range(MANY):
        scene.read(at)
    scene.objects[name(20)] = connection(20, lanes_max=9)
    scene.clock.now += AGE_SECONDS_MAX
    assert scene.read(20)[0]["lanes_max"] == 9
    scene.objects[name(20)] = connection(20, lanes_max=10)
    scene.engine.answers["DeleteConnection"] = refuse(grpc.StatusCode.NOT_FOUND, "there is none")
    prior = dict.fromkeys(ConnectionResource.attributes()) | {"name": name(1)}
    request = pb.ApplyResourceChange.Request(
        type_name="pymigrate_connection", prior_state=to_dynamic_value(prior), planned_state=to_dynamic_value(None)
    )
    scene.servicer.ApplyResourceChange(request, None)
    assert scene.read(20)[0]["lanes_max"] == 10


def test_a_collection_that_can_not_be_listed_is_read_one_by_one(scene: Scene) -> None:
    scene.engine.answers["ListConnections"] = refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "too large")
    for at in range(MANY):
        assert scene.read(at)[1] == f"e{at}"
    assert scene.asked() == ["GetConnection"] * READS_MIN + ["ListConnections"] + ["GetConnection"] * (MANY - READS_MIN)


def test_a_collection_without_end_is_read_one_by_one(tmp_path: Path) -> None:
    reads, engine = BulkReads(), Engine(EnginePlace(tmp_path))

    def endless(parent: str, size: int, token: str) -> tuple[list[Any], str]:
        return [connection(int(token or 0))], str(int(token or 0) + 1)

    assert [reads.find(engine, name(at), endless) for at in range(MANY)] == [None] * MANY
