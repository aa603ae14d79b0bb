"""A task's outcome in the contract's words."""

from collections.abc import Mapping
from typing import TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pymigrate.engine.entrypoints.worker import definitions, schemas
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.staging import Checkpoint, Dangling
from pymigrate.engine.transfer.inspection_job import Inspection
from pymigrate.engine.transfer.transforms.place import place_of
from pymigrate.engine.transfer.verification import Verification
from pymigrate.v1 import connection_pb2, plan_pb2, run_pb2, secret_backend_pb2, worker_pb2

SOURCE_FIELD, SOURCE_CONNECTION, TARGET_FIELD = "source.relation", "source.connection", "target.connection"
# What the engine gives back to hosts as it is, and what names things that are declared.
MEANT = frozenset(
    {
        "DiscoverSchemaResponse.relations",
        "Failure.field",
        "Failure.reason",
        "Inspection.path",
        "Inspection.ranges",
        "Inspection.source",
        "Inspection.source_state",
        "Problem.field",
    }
)
M = TypeVar("M", bound=Message)


def done(
    test: connection_pb2.TestConnectionResponse | None = None,
    discover: connection_pb2.DiscoverSchemaResponse | None = None,
    inspect: run_pb2.Inspection | None = None,
    copy: worker_pb2.LaneProgress | None = None,
    verify: run_pb2.Verification | None = None,
    prepare: worker_pb2.Prepared | None = None,
    publish: worker_pb2.Published | None = None,
    probe: worker_pb2.Probed | None = None,
    test_secrets: secret_backend_pb2.TestSecretBackendResponse | None = None,
) -> worker_pb2.FinishTaskRequest:
    """A task that is done, with what is to be told of it."""
    result = worker_pb2.TaskResult(
        test=test,
        discover=discover,
        inspect=inspect,
        copy=copy,
        verify=verify,
        prepare=prepare,
        publish=publish,
        probe=probe,
        test_secrets=test_secrets,
    )
    return worker_pb2.FinishTaskRequest(result=result)


def progress(
    work: worker_pb2.DatasetWork,
    checkpoint: Checkpoint,
    source_seconds: float = 0.0,
    secret_versions: Mapping[str, str] | None = None,
) -> worker_pb2.LaneProgress:
    """How far a lane got, how many seconds its source took for the last chunk, and which versions of secrets it uses."""
    is_transformed = definitions.is_transformed(work.dataset)
    return worker_pb2.LaneProgress(
        chunks=checkpoint.chunks,
        rows=checkpoint.rows,
        bytes=checkpoint.bytes,
        source_seconds=source_seconds,
        secret_versions=secret_versions,
        quarantined_rows=place_of(checkpoint.position).refused if is_transformed else 0,
    )


def inspection_message(found: Inspection) -> run_pb2.Inspection:
    """What an inspection found."""
    message = run_pb2.Inspection(
        is_target_present=found.is_target_present,
        target_rows=found.target_rows,
        source_state=found.source_state,
        path=found.choice.path,
        path_reason=found.choice.reason,
        delivery=run_pb2.Delivery.Value(f"DELIVERY_{found.delivery.upper()}"),
        ranges=[span.text() for span in found.ranges],
        problems=[plan_pb2.Problem(field=problem.field, description=problem.description) for problem in found.problems],
        ddl=plan_pb2.TargetDdl(statements=found.ddl.statements, notes=found.ddl.notes),
    )
    if found.source is not None:
        message.source.CopyFrom(schemas.relation_message(found.source))
    return message


def verification_message(found: Verification, level: "plan_pb2.VerificationLevel.ValueType") -> run_pb2.Verification:
    """What was compared and found equal, and at which level."""
    return run_pb2.Verification(
        level=level or plan_pb2.VERIFICATION_LEVEL_SAMPLED,
        source_rows=found.source_rows,
        target_rows=found.target_rows,
        transfer_checksum=found.transfer_checksum,
        source_checksum=found.source_checksum,
        target_checksum=found.target_checksum,
        compared_rows=found.compared_rows,
        is_verified=True,
        dangling=_dangling(found.dangling),
        repaired_rows=found.repair.rows,
        repaired=[
            run_pb2.MismatchedRow(row=each.row, kind=each.kind, columns=each.columns) for each in found.repair.examples
        ],
    )


def _dangling(found: Mapping[str, Dangling]) -> dict[str, run_pb2.DanglingReference]:
    return {
        name: run_pb2.DanglingReference(rows=dangling.rows, values=dangling.values, examples=dangling.examples)
        for name, dangling in found.items()
    }


def without_secrets(message: M, redactor: Redactor) -> M:
    """The same message: every text in it that is told to people has been cleaned."""
    waiting: list[Message] = [message]
    while waiting:
        held = waiting.pop()
        for field, value in held.ListFields():
            if f"{held.DESCRIPTOR.name}.{field.name}" in MEANT:
                continue
            is_many = field.label == FieldDescriptor.LABEL_REPEATED
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                waiting += [part for part in value.values() if isinstance(part, Message)]
            elif field.message_type is not None:
                waiting += value if is_many else [value]
            elif field.type == FieldDescriptor.TYPE_STRING and is_many:
                value[:] = map(redactor.clean, value)
            elif field.type == FieldDescriptor.TYPE_STRING:
                setattr(held, field.name, redactor.clean(value))
    return message


def plan_field(field: str, task: worker_pb2.Task) -> str:
    """A dataset's field as one of the plan; empty where it can't be said which dataset is meant."""
    match task.WhichOneof("work"):
        case "capture":
            works = [task.capture.dataset]
        case "catch_up":
            works = [task.catch_up.dataset]
        case "copy":
            works = [task.copy.dataset]
        case "verify":
            works = [task.verify.dataset]
        case "publish":
            works = list(task.publish.datasets)
        case "rollback":
            works = list(task.rollback.datasets)
        case "probe":
            works = [task.probe.dataset]
        case "prepare":
            works = list(task.prepare.datasets)
        case "seal":
            works = list(task.seal.datasets)
        case _:
            return field
    if not field or not works or (len(works) != 1 and field != TARGET_FIELD):
        return ""
    return f"phases.{works[0].phase}.datasets.{works[0].dataset_id}.{field}"
