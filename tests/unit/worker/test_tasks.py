"""Tasks in the contract's words, over the fake connector."""

import itertools
from pathlib import Path

import pytest

from pymigrate.engine.adapters.connectors.duckdb import DuckdbConnector
from pymigrate.engine.domain.errors import (
    DataRefused,
    InvalidDefinition,
    Problem,
    StepRefused,
    StepUnavailable,
    SystemUnavailable,
    TargetOccupied,
)
from pymigrate.engine.entrypoints.worker.outcomes import without_secrets
from pymigrate.engine.entrypoints.worker.tasks import TaskRunner
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secrets import Secret
from pymigrate.engine.testing.calls import MemoryCalls
from pymigrate.engine.testing.secrets import MemorySecrets
from pymigrate.engine.transfer.means import Means
from pymigrate.engine.transfer.signals import LeaseLost
from pymigrate.v1 import connection_pb2, plan_pb2, run_pb2, worker_pb2
from tests.unit.transfer.lanes import COLUMNS, Asked, orders
from tests.unit.worker.bench import PASSWORD, Bench


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.work.schema.CopyFrom(bench.inspect().result.inspect.source)
    return bench


def test_a_dataset_goes_from_inspection_to_publication_and_back(bench: Bench) -> None:
    found = bench.inspect().result.inspect
    assert (found.path, found.source.rows, list(found.problems)) == ("arrow", 45, [])
    copied = bench.copy().result.copy
    assert (copied.chunks, copied.rows, copied.bytes) == (5, 45, 450)
    assert [progress.chunks for progress in bench.progress] == [0, 1, 2, 3, 4, 5]
    proof = bench.verify().result.verify
    assert (proof.level, proof.is_verified, proof.source_rows) == (plan_pb2.VERIFICATION_LEVEL_SAMPLED, True, 45)
    for _ in range(2):
        published = bench.run(publish=worker_pb2.PublishWork(datasets=[bench.work]))
        assert (published.WhichOneof("outcome"), published.result.WhichOneof("result")) == ("result", "publish")
    assert bench.target.read("orders") == orders(45)
    bench.run(rollback=worker_pb2.RollbackWork(datasets=[bench.work]))
    assert "orders" not in bench.target.relations


def test_what_dangles_is_told_by_the_references_name(bench: Bench) -> None:
    bench.target.put("people", COLUMNS, [(1, "a")])
    reference = bench.work.dataset.references["person"]
    reference.columns.append("id")
    reference.relation = "people"
    reference.relation_columns.append("id")
    bench.copy()
    dangling = bench.verify().result.verify.dangling["person"]
    assert (dangling.rows, dangling.values, len(dangling.examples)) == (44, 44, 10)


def test_a_connection_is_tested_and_discovered_by_its_side(bench: Bench) -> None:
    tested = bench.run(test=worker_pb2.TestWork(connection=bench.work.source)).result.test
    assert tested.version == "Memory 1.0"
    bench.source.put("people", COLUMNS, [])
    discover = worker_pb2.DiscoverWork(connection=bench.work.source, relation_glob="p*")
    assert [info.relation for info in bench.run(discover=discover).result.discover.relations] == ["people"]
    everything = bench.run(discover=worker_pb2.DiscoverWork(connection=bench.work.source)).result.discover
    assert ([info.relation for info in everything.relations], everything.is_truncated) == (["orders", "people"], False)
    duckdb = connection_pb2.Connection(name="warehouse", duckdb=connection_pb2.DuckdbSystem(path="/w"))
    opened = bench.target.faults.seen("open_source")
    assert bench.run(test=worker_pb2.TestWork(connection=duckdb)).result.test.version
    assert bench.target.faults.seen("open_source") == opened + 1


