"""The operator's share in scaling: what a custom resource Run asks for and what its engine tells, put to the domain's decision, and what
that has to remember kept for as long as the run is under way."""

from pymigrate.engine.domain.lane_scaling import LANES_MAX, LaneLoad, ScalingBounds, ScalingMemory, scaled
from pymigrate.engine.entrypoints.operator.run_steering import ENDED
from pymigrate.engine.ports.clock import Clock
from pymigrate.v1 import custom_resource_pb2, run_pb2

LAG_SECONDS_DEFAULT = 60.0
LATENCY_FACTOR_DEFAULT = 3.0
COOLDOWN_SECONDS_DEFAULT = 60.0


class Scaling:
    """Of all Runs, by the uids of their resources. An operator that begins anew takes the limits as the engine has them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._memories: dict[str, ScalingMemory] = {}

    def lanes(self, uid: str, spec: custom_resource_pb2.RunSpec, run: run_pb2.Run) -> tuple[int, float | None]:
        """The most lanes that the run should have now, 0: no limit of its own; and in how many seconds time alone may change that."""
        if not spec.HasField("scaling"):
            self.forget(uid)
            return min(max(spec.lanes, 0), LANES_MAX), None
        if run.state in ENDED:
            self.forget(uid)
            return run.lanes_max, None
        if spec.suspend or run.desired_state != run_pb2.DESIRED_STATE_RUNNING:
            return run.lanes_max, None
        memory = self._memories.get(uid) or ScalingMemory(limit=run.lanes_max)
        decision = scaled(bounds_of(spec.scaling), load_of(run), memory, self._clock.monotonic())
        self._memories[uid] = decision.memory
        return decision.limit, decision.look_again_seconds

    def forget(self, uid: str) -> None:
        """Of a run that has ended, or whose resource is gone."""
        self._memories.pop(uid, None)


def bounds_of(scaling: custom_resource_pb2.LaneScaling) -> ScalingBounds:
    """What is asked for, with what stands for nothing said. Where the most are fewer than the fewest, the most count."""
    most = min(max(scaling.lanes_max, 1), LANES_MAX)
    return ScalingBounds(
        lanes_max=most,
        lanes_min=min(max(scaling.lanes_min, 1), most),
        lag_seconds_max=scaling.lag_seconds_max or LAG_SECONDS_DEFAULT,
        latency_factor_max=scaling.latency_factor_max or LATENCY_FACTOR_DEFAULT,
        cooldown_seconds=scaling.cooldown_seconds or COOLDOWN_SECONDS_DEFAULT,
    )


def load_of(run: run_pb2.Run) -> LaneLoad:
    """A lane whose system is away takes its place again when that is back. What is published is behind nothing."""
    catching_up = (phase for phase in run.phases.values() if phase.state == run_pb2.PHASE_STATE_STAGING)
    lags = (dataset.lag_seconds for phase in catching_up for dataset in phase.datasets.values())
    counts = run.lane_counts
    return LaneLoad(counts.pending + counts.stalled, counts.running, max(lags, default=-1.0), run.source_latency_factor)
