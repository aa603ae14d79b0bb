"""From the contract's messages to the data plane's jobs: what of a dataset is copied, followed, compared and looked at."""

import re
from dataclasses import replace

from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.types import parse_type
from pymigrate.engine.entrypoints.worker import schemas
from pymigrate.engine.entrypoints.worker.formats import csv_format, ending_of, source_format
from pymigrate.engine.ports.capture import GrowingColumn
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import parse_range
from pymigrate.engine.ports.relations import CHUNK_BYTES, SourceRelation
from pymigrate.engine.ports.staging import MergePolicy, ReferenceCheck, Staging, StagingId
from pymigrate.engine.transfer.catching_up import FollowJob
from pymigrate.engine.transfer.inspection_job import InspectJob
from pymigrate.engine.transfer.lane_job import LaneJob
from pymigrate.engine.transfer.transforms.quarantine import Quarantine, beside
from pymigrate.engine.transfer.verification_job import Level, NamedReference, VerifyJob
from pymigrate.v1 import plan_pb2, worker_pb2

KEPT_NAME_CHARACTERS = 30


CODE = frozenset({"python", "plugin"})


LEVELS = {
    plan_pb2.VERIFICATION_LEVEL_UNSPECIFIED: Level.SAMPLED,
    plan_pb2.VERIFICATION_LEVEL_COUNT: Level.COUNT,
    plan_pb2.VERIFICATION_LEVEL_SAMPLED: Level.SAMPLED,
    plan_pb2.VERIFICATION_LEVEL_FULL: Level.FULL,
    plan_pb2.VERIFICATION_LEVEL_NONE: Level.NONE,
}


POLICIES = {
    plan_pb2.CONFLICT_POLICY_UNSPECIFIED: MergePolicy.FAIL,
    plan_pb2.CONFLICT_POLICY_FAIL: MergePolicy.FAIL,
    plan_pb2.CONFLICT_POLICY_KEEP_EXISTING: MergePolicy.KEEP_EXISTING,
    plan_pb2.CONFLICT_POLICY_OVERWRITE: MergePolicy.OVERWRITE,
    plan_pb2.CONFLICT_POLICY_LATEST: MergePolicy.LATEST,
    plan_pb2.CONFLICT_POLICY_QUARANTINE: MergePolicy.QUARANTINE,
}


def source_relation(work: worker_pb2.DatasetWork) -> SourceRelation:
    """What is read."""
    return replace(
        relation_of(work.dataset.source),
        key=tuple(work.dataset.key),
        chunk_bytes=work.dataset.chunk_bytes or CHUNK_BYTES,
    )


def relation_of(source: plan_pb2.DatasetSource) -> SourceRelation:
    """A relation of a connection, whole."""
    return SourceRelation(
        relation=source.relation,
        format=source_format(source),
        columns={name: parse_type(column.type) for name, column in source.columns.items() if column.type},
    )


def staging(work: worker_pb2.DatasetWork) -> Staging:
    """Where it is put before publication, with the columns that the run froze."""
    return Staging(
        id=StagingId(work.staging_id),
        relation=work.dataset.target.relation,
        columns=tuple(map(schemas.column_info, work.schema.columns)),
        key=tuple(work.dataset.key or work.schema.key),
        is_replace=is_replace(work),
        merge=merge_policy(work),
        path=CopyPath(work.path or CopyPath.ARROW),
        is_append=is_append(work),
        order_column=work.dataset.order_column,
        schema=schemas.table_schema(work.schema, work.dataset),
        csv=csv_format(work.dataset.source),
        ending=ending_of(work.dataset.target),
    )


def is_transformed(dataset: plan_pb2.Dataset) -> bool:
    """Whether its rows go through anything on their way, if only to see which of them are to be refused."""
    return bool(dataset.transforms) or dataset.HasField("quarantine")


def quarantine(work: worker_pb2.DatasetWork) -> Quarantine | None:
    """Where refused rows go."""
    declared = work.dataset.quarantine
    if not work.dataset.HasField("quarantine"):
        return None
    return Quarantine(beside(staging(work), declared.relation), declared.rows_max, declared.share_max)


def merge_policy(work: worker_pb2.DatasetWork) -> MergePolicy | None:
    """How rows are merged into those that the target holds; None where they are not."""
    if work.dataset.target.load_mode != plan_pb2.LOAD_MODE_MERGE:
        return None
    return POLICIES[work.dataset.conflict_policy]


