"""The steps of a custom resource Run as calls to RunService."""

from google.protobuf.message import Message

from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.entrypoints.operator.run_steering import (
    UID_TRIGGER,
    ApproveGate,
    Cancel,
    Pause,
    Resume,
    Retry,
    Rollback,
    Scale,
)
from pymigrate.v1 import run_pb2
from pymigrate.v1.custom_resource_pb2 import RunSpec

Steering = Pause | Resume | Cancel | Retry | Rollback | ApproveGate | Scale


def start_request(name: str, uid: str, spec: RunSpec, plan_hash: str) -> run_pb2.StartRunRequest:
    """Starts the run of that name. The uid makes it a run of its own, and a repeated call the same one."""
    parent, _, _ = name.partition("/runs/")
    run = run_pb2.Run(triggers={**spec.triggers, UID_TRIGGER: uid})
    return run_pb2.StartRunRequest(
        parent=parent, run_id=last_segment(name), run=run, request_id=uid, plan_hash=plan_hash
    )


def check_request(name: str, uid: str, spec: RunSpec, plan_hash: str) -> run_pb2.StartRunRequest:
    """Starts nothing, and stores nothing."""
    request = start_request(name, uid, spec, plan_hash)
    request.validate_only = True
    return request


def steering(step: Steering, name: str) -> tuple[str, Message]:
    """The method that does it to the run of that name, and its request."""
    match step:
        case Pause():
            return "PauseRun", run_pb2.PauseRunRequest(name=name)
        case Resume():
            return "ResumeRun", run_pb2.ResumeRunRequest(name=name)
        case Cancel():
            return "CancelRun", run_pb2.CancelRunRequest(name=name)
        case Retry():
            return "RetryRun", run_pb2.RetryRunRequest(name=name)
        case Rollback():
            return "RollbackRun", run_pb2.RollbackRunRequest(name=name)
        case ApproveGate(phase, gate):
            return "ApproveGate", run_pb2.ApproveGateRequest(name=name, phase=phase, gate=gate)
        case Scale(lanes):
            return "ScaleRun", run_pb2.ScaleRunRequest(name=name, lanes_max=lanes)
