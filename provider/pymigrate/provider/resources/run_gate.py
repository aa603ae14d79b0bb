"""pymigrate_run_gate: waits for a run. It may fail, be tainted and be made again without harm: the run itself goes on."""

import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any, NoReturn

import grpc
from tf.types import Bool, Number, String

from pymigrate.provider.engine import START_TIMEOUT_SECONDS, Engine, is_missing, refuse
from pymigrate.provider.sdk.checks import at_least
from pymigrate.provider.sdk.diagnostics import Refused
from pymigrate.provider.sdk.resource import Context, Resource, State
from pymigrate.provider.sdk.schema import Attribute, Moment, Schema
from pymigrate.v1 import run_pb2
from pymigrate.v1.shape import enum_word

TIMEOUT_DEFAULT_SECONDS = 3600
RECONNECT_SECONDS = 1.0


class RunGateResource(Resource):
    """A point that an apply passes only when the run has ended as it should."""

    def __init__(self, provider: Any, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(provider)
        self._clock = clock

    @classmethod
    def get_name(cls) -> str:
        """`run_gate`."""
        return "run_gate"

    @classmethod
    @cache
    def get_schema(cls) -> Schema:
        """What it waits for."""
        return Schema(
            [
                Attribute(
                    "run", required=True, requires_replace=True, description="Resource name of the run to wait for."
                ),
                Attribute(
                    "wait_for",
                    String(),
                    optional=True,
                    computed=True,
                    default="succeeded",
                    words=("succeeded", "ended"),
                    description="`succeeded` fails the apply where the run ends otherwise; `ended` takes any end.",
                ),
                Attribute(
                    "timeout_seconds",
                    Number(),
                    optional=True,
                    computed=True,
                    default=TIMEOUT_DEFAULT_SECONDS,
                    check=at_least(0),
                    description="How long to wait. The run goes on beyond it, and another apply waits again.",
                ),
                Attribute(
                    "retry_failed",
                    Bool(),
                    optional=True,
                    computed=True,
                    default=True,
                    description="Whether a run that has failed is tried again first.",
                ),
                Attribute(
                    "state", computed=True, is_stable=True, description="Where the run stood at the end of the wait."
                ),
                Attribute(
                    "end_time", Moment(), computed=True, is_stable=True, description="When the run ended, RFC 3339."
                ),
            ],
            description=(
                "A point that an apply passes only when a run has ended as it should. It fails, is tainted and is made again without harm: "
                "the run itself goes on."
            ),
        )

    @property
    def engine(self) -> Engine:
        """The engine of the provider's configuration."""
        engine: Engine = self.provider.engine()
        return engine

    def modify_plan(self, context: Context, prior: State | None, planned: State) -> State:
        """Nothing is other; it is the last to tell what is to be said of its run."""
        if prior is not None:
            self.provider.known.tell(context)
        return planned

    def create(self, context: Context, planned: State) -> State:
        """Waits. A run that failed before is retried first, where that is asked for."""
        name = planned["run"]
        context.save({**planned, "state": "", "end_time": ""})
        if planned["retry_failed"] and self._get(name).state == run_pb2.RUN_STATE_FAILED:
            try:
                self.engine.call("RunService", "RetryRun", run_pb2.RetryRunRequest(name=name), START_TIMEOUT_SECONDS)
            except grpc.RpcError as error:
                refuse(error, f"{name} can't be retried", self.attributes())
        run = self._wait(context, name, float(planned["timeout_seconds"]))
        state = {**planned, **_standing(run)}
        context.save(state)
        if planned["wait_for"] == "succeeded" and run.state != run_pb2.RUN_STATE_SUCCEEDED:
            at = f" ({run.failure.field})" if run.failure.field else ""
            raise Refused(
                f"{name} {state['state']}",
                f"{run.failure.message or 'It was ended by call'}{at}. Mend it and apply again.",
                ["run"],
            )
        return state

    def read(self, context: Context, current: State) -> State | None:
        """What it waited for stays, whatever became of the run since."""
        return current

    def update(self, context: Context, current: State, planned: State) -> State:
        """Takes over how long and for what another wait would be."""
        return {**current, **{name: planned[name] for name in ("wait_for", "timeout_seconds", "retry_failed")}}

    def delete(self, context: Context, current: State) -> None:
        """Nothing is undone: the gate is no object of the engine."""

    def _get(self, name: str) -> Any:
        try:
            return self.engine.call("RunService", "GetRun", run_pb2.GetRunRequest(name=name))
        except grpc.RpcError as error:
            if is_missing(error):
                raise Refused(f"There is no {name}", "Name a pymigrate_run.", ["run"]) from error
            refuse(error, f"{name} can't be read", self.attributes())

    def _wait(self, context: Context, name: str, seconds: float) -> Any:
        """The run at its end. An engine that is restarted meanwhile is found again, and has what is left of the time."""
        end = self._clock() + seconds
        ended = threading.Event()
        stream_held: list[Any] = []
        watcher = threading.Thread(target=_cancel_when, args=(context.stopping, ended, stream_held), daemon=True)
        watcher.start()
        try:
            while not context.stopping.is_set():
                left_seconds = end - self._clock()
                if left_seconds <= 0:
                    _time_is_up(name, seconds)
                stream = self.engine.stream("RunService", "WatchRun", run_pb2.WatchRunRequest(name=name), left_seconds)
                stream_held[:] = [stream]
                try:
                    for picture in stream:
                        if picture.run.end_time.seconds:
                            stream.cancel()
                            return picture.run
                except grpc.RpcError as error:
                    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                        _time_is_up(name, seconds, error)
                    if error.code() not in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}:
                        refuse(error, f"{name} can't be watched", self.attributes())
                context.stopping.wait(RECONNECT_SECONDS)
        finally:
            ended.set()
        raise Refused(f"Waiting for {name} was interrupted", "The run goes on; apply again to go on waiting.", ["run"])


def _time_is_up(name: str, seconds: float, cause: grpc.RpcError | None = None) -> NoReturn:
    raise Refused(
        f"{name} did not end within {seconds:g} s", "It goes on; apply again to go on waiting.", ["timeout_seconds"]
    ) from cause


def _cancel_when(stopping: threading.Event, ended: threading.Event, streams: list[Any]) -> None:
    """Ends a wait at once when the user interrupts."""
    while not ended.wait(0.1):
        if stopping.is_set():
            for stream in streams:
                stream.cancel()
            return


def _standing(run: Any) -> State:
    return {"state": enum_word(run_pb2.RunState.DESCRIPTOR, run.state), "end_time": run.end_time.ToJsonString()}