def is_append(work: worker_pb2.DatasetWork) -> bool:
    """Whether rows are added to those that the target holds."""
    return work.dataset.target.load_mode == plan_pb2.LOAD_MODE_APPEND


def is_replace(work: worker_pb2.DatasetWork) -> bool:
    """Whether the rows that the target holds already may be replaced."""
    return work.dataset.target.load_mode == plan_pb2.LOAD_MODE_REPLACE


def lane_job(task: worker_pb2.Task) -> LaneJob:
    """What to copy."""
    work = task.copy.dataset
    return LaneJob(
        dataset=work.dataset_id,
        relation=replace(source_relation(work), range=parse_range(task.copy.range)),
        staging=staging(work),
        lane=task.copy.lane,
        fence=task.fence,
        source_state=task.copy.source_state,
        is_alone=not task.copy.range,
        is_followed=is_followed(work),
        quarantine=quarantine(work),
    )


def is_followed(work: worker_pb2.DatasetWork) -> bool:
    """Whether the dataset's source is written to, and what changes is brought in."""
    return work.dataset.HasField("catch_up")


def follow_job(work: worker_pb2.DatasetWork, fence: int = 0) -> FollowJob:
    """What to follow."""
    return FollowJob(
        dataset=work.dataset_id,
        relation=source_relation(work),
        staging=staging(work),
        lane=f"{work.run}/phases/{work.phase}/datasets/{work.dataset_id}/changes",
        fence=fence,
        name=_kept_name(work),
        opens_source=work.dataset.catch_up.opens_source,
    )


def growing_column(work: worker_pb2.DatasetWork) -> GrowingColumn | None:
    """The column that tells changes; None where the source's log does."""
    if work.dataset.catch_up.WhichOneof("by") != "column":
        return None
    return GrowingColumn(work.dataset.catch_up.column.name, work.dataset.catch_up.column.overlap)


def _kept_name(work: worker_pb2.DatasetWork) -> str:
    """What the source keeps changes under: whose it is, for people, and the staging's id, for us."""
    told = re.sub(r"[^a-z0-9_]", "_", f"{work.phase}_{work.dataset_id}".lower())[:KEPT_NAME_CHARACTERS]
    return f"pymigrate_{told}_{work.staging_id}"


def verify_job(work: worker_pb2.VerifyWork, fence: int = 1) -> VerifyJob:
    """What to compare, and the fence to repair under."""
    dataset = work.dataset.dataset
    return VerifyJob(
        dataset=work.dataset.dataset_id,
        relation=source_relation(work.dataset),
        staging=staging(work.dataset),
        lanes=tuple(work.lanes),
        ranges=tuple(map(parse_range, work.ranges)),
        level=LEVELS[dataset.verification],
        references={
            name: NamedReference(
                ReferenceCheck(tuple(reference.columns), reference.relation, tuple(reference.relation_columns)),
                is_fatal=reference.policy == plan_pb2.REFERENCE_POLICY_FAIL,
            )
            for name, reference in dataset.references.items()
        },
        is_transformed=is_transformed(dataset),
        quarantine=quarantine(work.dataset),
        has_code=any(transform.WhichOneof("kind") in CODE for transform in dataset.transforms),
        fence=fence,
    )


def inspect_job(asked: worker_pb2.InspectWork, source: SystemSpec, target: SystemSpec) -> InspectJob:
    """What to look at."""
    work = asked.dataset
    return InspectJob(
        lanes_max=asked.lanes_max,
        relation=source_relation(work),
        staging_id=StagingId(work.staging_id),
        target_relation=work.dataset.target.relation,
        is_replace=is_replace(work),
        merge=merge_policy(work),
        is_append=is_append(work),
        order_column=work.dataset.order_column,
        is_unverified=LEVELS[work.dataset.verification] is Level.NONE,
        source_system=source,
        target_system=target,
        references={name: tuple(reference.columns) for name, reference in work.dataset.references.items()},
        is_transformed=is_transformed(work.dataset),
        quarantine=quarantine(work),
        relations=dict(asked.relations),
        omit=schemas.omitted(work.dataset.target),
        is_followed=is_followed(work),
        ending=ending_of(work.dataset.target),
    )
