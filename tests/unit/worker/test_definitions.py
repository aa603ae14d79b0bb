"""From the contract's messages to what the data plane works with."""

from pathlib import Path

import pytest
from google.protobuf import json_format

from pymigrate.engine.adapters.secrets.env import EnvBackend
from pymigrate.engine.adapters.secrets.file import FileBackend
from pymigrate.engine.adapters.secrets.reading import BackendSecrets, Source
from pymigrate.engine.domain.errors import InvalidDefinition, SecretMissing
from pymigrate.engine.domain.schema import TableSchema
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.entrypoints.worker import definitions, schemas
from pymigrate.engine.entrypoints.worker.systems import system_spec
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.file_formats import CsvFormat, JsonLinesFormat, ParquetFormat
from pymigrate.engine.ports.http_format import (
    CursorPaging,
    HttpJsonFormat,
    LinkHeaderPaging,
    OffsetPaging,
    PageNumberPaging,
)
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.relations import RelationInfo, SourceRelation
from pymigrate.engine.ports.staging import MergePolicy, ReferenceCheck, Staging, StagingId
from pymigrate.engine.testing.clock import HastyClock
from pymigrate.engine.transfer.verification_job import Level, NamedReference
from pymigrate.v1 import connection_pb2, plan_pb2, worker_pb2

PLACES = {"env": Source(lambda: EnvBackend(variables={"PG": "s3cret\n"})), "file": Source(FileBackend)}
SECRETS = BackendSecrets(PLACES, Redactor(), HastyClock())


def a_connection(**system: object) -> connection_pb2.Connection:
    return json_format.ParseDict({"name": "environments/e/connections/legacy", **system}, connection_pb2.Connection())


def a_work(**dataset: object) -> worker_pb2.DatasetWork:
    return worker_pb2.DatasetWork(
        run="run",
        phase="sales",
        dataset_id="orders",
        dataset=json_format.ParseDict(dataset, plan_pb2.Dataset()),
        staging_id="s1",
        schema=connection_pb2.RelationSchema(
            columns=[
                connection_pb2.NamedColumn(name="id", type="int64", required=True, native_type="BIGINT"),
                connection_pb2.NamedColumn(name="price", type="decimal(12,2)"),
            ],
            key=["id"],
        ),
    )


@pytest.mark.parametrize(
    ("system", "kind", "options"),
    [
        ({"sqlite": {"path": "/x.db"}}, "sqlite", {"path": "/x.db"}),
        ({"duckdb": {"path": "/x.duckdb"}}, "duckdb", {"path": "/x.duckdb"}),
        ({"files": {"root": "/x"}}, "files", {"root": "/x"}),
        (
            {"iceberg": {"catalogPath": "/c.db", "warehouse": "file:///w"}},
            "iceberg",
            {"catalog_path": "/c.db", "warehouse": "file:///w", "catalog_name": "default"},
        ),
        (
            {"postgres": {"host": "db", "database": "d", "user": "u"}},
            "postgres",
            {"host": "db", "port": "5432", "database": "d", "user": "u", "ssl_mode": "prefer"},
        ),
        (
            {"mysql": {"host": "db", "database": "d", "user": "u"}},
            "mysql",
            {"host": "db", "port": "3306", "database": "d", "user": "u", "ssl_mode": "prefer"},
        ),
        (
            {"postgres": {"host": "db", "port": 6000, "database": "d", "user": "u", "ssl_mode": "require"}},
            "postgres",
            {"host": "db", "port": "6000", "database": "d", "user": "u", "ssl_mode": "require"},
        ),
    ],
)
def test_a_connection_becomes_its_kind_and_settings(
    system: dict[str, object], kind: str, options: dict[str, str]
) -> None:
    assert system_spec(a_connection(**system), SECRETS) == SystemSpec(kind, "legacy", options)


def test_an_api_has_its_defaults_and_its_secret_headers_apart() -> None:
    headers = {"Authorization": "env://PG", "X-Tenant": "north"}
    spec = system_spec(a_connection(http={"baseUrl": "https://api", "headers": headers}), SECRETS)
    assert spec.options == {
        "base_url": "https://api",
        "requests_per_second_max": "0.0",
        "timeout_seconds": "30",
        "retries_max": "5",
        "ca_file": "",
        "header.X-Tenant": "north",
    }
    assert {name: secret.reveal() for name, secret in spec.secrets.items()} == {"header.Authorization": "s3cret"}
    assert "s3cret" not in repr(spec)
    never = system_spec(a_connection(http={"baseUrl": "https://api", "retriesMax": -1}), SECRETS)
    assert never.options["retries_max"] == "0"


