"""A gate's wait over breaks of the connection: its time is one, however often the engine is found again."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tf.utils import Diagnostics

from pymigrate.provider.provider import PymigrateProvider
from pymigrate.provider.resources.run_gate import RunGateResource
from pymigrate.provider.sdk.diagnostics import Refused
from pymigrate.provider.sdk.resource import Context, State
from pymigrate.v1 import run_pb2
from tests.unit.provider.answering_engine import AnsweringEngine, answering

RUN = "environments/prod/plans/p/runs/r"
TIMEOUT_SECONDS = 100
PLANNED = {"run": RUN, "wait_for": "succeeded", "timeout_seconds": TIMEOUT_SECONDS, "retry_failed": False}


class NoPause(threading.Event):
    """Nobody interrupts, and a pause is over at once."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


class Scene:
    """A run that goes on, and an engine that breaks off each watch of it after some of the gate's time."""

    def __init__(self, engine: AnsweringEngine, broken_after_seconds: float) -> None:
        self._now = 0.0
        self._broken_after_seconds = broken_after_seconds
        self.given_seconds: list[float] = []
        self.provider = PymigrateProvider()
        self.provider.configure_provider(Diagnostics(), {"home": str(engine.home)})
        engine.answers["WatchRun"] = self._watch

    def wait(self) -> State:
        """Passes the gate."""
        gate = RunGateResource(self.provider, clock=lambda: self._now)
        return gate.create(Context(Diagnostics(), "pymigrate_run_gate", NoPause()), PLANNED)

    def _watch(self, request: Any, call: Any) -> Iterator[Any]:
        self.given_seconds.append(call.time_remaining())
        yield run_pb2.WatchRunResponse(run=run_pb2.Run(name=request.name, state=run_pb2.RUN_STATE_RUNNING))
        self._now += self._broken_after_seconds
        call.abort(grpc.StatusCode.UNAVAILABLE, "the engine is restarted")


def test_the_time_of_a_wait_counts_once_over_every_break(tmp_path: Path) -> None:
    with answering(tmp_path / "engine") as engine:
        scene = Scene(engine, broken_after_seconds=40)
        with pytest.raises(Refused) as raised:
            scene.wait()
        assert raised.value.summary == f"{RUN} did not end within {TIMEOUT_SECONDS} s"
        assert raised.value.path == ("timeout_seconds",)
        assert scene.given_seconds == pytest.approx([100, 60, 20], rel=0.1)


def test_an_end_after_a_break_is_heard(tmp_path: Path) -> None:
    with answering(tmp_path / "engine") as engine:
        scene = Scene(engine, broken_after_seconds=40)
        broken = engine.answers["WatchRun"]

        def watch(request: Any, call: Any) -> Iterator[Any]:
            if not scene.given_seconds:
                yield from broken(request, call)
            ended = run_pb2.Run(name=request.name, state=run_pb2.RUN_STATE_SUCCEEDED)
            ended.end_time.seconds = 1_800_000_000
            yield run_pb2.WatchRunResponse(run=ended)

        engine.answers["WatchRun"] = watch
        assert scene.wait()["state"] == "succeeded"
