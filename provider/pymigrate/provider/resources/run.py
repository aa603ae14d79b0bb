"""pymigrate_run: returns once the engine has accepted, and never repeats a run that there is."""

from functools import cache
from typing import Any

import grpc
from tf.types import Number, String

from pymigrate.provider import contract
from pymigrate.provider.descriptions import description_of
from pymigrate.provider.engine import START_TIMEOUT_SECONDS, Engine, is_missing, refuse
from pymigrate.provider.formats import PARENTS
from pymigrate.provider.replacing import Replaceable
from pymigrate.provider.sdk.resource import Context, State
from pymigrate.provider.sdk.schema import TEXT_MAP, Attribute, Moment, Schema
from pymigrate.provider.work import ENDED
from pymigrate.v1 import run_pb2
from pymigrate.v1.shape import enum_number, enum_words

STAYS = (
    "What it published stays in its targets, and so does the run's record; declaring the same plan and triggers again adopts it. "
    "To remove the data, remove it in the target."
)
OUTPUTS = {
    "name": String(),
    "key": String(),
    "plan_hash": String(),
    "state": String(),
    "create_time": Moment(),
    "rows_expected": Number(),
}
PLAN, PLAN_TEXT = PARENTS["plan"]


class RunResource(Replaceable):
    """One execution of a plan's revision. Other triggers are another run."""

    identifying = ("plan", "triggers")

    @classmethod
    def get_name(cls) -> str:
        """`run`."""
        return "run"

    @classmethod
    @cache
    def get_schema(cls) -> Schema:
        """What makes it another run, what steers it, and where it stands."""
        return Schema(
            [
                Attribute("plan", required=True, requires_replace=True, check=PLAN, description=PLAN_TEXT),
                Attribute(
                    "triggers",
                    TEXT_MAP,
                    optional=True,
                    requires_replace=True,
                    description="What makes it another run when it changes, such as the `definition_hash` of each phase.",
                ),
                Attribute(
                    "desired_state",
                    String(),
                    optional=True,
                    computed=True,
                    default="running",
                    words=("running", "paused"),
                    description="Whether it goes on or rests; a run can begin paused.",
                ),
                *(
                    Attribute(name, kind, computed=True, is_stable=name != "state", description=_told(name))
                    for name, kind in OUTPUTS.items()
                ),
            ],
            description=(
                "One execution of a plan's revision. It is there as soon as the engine has accepted it; `pymigrate_run_gate` waits for "
                "its end. The same plan and triggers are the same run: it is adopted, never repeated, whatever became of the state. "
                "Destroying it leaves the data that it published."
            ),
        )

    @property
    def engine(self) -> Engine:
        """The engine of the provider's configuration."""
        engine: Engine = self.provider.engine()
        return engine

    def plan_destroy(self, context: Context, prior: State) -> None:
        """Says what will stop, and what stays."""
        self.hear_of_destruction(prior)
        found = self._find(prior)
        if found is not None and found.get("state") not in ENDED:
            context.warn(
                f"{prior['name']} is {found.get('state')} and will be cancelled",
                f"Its lanes drain and its staging is dropped. {STAYS}",
            )

    def create(self, context: Context, planned: State) -> State:
        """Starts the run, or adopts the one with the same key."""
        wanted = run_pb2.Run(desired_state=_desired(planned), triggers=planned.get("triggers") or {})
        request = run_pb2.StartRunRequest(parent=planned["plan"], run=wanted)
        run = self._call("StartRun", f"A run of {planned['plan']} can't start", request, START_TIMEOUT_SECONDS)
        state = self._state(run)
        context.save(state)
        if run.desired_state != wanted.desired_state and state["state"] not in ENDED:
            state = self._steer(state["name"], planned)
        return {**state, "desired_state": planned["desired_state"]}

    def read(self, context: Context, current: State) -> State | None:
        """The run as it stands; when its history was purged, as it stood: nothing is run again for that."""
        self.note_read(current)
        return self._find(current) or (current if current.get("key") else None)

    def _find(self, current: State) -> State | None:
        """The run as the engine has it; None where its history was purged."""
        try:
            run = self.engine.call("RunService", "GetRun", run_pb2.GetRunRequest(name=current["name"]))
        except grpc.RpcError as error:
            if is_missing(error):
                return None
            refuse(error, f"{current['name']} can't be read", self.attributes())
        state = self._state(run)
        if state["state"] in ENDED and current.get("desired_state"):
            state["desired_state"] = current["desired_state"]
        return state

    def update(self, context: Context, current: State, planned: State) -> State:
        """Pauses or resumes."""
        found = self._find(current)
        if found is None or found["state"] in ENDED:
            return {**(found or current), "desired_state": planned["desired_state"]}
        return self._steer(current["name"], planned)

    def delete(self, context: Context, current: State) -> None:
        """Forgets the run; one that is under way is cancelled."""
        found = self._find(current)
        if found is not None and found["state"] not in ENDED:
            request = run_pb2.CancelRunRequest(name=current["name"])
            self._call("CancelRun", f"{current['name']} can't be cancelled", request)
            self._wait_for_end(context, current["name"])
        context.warn(f"The data that {current['name']} migrated stays", STAYS)

    def import_state(self, context: Context, identity: str) -> State | None:
        """A run by its name."""
        return self._find({"name": identity})

    def _steer(self, name: str, planned: State) -> State:
        is_paused = planned["desired_state"] == "paused"
        request: Any = run_pb2.PauseRunRequest(name=name) if is_paused else run_pb2.ResumeRunRequest(name=name)
        return self._state(self._call("PauseRun" if is_paused else "ResumeRun", f"{name} can't be steered", request))

    def _wait_for_end(self, context: Context, name: str) -> None:
        stream = self.engine.stream("RunService", "WatchRun", run_pb2.WatchRunRequest(name=name), START_TIMEOUT_SECONDS)
        try:
            for picture in stream:
                if picture.run.end_time.seconds or context.stopping.is_set():
                    stream.cancel()
                    return
        except grpc.RpcError as error:
            refuse(error, f"{name} did not end", self.attributes())

    def _state(self, run: Any) -> State:
        state = contract.to_state(run, self.attributes())
        return {**state, "plan": run.name.rpartition("/runs/")[0]}

    def _call(self, method: str, summary: str, request: Any, seconds: float = 60.0) -> Any:
        try:
            return self.engine.call("RunService", method, request, seconds)
        except grpc.RpcError as error:
            refuse(error, summary, self.attributes(), "run")


def _told(output: str) -> str:
    words = (
        f" One of {', '.join(f'`{word}`' for word in enum_words(run_pb2.RunState.DESCRIPTOR))}."
        if output == "state"
        else ""
    )
    return description_of(f"Run.{output}") + words


def _desired(planned: State) -> Any:
    return enum_number(run_pb2.DesiredState.DESCRIPTOR, planned.get("desired_state") or "running")
