"""The contract as a whole: every call is served and has its REST form, every error its code, every message its plain data."""

import inspect
from typing import Any

import pytest
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st

from google.api import annotations_pb2
from pymigrate.engine.domain import errors
from pymigrate.engine.entrypoints.grpc.connections import ConnectionCalls
from pymigrate.engine.entrypoints.grpc.declared import EnvironmentCalls
from pymigrate.engine.entrypoints.grpc.errors import CODES, code_of, status_of
from pymigrate.engine.entrypoints.grpc.plans import PlanCalls
from pymigrate.engine.entrypoints.grpc.runs import RunCalls
from pymigrate.engine.entrypoints.grpc.server import ADDERS
from pymigrate.engine.entrypoints.grpc.workers import WorkerCalls
from pymigrate.v1 import connection_pb2, plan_pb2, run_pb2
from pymigrate.v1.shape import ShapeError, enum_number, enum_word, enum_words, from_data, to_data

SERVICERS: dict[str, Any] = {
    "EnvironmentService": EnvironmentCalls,
    "ConnectionService": ConnectionCalls,
    "PlanService": PlanCalls,
    "RunService": RunCalls,
    "WorkerService": WorkerCalls,
}
SERVICES = {name: module.DESCRIPTOR.services_by_name[name] for name, (module, _) in ADDERS.items()}
METHODS = [(name, method) for name, service in SERVICES.items() for method in service.methods]


def test_every_service_of_the_contract_is_served() -> None:
    declared = {name for module, _ in ADDERS.values() for name in module.DESCRIPTOR.services_by_name}
    assert declared == SERVICERS.keys() == ADDERS.keys()


@pytest.mark.parametrize(("service", "method"), METHODS, ids=[method.full_name for _, method in METHODS])
def test_every_call_is_served_by_a_method_of_its_own(service: str, method: Any) -> None:
    served = vars(SERVICERS[service])[method.name]
    assert inspect.iscoroutinefunction(served) or inspect.isasyncgenfunction(served)
    assert inspect.isasyncgenfunction(served) == method.server_streaming


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
        errors.EngineRefused("DATA_REFUSED", "row 7"),
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


def test_the_table_of_codes_ends_with_the_root() -> None:
    assert CODES[-1][0] is errors.PyMigrateError


def test_an_enum_is_a_short_lower_case_word() -> None:
    enum = plan_pb2.DowntimePolicy.DESCRIPTOR
    assert enum_words(enum) == ("offline", "read_only")
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
