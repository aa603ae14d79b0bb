"""Every service by its calls: declared objects, plans with their phases, runs to their end, connections and hosts."""

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import connection_pb2, environment_pb2, plan_pb2, run_pb2, worker_pb2
from tests.integration.engine.served import SECONDS_MAX, ServedEngine, ask
from tests.unit.application.engines import ENVIRONMENT, PLAN, phase, systems

RUN = f"{PLAN}/runs/r"
START = run_pb2.StartRunRequest(parent=PLAN, run_id="r")


@pytest.fixture
def declared(served: ServedEngine, client: Client) -> Client:
    """A client of an engine with a plan of two phases."""
    served.do(served.engine.declare({"a": phase("orders"), "b": phase("items", needs=["a"])}))
    return client


def ended(client: Client, name: str = RUN) -> run_pb2.Run:
    """The run at its end."""
    request = run_pb2.WatchRunRequest(name=name)
    *_, last = client.runs.WatchRun(request, metadata=client.metadata, timeout=SECONDS_MAX)
    return last.run


def test_an_environment_and_a_department_are_made_changed_listed_and_deleted(client: Client) -> None:
    stub = client.environments
    wanted = environment_pb2.CreateEnvironmentRequest(environment_id="e", request_id="once")
    made = ask(client, stub.CreateEnvironment, wanted)
    assert ask(client, stub.CreateEnvironment, wanted) == made
    change = environment_pb2.UpdateEnvironmentRequest(
        environment=environment_pb2.Environment(name=made.name, display_name="E", etag=made.etag),
        update_mask=FieldMask(paths=["display_name"]),
    )
    changed = ask(client, stub.UpdateEnvironment, change)
    assert (changed.display_name, changed.uid) == ("E", made.uid)
    assert changed.etag != made.etag
    for name in ("hr", "sales"):
        request = environment_pb2.CreateDepartmentRequest(parent=made.name, department_id=name)
        ask(client, stub.CreateDepartment, request)
    page = ask(client, stub.ListDepartments, environment_pb2.ListDepartmentsRequest(parent=made.name, page_size=1))
    assert [found.name for found in page.departments] == ["environments/e/departments/hr"]
    assert page.next_page_token
    hr = environment_pb2.Department(name="environments/e/departments/hr", owner="Ann")
    ask(client, stub.UpdateDepartment, environment_pb2.UpdateDepartmentRequest(department=hr))
    read = ask(client, stub.GetDepartment, environment_pb2.GetDepartmentRequest(name=hr.name))
    assert read.owner == "Ann"
    for name in ("hr", "sales"):
        gone = environment_pb2.DeleteDepartmentRequest(name=f"environments/e/departments/{name}")
        ask(client, stub.DeleteDepartment, gone)
    ask(client, stub.DeleteEnvironment, environment_pb2.DeleteEnvironmentRequest(name=made.name))
    assert not ask(client, stub.ListEnvironments, environment_pb2.ListEnvironmentsRequest()).environments


def test_a_connection_is_made_tested_discovered_and_deleted(declared: Client) -> None:
    stub = declared.connections
    wanted = connection_pb2.CreateConnectionRequest(
        parent=ENVIRONMENT, connection_id="other", connection=systems()["legacy"]
    )
    made = ask(declared, stub.CreateConnection, wanted)
    tested = ask(declared, stub.TestConnection, connection_pb2.TestConnectionRequest(name=made.name))
    assert tested.version == "Scripted 1"
    found = ask(declared, stub.DiscoverSchema, connection_pb2.DiscoverSchemaRequest(name=made.name))
    assert [relation.relation for relation in found.relations] == ["orders"]
    made.description = "kept for the auditors"
    made.lanes_max = 3
    request = connection_pb2.UpdateConnectionRequest(connection=made, update_mask=FieldMask(paths=["description"]))
    changed = ask(declared, stub.UpdateConnection, request)
    assert (changed.description, changed.lanes_max) == ("kept for the auditors", 0)
    names = ask(declared, stub.ListConnections, connection_pb2.ListConnectionsRequest(parent=ENVIRONMENT)).connections
    assert [found.name.rpartition("/")[2] for found in names] == ["legacy", "other", "warehouse"]
    ask(declared, stub.DeleteConnection, connection_pb2.DeleteConnectionRequest(name=made.name))
    with pytest.raises(grpc.RpcError) as error:
        ask(declared, stub.GetConnection, connection_pb2.GetConnectionRequest(name=made.name))
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_system_that_can_not_be_reached_is_told_where_it_was_asked(served: ServedEngine, declared: Client) -> None:
    served.outcomes["test"] = run_pb2.Failure(
        reason="SYSTEM_UNAVAILABLE", message="connection refused", is_temporary=True
    )
    request = connection_pb2.TestConnectionRequest(name=f"{ENVIRONMENT}/connections/legacy")
    with pytest.raises(grpc.RpcError) as error:
        ask(declared, declared.connections.TestConnection, request)
    assert (error.value.code(), error.value.details()) == (grpc.StatusCode.UNAVAILABLE, "connection refused")


