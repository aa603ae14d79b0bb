"""The contract as a whole: every call is served and has its REST form, every error its code, every message its plain data."""

import base64
import inspect
import json
from collections.abc import AsyncGenerator
from typing import Any, get_origin
from urllib.parse import quote

import pytest
from google.protobuf import struct_pb2, wrappers_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st

from google.api import annotations_pb2
from pymigrate.engine.domain import errors
from pymigrate.engine.entrypoints.grpc.access import AccessCalls
from pymigrate.engine.entrypoints.grpc.audit import AuditCalls
from pymigrate.engine.entrypoints.grpc.connections import ConnectionCalls
from pymigrate.engine.entrypoints.grpc.declared import EnvironmentCalls
from pymigrate.engine.entrypoints.grpc.definitions import DefinitionCalls
from pymigrate.engine.entrypoints.grpc.dispatch import DispatchCalls
from pymigrate.engine.entrypoints.grpc.errors import CODES, code_of, status_of
from pymigrate.engine.entrypoints.grpc.git_sources import GitSourceCalls
from pymigrate.engine.entrypoints.grpc.impacts import ImpactCalls
from pymigrate.engine.entrypoints.grpc.kpis import KpiCalls
from pymigrate.engine.entrypoints.grpc.notifications import NotificationCalls
from pymigrate.engine.entrypoints.grpc.plans import PlanCalls
from pymigrate.engine.entrypoints.grpc.runs import RunCalls
from pymigrate.engine.entrypoints.grpc.secret_backends import SecretBackendCalls
from pymigrate.engine.entrypoints.grpc.server import ADDERS
from pymigrate.engine.entrypoints.grpc.tokens import TokenCalls
from pymigrate.engine.entrypoints.grpc.workers import WorkerCalls
from pymigrate.v1 import connection_pb2, environment_pb2, plan_pb2, run_pb2
from pymigrate.v1.shape import ShapeError, enum_number, enum_word, enum_words, from_data, to_data

TRAILERS_BYTES_MAX = 8_192 - 512  # what gRPC accepts by default, less room for the other trailers
SERVICERS: dict[str, Any] = {
    "EnvironmentService": EnvironmentCalls,
    "ConnectionService": ConnectionCalls,
    "DefinitionService": DefinitionCalls,
    "PlanService": PlanCalls,
    "RunService": RunCalls,
    "ImpactService": ImpactCalls,
    "KpiService": KpiCalls,
    "SecretBackendService": SecretBackendCalls,
    "TokenService": TokenCalls,
    "NotificationService": NotificationCalls,
    "DispatchService": DispatchCalls,
    "GitSourceService": GitSourceCalls,
    "AccessService": AccessCalls,
    "AuditService": AuditCalls,
    "WorkerService": WorkerCalls,
}
SERVICES = {name: module.DESCRIPTOR.services_by_name[name] for name, (module, _) in ADDERS.items()}
METHODS = [(name, method) for name, service in SERVICES.items() for method in service.methods]


def test_every_service_of_the_contract_is_served() -> None:
    declared = {name for module, _ in ADDERS.values() for name in module.DESCRIPTOR.services_by_name}
    assert declared == SERVICERS.keys() == ADDERS.keys()


def own_method(servicer: type, name: str) -> Any:
    """The method of a class or of those that it is made of, but for what the contract generates, which serves nothing."""
    ours = [each for each in servicer.__mro__ if each.__module__.startswith("pymigrate.engine.")]
    return next(vars(each)[name] for each in ours if name in vars(each))


@pytest.mark.parametrize(("service", "method"), METHODS, ids=[method.full_name for _, method in METHODS])
def test_every_call_is_served_by_a_method_of_its_own(service: str, method: Any) -> None:
    served = own_method(SERVICERS[service], method.name)
    told = get_origin(inspect.signature(served).return_annotation)  # a stream may be passed on from where it is made
    is_stream = inspect.isasyncgenfunction(served) or told is AsyncGenerator
    assert inspect.iscoroutinefunction(served) or is_stream
    assert is_stream == method.server_streaming


@pytest.mark.parametrize(("service", "method"), METHODS, ids=[method.full_name for _, method in METHODS])
def test_every_call_has_a_rest_form_of_its_own(service: str, method: Any) -> None:
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    path = getattr(rule, rule.WhichOneof("pattern"))
    assert path.startswith("/v1/")


