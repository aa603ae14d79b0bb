"""Runs as resources declare them, and as the engine has them."""

from collections.abc import Mapping

from pymigrate.engine.entrypoints.operator.run_steering import UID_TRIGGER
from pymigrate.v1 import custom_resource_pb2, plan_pb2, run_pb2

NAME = "environments/shop/plans/warehouse/runs/k0123456789ab"
HASH = "a" * 64
OTHER_HASH = "b" * 64
PHASES = {"sales": "PUBLISHED"}


def run_spec(**fields: object) -> custom_resource_pb2.RunSpec:
    """A declaration of a run of the plan `warehouse`."""
    return custom_resource_pb2.RunSpec(**{"plan": "warehouse", **fields})  # type: ignore[arg-type]  # a test's own fields


def engine_run(
    state: str, *, desired: str = "RUNNING", phases: Mapping[str, str] | None = None, **fields: object
) -> run_pb2.Run:
    """The engine's run in a state, with phases by name in theirs."""
    run = run_pb2.Run(
        **{  # type: ignore[arg-type]  # a test's own fields
            "name": NAME,
            "state": f"RUN_STATE_{state}",
            "desired_state": f"DESIRED_STATE_{desired}",
            "plan_hash": HASH,
            "triggers": {UID_TRIGGER: "u"},
            "rows_expected": -1,
            **fields,
        }
    )
    for name, phase in (phases or {}).items():
        run.phases[name].state = run_pb2.PhaseState.Value(f"PHASE_STATE_{phase}")
    return run


def add_gate(run: run_pb2.Run, phase: str, gate: str, *, is_before_start: bool = True, approver: str = "") -> None:
    """Gives a phase of a run a gate."""
    point = plan_pb2.GATE_POINT_BEFORE_START if is_before_start else plan_pb2.GATE_POINT_BEFORE_PUBLICATION
    run.phases[phase].gates[gate].CopyFrom(run_pb2.GateRun(point=point, approver=approver))