def test_a_duckdb_file_that_is_not_there_yet_is_tested_as_the_target_that_it_will_be(tmp_path: Path) -> None:
    runner = TaskRunner(lambda _: DuckdbConnector(), MemorySecrets().held, Redactor(), MemoryCalls())
    duckdb = connection_pb2.Connection(name="w", duckdb=connection_pb2.DuckdbSystem(path=str(tmp_path / "w.duckdb")))
    task = worker_pb2.Task(test=worker_pb2.TestWork(connection=duckdb))
    signals = Asked()
    assert runner.run(task, signals, lambda _: None).result.test.version.startswith("DuckDB ")


def test_problems_are_told_with_fields_relative_to_the_dataset(bench: Bench) -> None:
    bench.work.dataset.key.append("idd")
    bench.target.put("orders", COLUMNS, orders(2))
    problems = bench.inspect().result.inspect.problems
    assert [problem.field for problem in problems] == ["key", "target.load_mode"]


def test_a_secret_that_is_missing_is_a_problem_of_its_side(bench: Bench) -> None:
    bench.work.target.postgres.password = "env://NOWHERE"
    failure = bench.inspect().failure
    assert (failure.reason, failure.field) == ("INVALID_DEFINITION", "target.connection")
    assert "env://NOWHERE" in failure.message


@pytest.mark.parametrize(
    ("error", "reason", "field", "is_temporary"),
    [
        (SystemUnavailable("away"), "SYSTEM_UNAVAILABLE", "phases.sales.datasets.orders.source.connection", True),
        (
            DataRefused("row 7", field="source.columns.id"),
            "DATA_REFUSED",
            "phases.sales.datasets.orders.source.columns.id",
            False,
        ),
        (DataRefused("row 7"), "DATA_REFUSED", "phases.sales.datasets.orders.source.relation", False),
        (
            InvalidDefinition((Problem("key", "no"),)),
            "INVALID_DEFINITION",
            "phases.sales.datasets.orders.key",
            False,
        ),
    ],
)
def test_an_error_of_a_run_is_told_on_the_plans_field(
    bench: Bench, error: Exception, reason: str, field: str, is_temporary: bool
) -> None:
    bench.source.faults.fail("read", error=error)
    failure = bench.copy().failure
    assert (failure.reason, failure.field, failure.is_temporary) == (reason, field, is_temporary)


def test_a_target_that_is_away_is_told_from_a_source_that_is(bench: Bench) -> None:
    bench.target.faults.fail("prepare", error=SystemUnavailable("away"))
    failure = bench.copy().failure
    assert (failure.reason, failure.field) == ("SYSTEM_UNAVAILABLE", "phases.sales.datasets.orders.target.connection")


def test_a_field_of_one_of_several_datasets_is_not_guessed(bench: Bench) -> None:
    bench.copy()
    bench.target.put("orders", COLUMNS, orders(2))
    one = bench.run(publish=worker_pb2.PublishWork(datasets=[bench.work])).failure
    assert (one.reason, one.field) == (TargetOccupied.reason, "phases.sales.datasets.orders.target.relation")
    assert bench.run(publish=worker_pb2.PublishWork(datasets=[bench.work, bench.work])).failure.field == ""


def test_a_failure_shows_no_secret(bench: Bench) -> None:
    bench.source.faults.fail("read", error=SystemUnavailable(f"no login as u with {PASSWORD}"))
    assert bench.copy().failure.message == "no login as u with ***"
    task = worker_pb2.Task(id="t")
    failure = bench.runner.failure_of(RuntimeError(f"dsn: {PASSWORD!r}"), task)
    assert (failure.reason, failure.message) == (
        "INTERNAL",
        "the worker host failed with RuntimeError: dsn: '***'",
    )


def test_a_problem_shows_no_secret(bench: Bench) -> None:
    bench.target.faults.fail("open_target", error=SystemUnavailable(f"no login with {PASSWORD}"))
    [problem] = bench.inspect().result.inspect.problems
    assert (problem.field, problem.description) == ("target.connection", "no login with ***")