@pytest.mark.parametrize(
    ("paging", "expected"),
    [
        ({}, None),
        ({"pageNumber": {}}, PageNumberPaging("page", "", 100, 1)),
        (
            {"pageNumber": {"parameter": "p", "sizeParameter": "n", "size": 7, "firstPage": 0}},
            PageNumberPaging("p", "n", 7, 0),
        ),
        ({"offset": {}}, OffsetPaging("offset", "limit", 100)),
        ({"offset": {"parameter": "skip", "limitParameter": "take", "limit": 9}}, OffsetPaging("skip", "take", 9)),
        ({"cursor": {"next": "meta.next", "parameter": "after"}}, CursorPaging("meta.next", "after")),
        ({"linkHeader": {}}, LinkHeaderPaging()),
    ],
)
def test_an_api_is_read_by_its_paging(paging: dict[str, object], expected: object) -> None:
    form = {"records": "items", "parameters": {"a": "b"}, "total": "n", "nullValues": ["-"], **paging}
    work = a_work(source={"relation": "orders", "httpJson": form})
    assert definitions.source_relation(work).format == HttpJsonFormat("items", {"a": "b"}, expected, "n", ("-",))  # type: ignore[arg-type]  # a paging


def test_a_password_is_read_where_its_reference_leads(tmp_path: Path) -> None:
    (tmp_path / "pw.json").write_text('{"pg": "other"}')
    for reference, value in (("env://PG", "s3cret"), (f"file://{tmp_path}/pw.json#pg", "other")):
        spec = system_spec(a_connection(postgres={"host": "db", "password": reference}), SECRETS)
        assert spec.password is not None
        assert spec.password.reveal() == value
        assert value not in repr(spec)
        spec = system_spec(a_connection(mysql={"host": "db", "password": reference}), SECRETS)
        assert spec.password is not None
        assert spec.password.reveal() == value


def test_a_password_written_as_itself_is_refused_without_being_shown() -> None:
    with pytest.raises(InvalidDefinition) as refused:
        system_spec(a_connection(postgres={"host": "db", "password": "hunter2"}), SECRETS)
    assert refused.value.field == "postgres.password"
    assert "hunter2" not in str(refused.value)
    with pytest.raises(SecretMissing, match="there is no secret backend `vault` here, but env://, file://"):
        system_spec(a_connection(postgres={"host": "db", "password": "vault://x"}), SECRETS)


def test_a_connection_of_an_unknown_kind_says_that_the_host_is_older() -> None:
    with pytest.raises(ValueError, match="older than the engine"):
        system_spec(a_connection(), SECRETS)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({}, None),
        ({"csv": {}}, CsvFormat(",", ())),
        ({"csv": {"delimiter": ";", "nullValues": ["NA", ""]}}, CsvFormat(";", ("NA", ""))),
        ({"jsonLines": {"nullValues": ["-"]}}, JsonLinesFormat(("-",))),
        ({"parquet": {}}, ParquetFormat()),
    ],
)
def test_a_file_is_read_in_its_format(source: dict[str, object], expected: object) -> None:
    work = a_work(source={"relation": "orders", **source})
    assert definitions.source_relation(work).format == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"relation": "orders.jsonl"}, None),
        ({"relation": "orders"}, None),
        ({"relation": "orders-*.tsv.gz"}, CsvFormat("\t")),
        ({"relation": "orders.tsv", "csv": {"nullValues": [""]}}, CsvFormat(",", ("",))),
    ],
)
def test_a_staging_is_told_how_records_that_pass_are_written(source: dict[str, object], expected: object) -> None:
    assert definitions.staging(a_work(source=source)).csv == expected


@pytest.mark.parametrize(
    ("form", "ending"),
    [
        ({}, ""),
        ({"csv": {}}, "csv"),
        ({"csv": {"packing": "FILE_PACKING_GZIP"}}, "csv.gz"),
        ({"jsonLines": {"packing": "FILE_PACKING_ZSTD"}}, "jsonl.zst"),
        ({"parquet": {}}, "parquet"),
    ],
)
def test_a_staging_has_the_ending_of_the_targets_files(form: dict[str, object], ending: str) -> None:
    assert definitions.staging(a_work(target={"relation": "orders", **form})).ending == ending


