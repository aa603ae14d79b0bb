"""A probe in the contract's words: what is copied, compared and published of a dataset into a scratch relation, and how long it took."""

from collections.abc import Callable
from dataclasses import replace

from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.entrypoints.worker import definitions
from pymigrate.engine.entrypoints.worker.credentials import Credentials
from pymigrate.engine.ports.connector import Connector
from pymigrate.engine.ports.ranges import parse_range
from pymigrate.engine.ports.relations import UNKNOWN, SourceRelation
from pymigrate.engine.ports.staging import Staging
from pymigrate.engine.transfer.lane_job import LaneJob
from pymigrate.engine.transfer.probe_job import Probed, ProbeJob
from pymigrate.engine.transfer.verification_job import Level
from pymigrate.v1 import worker_pb2

UNREAD = "lane that nobody copies"


def probe_job(task: worker_pb2.Task) -> ProbeJob:
    """What to probe. Nothing but the scratch relation is touched: foreign keys are not declared, references not looked up, refused
    rows not kept, and changes not captured; what of that a run would do is noted."""
    asked = task.probe
    work = worker_pb2.DatasetWork()
    work.CopyFrom(asked.dataset)
    for field in ("catch_up", "references"):
        work.dataset.ClearField(field)
    staging = definitions.staging(work)
    staging = replace(staging, schema=replace(staging.schema, foreign_keys=()))
    relation = replace(definitions.source_relation(work), range=parse_range(asked.range))
    lane = f"{task.id}/{task.fence}"
    verify = definitions.verify_job(worker_pb2.VerifyWork(dataset=work, lanes=[lane]), task.fence)
    verify = replace(verify, relation=relation, staging=staging, quarantine=None)
    is_large = asked.dataset_bytes > verify.sampled_bytes_max
    if definitions.is_followed(asked.dataset):
        # The tail of a dataset that catches up reads both sides whole up to a size, whatever its lanes.
        verify = replace(verify, level=Level.FULL) if verify.level is Level.SAMPLED and not is_large else verify
    elif asked.lanes > 1:
        verify = replace(verify, lanes=(lane, UNREAD))
    if is_large:
        verify = replace(verify, sampled_bytes_max=0)
    return ProbeJob(
        lane=LaneJob(work.dataset_id, relation, staging, lane, task.fence),
        seconds_max=asked.seconds_max,
        bytes_max=asked.bytes_max,
        verify=None if asked.is_copy_alone else verify,
        notes=() if asked.is_copy_alone else tuple(_left_out(asked.dataset, staging)),
    )


def _left_out(work: worker_pb2.DatasetWork, staging: Staging) -> list[str]:
    notes = []
    if definitions.staging(work).schema.foreign_keys:
        notes.append("foreign keys are not declared on a sample: how long that takes is not measured")
    if work.dataset.references:
        notes.append("references are not looked up for a sample: how long that takes is not measured")
    return notes


def probed_message(found: Probed) -> worker_pb2.Probed:
    """What a probe found."""
    return worker_pb2.Probed(
        open_seconds=found.open_seconds,
        chunks=[
            worker_pb2.ProbedChunk(
                rows=chunk.rows, bytes=chunk.bytes, seconds=chunk.seconds, source_seconds=chunk.source_seconds
            )
            for chunk in found.chunks
        ],
        is_whole=found.is_whole,
        verify_seconds=found.verify_seconds,
        verified_rows=found.verified_rows,
        publish_seconds=found.publish_seconds,
        drop_seconds=found.drop_seconds,
        target_bytes=found.target_bytes,
        notes=found.notes,
        close_seconds=found.close_seconds,
        task_seconds=found.task_seconds,
    )


def size_in(system: Credentials, connector: Connector, is_readable: bool) -> Callable[[str], int]:
    """Tells the bytes of a relation in a target; UNKNOWN where neither the target nor, where it can be read, its source tells."""

    def told(relation: str) -> int:
        target = system.open(connector.open_target)
        try:
            listed = [info.bytes for info in target.relations(relation, 1)]
        finally:
            target.close()
        if not is_readable or UNKNOWN not in listed:
            return listed[0] if listed else UNKNOWN
        source = system.open(connector.open_source)
        try:
            return source.describe(SourceRelation(relation)).bytes
        finally:
            source.close()

    def size(relation: str) -> int:
        try:
            return told(relation)
        except PyMigrateError:  # not knowing it is no failure of the probe
            return UNKNOWN

    return size