def test_a_plan_and_its_phases_are_made_changed_and_deleted_one_by_one(declared: Client) -> None:
    stub = declared.plans
    made = ask(declared, stub.CreatePlan, plan_pb2.CreatePlanRequest(parent=ENVIRONMENT, plan_id="q"))
    request = plan_pb2.CreatePhaseRequest(parent=made.name, phase_id="a", phase=phase("things"))
    created = ask(declared, stub.CreatePhase, request)
    assert created.definition_hash
    created.display_name = "A"
    changed = ask(declared, stub.UpdatePhase, plan_pb2.UpdatePhaseRequest(phase=created))
    assert changed.definition_hash == created.definition_hash
    assert ask(declared, stub.GetPhase, plan_pb2.GetPhaseRequest(name=created.name)) == changed
    listed = ask(declared, stub.ListPhases, plan_pb2.ListPhasesRequest(parent=made.name))
    assert list(listed.phases) == [changed]
    whole = ask(declared, stub.GetPlan, plan_pb2.GetPlanRequest(name=made.name))
    assert whole.phases["a"] == changed
    assert whole.plan_hash != made.plan_hash
    plans = ask(declared, stub.ListPlans, plan_pb2.ListPlansRequest(parent=ENVIRONMENT)).plans
    assert whole in plans
    whole.display_name = "Q"
    assert ask(declared, stub.UpdatePlan, plan_pb2.UpdatePlanRequest(plan=whole)).display_name == "Q"
    ask(declared, stub.DeletePhase, plan_pb2.DeletePhaseRequest(name=created.name))
    ask(declared, stub.DeletePlan, plan_pb2.DeletePlanRequest(name=made.name))
    assert len(ask(declared, stub.ListPlans, plan_pb2.ListPlansRequest(parent=ENVIRONMENT)).plans) == 1


def test_a_plan_is_checked_with_its_systems_only_when_it_is_right_by_itself(
    served: ServedEngine, declared: Client
) -> None:
    request = plan_pb2.ValidatePlanRequest(name=PLAN, check_systems=True)
    answer = ask(declared, declared.plans.ValidatePlan, request)
    assert [list(level.phases) for level in answer.levels] == [["a"], ["b"]]
    served.outcomes["inspect items"] = run_pb2.Failure(reason="SOURCE_MISSING", message="no `items`")
    answer = ask(declared, declared.plans.ValidatePlan, request)
    assert [problem.field for problem in answer.problems] == ["phases.b.datasets.items"]


def test_a_run_goes_to_its_end_and_tells_lanes_and_events(declared: Client) -> None:
    started = ask(declared, declared.runs.StartRun, START)
    assert started.name == RUN
    run = ended(declared)
    assert (run.state, run.rows, run.rows_expected) == (run_pb2.RUN_STATE_SUCCEEDED, 20, 20)
    assert ask(declared, declared.runs.GetRun, run_pb2.GetRunRequest(name=RUN)) == run
    runs = ask(declared, declared.runs.ListRuns, run_pb2.ListRunsRequest(parent=PLAN)).runs
    assert list(runs) == [run]
    first = ask(declared, declared.runs.ListLanes, run_pb2.ListLanesRequest(parent=RUN, page_size=1))
    request = run_pb2.ListLanesRequest(parent=RUN, page_token=first.next_page_token)
    lanes = [*first.lanes, *ask(declared, declared.runs.ListLanes, request).lanes]
    assert [lane.name for lane in lanes] == [f"{RUN}/lanes/a.orders", f"{RUN}/lanes/b.items"]
    assert ask(declared, declared.runs.GetLane, run_pb2.GetLaneRequest(name=lanes[0].name)) == lanes[0]
    with pytest.raises(grpc.RpcError, match=r"did you mean `.*a\.orders`"):
        ask(declared, declared.runs.GetLane, run_pb2.GetLaneRequest(name=f"{RUN}/lanes/a.order"))
    events: list[run_pb2.RunEvent] = []
    token = ""
    while True:
        page_request = run_pb2.ListRunEventsRequest(parent=RUN, page_size=3, page_token=token)
        page = ask(declared, declared.runs.ListRunEvents, page_request)
        events += page.events
        token = page.next_page_token
        if not token:
            break
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[-1].type == "run.succeeded"
    bad = run_pb2.ListRunEventsRequest(parent=RUN, page_token="9" * 40)
    with pytest.raises(grpc.RpcError, match="page_token"):
        ask(declared, declared.runs.ListRunEvents, bad)