def every_error() -> list[errors.PyMigrateError]:
    """One error of each class that can be raised."""
    found: list[errors.PyMigrateError] = [
        errors.InvalidDefinition((errors.Problem("phase.key", "no such column"),)),
        errors.NotOwned("environments/e", "terraform", "api"),
        errors.Inherited("environments/e/departments/d", "base"),
        errors.EngineRefused("DATA_REFUSED", "row 7"),
        errors.HostsUnavailable("QUOTA_EXCEEDED", "a quota is used up"),
        errors.RepositoryRefused("FILE_TOO_LARGE", "what", path="a.yaml", line=7),
    ]
    special = {type(error) for error in found} | {errors.PyMigrateError, errors.PermanentError, errors.TemporaryError}
    pending = [errors.PyMigrateError]
    while pending:
        kind: Any = pending.pop()
        pending.extend(kind.__subclasses__())
        if kind not in special and kind.__module__ == errors.__name__:
            found.append(kind("what", field="where"))
    return found


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
def test_every_error_has_a_code_and_says_its_reason(error: errors.PyMigrateError) -> None:
    status = status_of(error)
    info = error_details_pb2.ErrorInfo()
    assert status.code == code_of(error).value[0]
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == (error.reason, "pymigrate.io")


def test_a_definition_that_is_wrong_tells_every_field() -> None:
    bad = error_details_pb2.BadRequest()
    problems = (errors.Problem("a", "x"), errors.Problem("b", "y"))
    assert status_of(errors.InvalidDefinition(problems)).details[1].Unpack(bad)
    assert [(violation.field, violation.description) for violation in bad.field_violations] == [("a", "x"), ("b", "y")]


def test_a_temporary_error_says_when_to_try_again() -> None:
    retry = error_details_pb2.RetryInfo()
    assert status_of(errors.SystemUnavailable("away", retry_after_seconds=2.5)).details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 2500


def test_a_state_that_forbids_a_call_is_told_as_a_violated_precondition() -> None:
    failure = error_details_pb2.PreconditionFailure()
    assert status_of(errors.NotOwned("environments/e", "git", "api")).details[1].Unpack(failure)
    (violation,) = failure.violations
    assert violation.type == "NOT_OWNED"
    assert "managed by git" in violation.description


TEXTS = st.text(max_size=2_000)


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=300))
def test_no_error_is_larger_than_a_client_accepts(parts: list[tuple[str, str]]) -> None:
    problems = tuple(errors.Problem(field, description) for field, description in parts)
    for error in (
        errors.InvalidDefinition(problems),
        errors.FailedPrecondition(parts[0][1] * 9, field=parts[0][0] * 9),
    ):
        status = status_of(error)
        on_the_wire = len(quote(status.message, safe="")) + len(base64.b64encode(status.SerializeToString()))
        assert on_the_wire < TRAILERS_BYTES_MAX


def test_what_there_is_no_room_for_is_counted() -> None:
    bad = error_details_pb2.BadRequest()
    problems = tuple(errors.Problem(f"phases.p{number}.key", "no column `x`" * 9) for number in range(100))
    assert status_of(errors.InvalidDefinition(problems)).details[1].Unpack(bad)
    told = len(bad.field_violations)
    assert 10 < told < 100
    assert bad.field_violations[-1].field == problems[told - 1].field
    assert f"one of {100 - told + 1} problems more" in bad.field_violations[-1].description


def test_the_table_of_codes_ends_with_the_root() -> None:
    assert CODES[-1][0] is errors.PyMigrateError


def test_an_enum_is_a_short_lower_case_word() -> None:
    enum = plan_pb2.DowntimePolicy.DESCRIPTOR
    assert enum_words(enum) == ("offline", "read_only", "online")
    assert enum_word(enum, plan_pb2.DOWNTIME_POLICY_READ_ONLY) == "read_only"
    assert enum_number(enum, "read_only") == plan_pb2.DOWNTIME_POLICY_READ_ONLY
    for wrong in ("READ_ONLY", "unspecified", "DOWNTIME_POLICY_READ_ONLY", ""):
        with pytest.raises(ValueError, match="offline, read_only"):
            enum_number(enum, wrong)


WORDS = st.text("abcdefgh", min_size=1, max_size=6)