def test_a_drained_lane_tells_how_far_it_got_and_a_drained_verification_that_it_ended(bench: Bench) -> None:
    asked = Asked()
    bench.target.faults.at("commit", 2, lambda: setattr(asked, "draining", True), is_after=True)
    drained = bench.copy(asked)
    assert (drained.WhichOneof("outcome"), drained.drained.chunks) == ("drained", 2)
    bench.copy()
    assert bench.verify(Asked(draining=True)).WhichOneof("outcome") == "drained"


def test_how_long_the_source_took_for_a_chunk_is_told_by_the_clock_that_the_runner_was_given() -> None:
    ticks = itertools.count()
    bench = Bench(Means(monotonic=lambda: float(next(ticks))))
    bench.work.schema.CopyFrom(bench.inspect().result.inspect.source)
    bench.copy()
    assert [progress.source_seconds for progress in bench.progress[1:]] == [1.0] * 5


def test_a_lost_lease_has_no_outcome(bench: Bench) -> None:
    with pytest.raises(LeaseLost):
        bench.copy(Asked(lost=True))


def test_a_defect_is_not_an_outcome_of_the_task(bench: Bench) -> None:
    bench.source.faults.fail("read", error=ZeroDivisionError("by zero"))
    with pytest.raises(ZeroDivisionError):
        bench.copy()


def test_work_that_the_host_does_not_know_says_that_it_is_older(bench: Bench) -> None:
    with pytest.raises(ValueError, match="older than the engine"):
        bench.run()


def step(bench: Bench, **call: object) -> worker_pb2.FinishTaskRequest:
    """A step outside databases."""
    work = worker_pb2.StepWork(call=plan_pb2.HttpCall(url="https://lb.example.com/switch", **call), key="k")  # type: ignore[arg-type]  # fields
    return bench.runner.run(worker_pb2.Task(id="t", fence=1, step=work), Asked(), lambda _: None)


def test_a_step_is_called_with_its_key_and_the_secrets_of_its_headers() -> None:
    bench = Bench()
    answer = step(bench, headers={"Authorization": "env://PG", "X-Mode": "soft"}, body="{}")
    assert answer.WhichOneof("outcome") == "result"
    (call,) = bench.calls.calls
    assert (call.method, call.key, call.body, call.timeout_seconds) == ("POST", "k", "{}", 30.0)
    secret = call.headers["Authorization"]
    assert isinstance(secret, Secret)
    assert secret.reveal() == PASSWORD
    assert call.headers["X-Mode"] == "soft"


def test_a_step_that_is_refused_fails_without_showing_a_secret() -> None:
    bench = Bench()
    bench.calls.failures.append(StepRefused(f"401: {PASSWORD} is wrong"))
    answer = step(bench, headers={"Authorization": "env://PG"})
    assert (answer.failure.reason, answer.failure.is_temporary) == ("STEP_REFUSED", False)
    assert PASSWORD not in answer.failure.message


def test_a_step_that_does_not_answer_is_to_be_tried_again() -> None:
    bench = Bench()
    bench.calls.failures.append(StepUnavailable("no answer"))
    assert step(bench).failure.is_temporary


def test_no_text_of_an_outcome_tells_a_secret_and_what_the_engine_gives_back_stays_as_it_is() -> None:
    redactor = Redactor()
    redactor.note(Secret("orders"))
    found = run_pb2.Inspection(ranges=["orders"], source_state="orders", path="orders", path_reason="for orders")
    found.source.relation = "orders"
    found.problems.add(field="orders", description="orders is wrong")
    found.ddl.notes.append("made orders")
    outcome = without_secrets(worker_pb2.FinishTaskRequest(result=worker_pb2.TaskResult(inspect=found)), redactor)
    told = outcome.result.inspect
    assert (list(told.ranges), told.source_state, told.path, told.source.relation) == (["orders"], *["orders"] * 3)
    assert (told.path_reason, list(told.ddl.notes)) == ("for ***", ["made ***"])
    assert [(each.field, each.description) for each in told.problems] == [("orders", "*** is wrong")]
