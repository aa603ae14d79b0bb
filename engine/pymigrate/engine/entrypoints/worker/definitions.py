"""From the contract's messages to what the data plane works with; secrets are read here, where the drivers need them."""

import re
from collections.abc import Mapping
from dataclasses import replace

from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.domain.types import parse_type
from pymigrate.engine.entrypoints.worker import schemas
from pymigrate.engine.ports.calls import OutsideCall
from pymigrate.engine.ports.capture import GrowingColumn
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.file_formats import CsvFormat, FileFormat, JsonLinesFormat, ParquetFormat, format_of
from pymigrate.engine.ports.http_format import (
    CursorPaging,
    HttpJsonFormat,
    LinkHeaderPaging,
    OffsetPaging,
    PageNumberPaging,
    Paging,
)
from pymigrate.engine.ports.ranges import parse_range
from pymigrate.engine.ports.relations import SourceRelation
from pymigrate.engine.ports.secrets import Secret, Secrets, parse_secret_ref
from pymigrate.engine.ports.staging import MergePolicy, ReferenceCheck, Staging, StagingId
from pymigrate.engine.transfer.attempt import LaneJob
from pymigrate.engine.transfer.catching_up import FollowJob
from pymigrate.engine.transfer.inspection import InspectJob
from pymigrate.engine.transfer.transforms.quarantine import Quarantine, beside
from pymigrate.engine.transfer.verification_job import Level, NamedReference, VerifyJob
from pymigrate.v1 import connection_pb2, plan_pb2, worker_pb2

CHUNK_BYTES_DEFAULT = 20_000_000
PORTS_DEFAULT = {"postgres": 5432, "mysql": 3306}
SSL_MODE_DEFAULT = "prefer"
CALL_TIMEOUT_SECONDS = 30
HTTP_TIMEOUT_SECONDS = 30
HTTP_RETRIES_MAX = 5
PAGE_ROWS_DEFAULT = 100
KEPT_NAME_CHARACTERS = 30
ICEBERG_CATALOG_DEFAULT = "default"
REFERENCES = ("env://", "file://")
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


PACKINGS = {
    plan_pb2.FILE_PACKING_UNSPECIFIED: "",
    plan_pb2.FILE_PACKING_NONE: "",
    plan_pb2.FILE_PACKING_GZIP: ".gz",
    plan_pb2.FILE_PACKING_ZSTD: ".zst",
}


def system_spec(connection: connection_pb2.Connection, secrets: Secrets) -> SystemSpec:
    """How to reach the connection's system. Raises SecretMissing and InvalidDefinition."""
    kind, name = connection.WhichOneof("system"), last_segment(connection.name)
    match kind:
        case "sqlite":
            return SystemSpec(kind, name, {"path": connection.sqlite.path})
        case "duckdb":
            return SystemSpec(kind, name, {"path": connection.duckdb.path})
        case "files":
            return _files_spec(name, connection.files, secrets)
        case "postgres":
            return _server_spec(kind, name, connection.postgres, secrets)
        case "mysql":
            return _server_spec(kind, name, connection.mysql, secrets)
        case "http":
            return _http_spec(name, connection.http, secrets)
        case "sqlalchemy":
            given = connection.sqlalchemy.password
            password = secrets.read(parse_secret_ref(given, "sqlalchemy.password")) if given else None
            return SystemSpec(kind, name, {"url": connection.sqlalchemy.url}, password)
        case "iceberg":
            system = connection.iceberg
            options = {
                "catalog_path": system.catalog_path,
                "warehouse": system.warehouse,
                "catalog_name": system.catalog_name or ICEBERG_CATALOG_DEFAULT,
            }
            return SystemSpec(kind, name, options)
        case "plugin":
            plain, hidden = _split_options(connection.plugin.options, "plugin.options", secrets)
            return SystemSpec(connection.plugin.kind, name, plain, secrets=hidden)
        case _:
            raise ValueError(
                f"{connection.name} names no system that this worker host knows: it may be older than the engine"
            )


def _server_spec(
    kind: str, name: str, system: connection_pb2.PostgresSystem | connection_pb2.MysqlSystem, secrets: Secrets
) -> SystemSpec:
    """How to reach a database server that is logged in to."""
    options = {
        "host": system.host,
        "port": str(system.port or PORTS_DEFAULT[kind]),
        "database": system.database,
        "user": system.user,
        "ssl_mode": system.ssl_mode or SSL_MODE_DEFAULT,
    }
    password = secrets.read(parse_secret_ref(system.password, f"{kind}.password")) if system.password else None
    return SystemSpec(kind, name, options, password)