@st.composite
def phases(draw: st.DrawFn) -> plan_pb2.Phase:
    """A phase with whatever it may hold."""
    phase = plan_pb2.Phase(
        display_name=draw(st.text(max_size=5)),
        dependencies=draw(st.lists(WORDS, max_size=2)),
        priority=draw(st.integers(-1000, 1000)),
        downtime_policy=draw(st.sampled_from(list(plan_pb2.DowntimePolicy.values()))),
    )
    for name in draw(st.lists(WORDS, max_size=2, unique=True)):
        dataset = phase.datasets[name]
        dataset.source.relation = draw(WORDS)
        dataset.chunk_bytes = draw(st.integers(-(2**63), 2**63 - 1))
        dataset.verification = draw(st.sampled_from(list(plan_pb2.VerificationLevel.values())))
        if draw(st.booleans()):
            dataset.source.csv.null_values.extend(draw(st.lists(WORDS, max_size=2)))
            dataset.source.csv.SetInParent()
        for column in draw(st.lists(WORDS, max_size=2, unique=True)):
            dataset.source.columns[column].type = "int64"
    phase.create_time.FromSeconds(draw(st.integers(0, 2**31)))
    return phase


@given(phases(), st.booleans())
def test_a_message_survives_its_plain_form_in_either_spelling(phase: plan_pb2.Phase, is_snake: bool) -> None:
    again = plan_pb2.Phase()
    from_data(to_data(phase, is_snake=is_snake), again)
    assert again == phase