def test_a_run_is_held_let_go_failed_retried_and_cancelled(served: ServedEngine, declared: Client) -> None:
    stub = declared.runs
    held = run_pb2.StartRunRequest(parent=PLAN, run_id="r", run=run_pb2.Run(desired_state=run_pb2.DESIRED_STATE_PAUSED))
    assert ask(declared, stub.StartRun, held).state == run_pb2.RUN_STATE_PAUSED
    served.outcomes["copy orders"] = run_pb2.Failure(reason="DATA_REFUSED", message="row 7", field="source.columns.x")
    ask(declared, stub.ResumeRun, run_pb2.ResumeRunRequest(name=RUN))
    failed = ended(declared)
    assert failed.state == run_pb2.RUN_STATE_FAILED
    assert failed.failure.field == "phases.a.datasets.orders.source.columns.x"
    assert failed.phases["b"].state == run_pb2.PHASE_STATE_SKIPPED
    served.outcomes.clear()
    ask(declared, stub.RetryRun, run_pb2.RetryRunRequest(name=RUN))
    assert ended(declared).state == run_pb2.RUN_STATE_SUCCEEDED
    again = run_pb2.StartRunRequest(parent=PLAN, run_id="s", run=run_pb2.Run(triggers={"day": "2"}))
    again.run.desired_state = run_pb2.DESIRED_STATE_PAUSED
    name = ask(declared, stub.StartRun, again).name
    assert ask(declared, stub.PauseRun, run_pb2.PauseRunRequest(name=name)).state == run_pb2.RUN_STATE_PAUSED
    ask(declared, stub.CancelRun, run_pb2.CancelRunRequest(name=name))
    assert ended(declared, name).state == run_pb2.RUN_STATE_CANCELLED


def test_hosts_are_listed_page_by_page(declared: Client) -> None:
    stub = declared.workers
    ask(declared, declared.plans.ValidatePlan, plan_pb2.ValidatePlanRequest(name=PLAN, check_systems=True))
    names: list[str] = []
    token = ""
    while True:
        request = worker_pb2.ListWorkerHostsRequest(page_size=1, page_token=token)
        page = ask(declared, stub.ListWorkerHosts, request)
        names += [host.name for host in page.worker_hosts]
        token = page.next_page_token
        if not token:
            break
    assert names == ["workerHosts/h1", "workerHosts/h2"]


def test_a_host_speaks_the_workers_calls_to_the_end_of_a_task(served: ServedEngine, client: Client) -> None:
    stub = client.workers
    host = worker_pb2.WorkerHost(
        name="workerHosts/mine", pid=7, affinity="file:/mine.duckdb@e", workload="jobs/a/b/c/d"
    )
    terms = ask(client, stub.RegisterHost, worker_pb2.RegisterHostRequest(host=host))
    name, session = host.name, terms.session
    [listed] = [
        each
        for each in ask(client, stub.ListWorkerHosts, worker_pb2.ListWorkerHostsRequest()).worker_hosts
        if each.name == name
    ]
    assert listed.workload == host.workload
    nothing = ask(client, stub.ClaimTask, worker_pb2.ClaimTaskRequest(host=name, session=session))
    assert not nothing.HasField("task")
    served.do(served.engine.declare({}))
    mine = connection_pb2.Connection(duckdb=connection_pb2.DuckdbSystem(path="/mine.duckdb"))
    request = connection_pb2.CreateConnectionRequest(parent=ENVIRONMENT, connection_id="mine", connection=mine)
    made = ask(client, client.connections.CreateConnection, request)
    testing = client.connections.TestConnection.future(
        connection_pb2.TestConnectionRequest(name=made.name), metadata=client.metadata, timeout=SECONDS_MAX
    )
    task = ask(client, stub.ClaimTask, worker_pb2.ClaimTaskRequest(host=name, session=session, wait_seconds=30)).task
    lease = worker_pb2.TaskLease(task_id=task.id, fence=task.fence, credential=task.credential)
    beat = ask(client, stub.Heartbeat, worker_pb2.HeartbeatRequest(host=name, session=session, leases=[lease]))
    assert not beat.lost_task_ids
    with pytest.raises(grpc.RpcError, match="no longer has"):
        ask(client, stub.ReportProgress, worker_pb2.ReportProgressRequest(host=name, session=session, lease=lease))
    found = worker_pb2.TaskResult(test=connection_pb2.TestConnectionResponse(version="Mine 1"))
    ask(client, stub.FinishTask, worker_pb2.FinishTaskRequest(host=name, session=session, lease=lease, result=found))
    assert testing.result().version == "Mine 1"