def test_options_of_a_filesystem_are_settings_and_secrets(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2")
    files = {"root": "s3://b/x", "options": {"anon": "true", "secret": f"file://{tmp_path}/key"}}
    spec = system_spec(a_connection(files=files), SECRETS)
    assert spec.options == {"root": "s3://b/x", "option.anon": "true"}
    assert spec.secrets["option.secret"].reveal() == "hunter2"


def test_a_source_relation_has_the_declared_columns_key_and_chunk_size() -> None:
    columns = {"id": {"type": "int32"}, "note": {"required": True}}
    work = a_work(source={"relation": "r", "columns": columns}, key=["id"], chunkBytes="65536")
    assert definitions.source_relation(work) == SourceRelation(
        "r", columns={"id": ColumnType("int32")}, key=("id",), chunk_bytes=65_536
    )
    assert definitions.source_relation(a_work()).chunk_bytes == 20_000_000


def test_staging_has_the_frozen_columns_and_the_declared_key_before_the_sources_own() -> None:
    columns = (
        ColumnInfo("id", ColumnType("int64"), is_required=True, native_type="BIGINT"),
        ColumnInfo("price", ColumnType("decimal", 12, 2)),
    )
    target = {"relation": "orders", "loadMode": "LOAD_MODE_REPLACE"}
    expected = Staging(StagingId("s1"), "orders", columns, ("id",), True, schema=TableSchema(key=("id",)))
    assert definitions.staging(a_work(target=target)) == expected
    other = definitions.staging(a_work(target={"relation": "orders"}, key=["price"]))
    assert (other.key, other.is_replace) == (("price",), False)


def test_rows_are_added_or_merged_as_the_load_mode_and_the_policy_say() -> None:
    added = definitions.staging(a_work(target={"relation": "orders", "loadMode": "LOAD_MODE_APPEND"}))
    assert (added.is_append, added.is_replace, added.merge, added.is_addition) == (True, False, None, True)
    target = {"relation": "orders", "loadMode": "LOAD_MODE_MERGE"}
    policies = {
        "CONFLICT_POLICY_UNSPECIFIED": MergePolicy.FAIL,
        "CONFLICT_POLICY_FAIL": MergePolicy.FAIL,
        "CONFLICT_POLICY_KEEP_EXISTING": MergePolicy.KEEP_EXISTING,
        "CONFLICT_POLICY_OVERWRITE": MergePolicy.OVERWRITE,
        "CONFLICT_POLICY_LATEST": MergePolicy.LATEST,
        "CONFLICT_POLICY_QUARANTINE": MergePolicy.QUARANTINE,
    }
    assert set(policies) == set(plan_pb2.ConflictPolicy.keys())
    for name, policy in policies.items():
        merged = definitions.staging(a_work(target=target, conflictPolicy=name, orderColumn="price"))
        assert (merged.merge, merged.order_column, merged.is_append) == (policy, "price", False)


def test_a_verification_is_sampled_unless_it_is_said_otherwise() -> None:
    levels = {
        "VERIFICATION_LEVEL_UNSPECIFIED": Level.SAMPLED,
        "VERIFICATION_LEVEL_COUNT": Level.COUNT,
        "VERIFICATION_LEVEL_SAMPLED": Level.SAMPLED,
        "VERIFICATION_LEVEL_FULL": Level.FULL,
        "VERIFICATION_LEVEL_NONE": Level.NONE,
    }
    assert set(levels) == set(plan_pb2.VerificationLevel.keys())
    for name, level in levels.items():
        work = worker_pb2.VerifyWork(dataset=a_work(verification=name), lanes=["a", "b"])
        job = definitions.verify_job(work)
        assert (job.level, job.lanes, job.dataset) == (level, ("a", "b"), "orders")


def test_a_reference_fails_the_phase_only_where_that_is_asked_for() -> None:
    reference = {"columns": ["id"], "relation": "people", "relationColumns": ["pid"]}
    work = a_work(references={"soft": reference, "hard": {**reference, "policy": "REFERENCE_POLICY_FAIL"}})
    check = ReferenceCheck(("id",), "people", ("pid",))
    assert definitions.verify_job(worker_pb2.VerifyWork(dataset=work)).references == {
        "soft": NamedReference(check, is_fatal=False),
        "hard": NamedReference(check, is_fatal=True),
    }


def test_a_lane_is_copied_under_its_tasks_fence() -> None:
    task = worker_pb2.Task(
        id="t", fence=7, copy=worker_pb2.CopyWork(dataset=a_work(), lane="run/lanes/one", source_state="v1")
    )
    job = definitions.lane_job(task)
    assert (job.lane, job.fence, job.source_state, job.dataset) == ("run/lanes/one", 7, "v1", "orders")


def test_a_relation_is_told_as_it_was_found() -> None:
    info = RelationInfo(
        "orders", (ColumnInfo("p", ColumnType("decimal", 12, 2), True, "NUMERIC"),), ("p",), 5, 50, True
    )
    message = schemas.relation_message(info)
    assert json_format.MessageToDict(message, preserving_proto_field_name=True) == {
        "relation": "orders",
        "columns": [{"name": "p", "type": "decimal(12,2)", "required": True, "native_type": "NUMERIC"}],
        "key": ["p"],
        "rows": "5",
        "bytes": "50",
        "is_exact_rows": True,
    }