def _files_spec(name: str, system: connection_pb2.FilesSystem, secrets: Secrets) -> SystemSpec:
    options, hidden = _split_options(system.options, "files.options", secrets, "option.")
    return SystemSpec("files", name, {"root": system.root, **options}, secrets=hidden)


def _split_options(
    given: Mapping[str, str], path: str, secrets: Secrets, prefix: str = ""
) -> tuple[dict[str, str], dict[str, Secret]]:
    """Options as they are, and those that are read because they are references, each under its name after the prefix."""
    options, hidden = dict[str, str](), dict[str, Secret]()
    for name, value in sorted(given.items()):
        if value.startswith(REFERENCES):
            hidden[prefix + name] = secrets.read(parse_secret_ref(value, f"{path}.{name}"))
        else:
            options[prefix + name] = value
    return options, hidden


def _http_spec(name: str, system: connection_pb2.HttpApiSystem, secrets: Secrets) -> SystemSpec:
    options = {
        "base_url": system.base_url,
        "requests_per_second_max": str(system.requests_per_second_max),
        "timeout_seconds": str(system.timeout_seconds or HTTP_TIMEOUT_SECONDS),
        "retries_max": str(max(0, system.retries_max or HTTP_RETRIES_MAX)),
        "ca_file": system.ca_file,
    }
    headers, hidden = _split_options(system.headers, "http.headers", secrets, "header.")
    return SystemSpec("http", name, {**options, **headers}, secrets=hidden)


def outside_call(work: worker_pb2.StepWork, secrets: Secrets) -> OutsideCall:
    """What to call, with the secrets of its headers. Raises SecretMissing."""
    headers: dict[str, str | Secret] = {}
    for name, value in sorted(work.call.headers.items()):
        is_reference = value.startswith(REFERENCES)
        headers[name] = secrets.read(parse_secret_ref(value, f"headers.{name}")) if is_reference else value
    return OutsideCall(
        method=work.call.method or "POST",
        url=work.call.url,
        key=work.key,
        headers=headers,
        body=work.call.body,
        timeout_seconds=float(work.call.timeout_seconds or CALL_TIMEOUT_SECONDS),
    )


def source_relation(work: worker_pb2.DatasetWork) -> SourceRelation:
    """What is read."""
    return replace(
        relation_of(work.dataset.source),
        key=tuple(work.dataset.key),
        chunk_bytes=work.dataset.chunk_bytes or CHUNK_BYTES_DEFAULT,
    )


def relation_of(source: plan_pb2.DatasetSource) -> SourceRelation:
    """A relation of a connection, whole."""
    return SourceRelation(
        relation=source.relation,
        format=_format(source),
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
        csv=_csv(work.dataset.source),
        ending=_ending(work.dataset.target),
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
        ending=_ending(work.dataset.target),
    )


def _ending(target: plan_pb2.DatasetTarget) -> str:
    """The ending of the files that the target's format has; empty where none is said."""
    match target.WhichOneof("format"):
        case "csv":
            return f"csv{PACKINGS[target.csv.packing]}"
        case "json_lines":
            return f"jsonl{PACKINGS[target.json_lines.packing]}"
        case "parquet":
            return "parquet"
        case _:
            return ""


def _csv(source: plan_pb2.DatasetSource) -> CsvFormat | None:
    """How the source's CSV is written; None where it is no CSV."""
    form = _format(source) or format_of(source.relation)
    return form if isinstance(form, CsvFormat) else None


def _format(source: plan_pb2.DatasetSource) -> FileFormat | HttpJsonFormat | None:
    match source.WhichOneof("format"):
        case "csv":
            return CsvFormat(source.csv.delimiter or ",", tuple(source.csv.null_values))
        case "json_lines":
            return JsonLinesFormat(tuple(source.json_lines.null_values))
        case "parquet":
            return ParquetFormat()
        case "http_json":
            form = source.http_json
            return HttpJsonFormat(
                form.records, dict(form.parameters), _paging(form), form.total, tuple(form.null_values)
            )
        case _:
            return None


def _paging(form: plan_pb2.HttpJsonFormat) -> Paging | None:
    match form.WhichOneof("paging"):
        case "page_number":
            paging = form.page_number
            first = paging.first_page if paging.HasField("first_page") else 1
            return PageNumberPaging(
                paging.parameter or "page", paging.size_parameter, paging.size or PAGE_ROWS_DEFAULT, first
            )
        case "offset":
            return OffsetPaging(
                form.offset.parameter or "offset",
                form.offset.limit_parameter or "limit",
                form.offset.limit or PAGE_ROWS_DEFAULT,
            )
        case "cursor":
            return CursorPaging(form.cursor.next, form.cursor.parameter)
        case "link_header":
            return LinkHeaderPaging()
        case _:
            return None