@pytest.mark.parametrize(
    ("data", "path", "says"),
    [
        ({"departmnt": "x"}, "departmnt", "did you mean `department`?"),
        ({"datasets": {"a": {"source": {"relation": 7}}}}, "datasets.a.source.relation", "must be text"),
        ({"datasets": []}, "datasets", "must be a map"),
        ({"dependencies": "a"}, "dependencies", "must be a list"),
        ({"priority": "seven"}, "priority", "whole number"),
        ({"priority": True}, "priority", "whole number"),
        ({"priority": 2**40}, "priority", "must be"),
        ({"downtimePolicy": "OFFLINE"}, "downtimePolicy", "offline, read_only"),
        ({"datasets": {"a": {"source": {"csv": {}, "parquet": {}}}}}, "datasets.a.source.parquet", "only one"),
        ({"createTime": "yesterday"}, "createTime", "2026-01-31"),
        ({"datasets": {1: {}}}, "datasets.1", "quote it"),
        ({"priority": 1.5}, "priority", "whole number, not one with a fraction"),
        ({"priority": float("inf")}, "priority", "whole number"),
        ({"priority": float("nan")}, "priority", "whole number"),
        ({"priority": "9" * 5_000}, "priority", "must be"),
        ({"downtimePolicy": 1}, "downtimePolicy", "offline, read_only"),
        ({"displayName": None, "dependencies": [1]}, "dependencies[0]", "must be text"),
        ({"datasets": {"a": []}}, "datasets.a", "must be a map"),
        ({"datasets": {"a": {"source": "x"}}}, "datasets.a.source", "must be a map"),
        ({1: 2}, "1", "no such field"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_its_path(data: dict[str, Any], path: str, says: str) -> None:
    with pytest.raises(ShapeError) as error:
        from_data(data, plan_pb2.Phase())
    assert error.value.path == path
    assert says in error.value.description


def test_a_64_bit_number_is_a_number_and_is_read_from_text_too() -> None:
    run = run_pb2.Run(rows=2**60)
    assert to_data(run)["rows"] == 2**60
    again = run_pb2.Run()
    from_data({"rows": str(2**60)}, again)
    assert again == run


def test_a_message_that_is_there_but_empty_stays_there() -> None:
    source = plan_pb2.DatasetSource(parquet=plan_pb2.ParquetFormat())
    again = plan_pb2.DatasetSource()
    from_data(to_data(source), again)
    assert again.WhichOneof("format") == "parquet"


def test_null_leaves_a_field_unset() -> None:
    connection = connection_pb2.Connection()
    from_data({"description": None, "lanesMax": None}, connection)
    assert connection == connection_pb2.Connection()


def test_a_departments_agreements_are_the_same_in_a_definition() -> None:
    data = {
        "readOnlyCostShare": 0.25,
        "systems": {
            "crm": {
                "connection": "legacy",
                "criticality": "critical",
                "rtoSeconds": 3600,
                "availabilityPercent": 99.9,
                "dependencies": ["finance/ledger"],
            }
        },
    }
    department = environment_pb2.Department()
    from_data(data, department)
    assert department.systems["crm"].criticality == environment_pb2.CRITICALITY_CRITICAL
    assert to_data(department) == data


def test_amounts_bytes_and_flags_are_read_strictly() -> None:
    department = environment_pb2.Department()
    from_data({"downtimeCostPerHour": {"currencyCode": "EUR", "amount": 12}, "users": 7.0}, department)
    assert (department.downtime_cost_per_hour.amount, department.users) == (12.0, 7)
    for data, path in (
        ({"downtimeCostPerHour": {"amount": "12"}}, "downtimeCostPerHour.amount"),
        ({"downtimeCostPerHour": {"amount": True}}, "downtimeCostPerHour.amount"),
    ):
        with pytest.raises(ShapeError, match="must be a number") as error:
            from_data(data, environment_pb2.Department())
        assert error.value.path == path
    with pytest.raises(ShapeError, match="true or false"):
        from_data({"deletionProtection": "yes"}, plan_pb2.Plan())
    plan = plan_pb2.Plan()
    from_data({"deletionProtection": True}, plan)
    assert plan.deletion_protection


def test_bytes_are_base64() -> None:
    value = wrappers_pb2.BytesValue(value=b"\x00\xff")
    assert to_data(value) == {"value": "AP8="}
    again = wrappers_pb2.BytesValue()
    from_data(to_data(value), again)
    assert again == value
    with pytest.raises(ShapeError, match="must be base64"):
        from_data({"value": "%"}, wrappers_pb2.BytesValue())


@pytest.mark.parametrize("number", [-1, 2**32])
def test_a_natural_number_has_its_bounds(number: int) -> None:
    with pytest.raises(ShapeError, match="must be 0 to 4294967295"):
        from_data({"value": number}, wrappers_pb2.UInt32Value())


def test_data_that_is_nested_without_end_is_refused() -> None:
    data: dict[str, Any] = {}
    for _ in range(40):
        data = {"structValue": {"fields": {"a": data}}}
    with pytest.raises(ShapeError, match="nested more than"):
        from_data(data, struct_pb2.Value())


def test_what_is_no_map_at_all_is_refused() -> None:
    not_a_map: Any = ["x"]
    with pytest.raises(ShapeError, match="must be a map, not a list"):
        from_data(not_a_map, plan_pb2.Plan())


@st.composite
def connections(draw: st.DrawFn) -> connection_pb2.Connection:
    """A connection to any system."""
    found = connection_pb2.Connection(description=draw(st.text(max_size=9)), labels=draw(st.dictionaries(WORDS, WORDS)))
    match draw(st.sampled_from(["", "sqlite", "duckdb", "postgres", "mysql", "files", "http", "iceberg", "plugin"])):
        case "sqlite":
            found.sqlite.path = draw(WORDS)
        case "duckdb":
            found.duckdb.SetInParent()
        case "postgres":
            found.postgres.port = draw(st.integers(-(2**31), 2**31 - 1))
        case "mysql":
            found.mysql.password = draw(WORDS)
        case "files":
            found.files.root = draw(WORDS)
        case "iceberg":
            found.iceberg.warehouse = draw(WORDS)
        case "plugin":
            found.plugin.kind = draw(WORDS)
        case "http":
            found.http.headers[draw(WORDS)] = draw(st.text(max_size=9))
    return found


@st.composite
def runs(draw: st.DrawFn) -> run_pb2.Run:
    """A run with numbers, digits, times and a verification."""
    found = run_pb2.Run(
        rows=draw(st.integers(-(2**63), 2**63 - 1)), state=draw(st.sampled_from(run_pb2.RunState.values()))
    )
    found.create_time.FromNanoseconds(draw(st.integers(0, 2**60)))
    dataset = found.phases[draw(WORDS)].datasets[draw(WORDS)]
    dataset.copy_seconds = draw(st.floats(allow_nan=False, allow_infinity=False))
    dataset.verification.is_verified = draw(st.booleans())
    dataset.lanes.extend(draw(st.lists(WORDS, max_size=3)))
    return found


@given(st.one_of(connections(), runs()), st.booleans())
def test_connections_and_runs_survive_their_plain_form_and_the_json_of_it(message: Message, is_snake: bool) -> None:
    again = type(message)()
    from_data(json.loads(json.dumps(to_data(message, is_snake=is_snake))), again)
    assert again == message
