"""Who may call what: every method of every service × role × where the role holds, against a table that is written out here, apart from the
code. A method of the contract that the table lacks fails."""

import asyncio
import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

import pymigrate.v1
from pymigrate.engine.application.caller import Caller
from pymigrate.engine.domain.access import Grant, Role
from pymigrate.engine.domain.errors import NotPermitted
from pymigrate.engine.entrypoints.authorized import Door, NotServed
from pymigrate.engine.entrypoints.identity import note_caller

# Method, the field that says where, what kind of place that is, and who may: viewer, operator, approver, editor, admin, lane worker.
#   plan: below a plan, new plan: a plan that is made, environment: below an environment, everywhere: no place of its own,
#   anywhere: for whoever has the role at any place, anybody: for whoever is known.
TABLE = """
EnvironmentService.CreateEnvironment             environment_id             new-environment  ....a.
EnvironmentService.GetEnvironment                name                       environment      vopea.
EnvironmentService.ListEnvironments              -                          anywhere         vopea.
EnvironmentService.UpdateEnvironment             environment.name           environment      ....a.
EnvironmentService.DeleteEnvironment             name                       environment      ....a.
EnvironmentService.ResolveEnvironment            name                       environment      vopea.
EnvironmentService.CreateDepartment              parent                     environment      ...ea.
EnvironmentService.GetDepartment                 name                       environment      vopea.
EnvironmentService.ListDepartments               parent                     environment      vopea.
EnvironmentService.UpdateDepartment              department.name            environment      ...ea.
EnvironmentService.DeleteDepartment              name                       environment      ...ea.
ConnectionService.CreateConnection               parent                     environment      ...ea.
ConnectionService.GetConnection                  name                       environment      vopea.
ConnectionService.ListConnections                parent                     environment      vopea.
ConnectionService.UpdateConnection               connection.name            environment      ...ea.
ConnectionService.DeleteConnection               name                       environment      ...ea.
ConnectionService.TestConnection                 name                       environment      .o..a.
ConnectionService.DiscoverSchema                 name                       environment      .o.ea.
SecretBackendService.CreateSecretBackend         parent                     environment      ....a.
SecretBackendService.GetSecretBackend            name                       environment      vopea.
SecretBackendService.ListSecretBackends          parent                     environment      vopea.
SecretBackendService.UpdateSecretBackend         secret_backend.name        environment      ....a.
SecretBackendService.DeleteSecretBackend         name                       environment      ....a.
SecretBackendService.TestSecretBackend           name                       environment      ....a.
DefinitionService.ApplyDefinitions               -                          anywhere         ...ea.
PlanService.CreatePlan                           parent                     new-plan         ...ea.
PlanService.GetPlan                              name                       plan             vopea.
PlanService.ListPlans                            parent                     environment      vopea.
PlanService.UpdatePlan                           plan.name                  plan             ...ea.
PlanService.DeletePlan                           name                       plan             ...ea.
PlanService.ValidatePlan                         name                       plan             vopea.
PlanService.CreatePhase                          parent                     plan             ...ea.
PlanService.GetPhase                             name                       plan             vopea.
PlanService.ListPhases                           parent                     plan             vopea.
PlanService.UpdatePhase                          phase.name                 plan             ...ea.
PlanService.DeletePhase                          name                       plan             ...ea.
RunService.StartRun                              parent                     plan             .o..a.
RunService.GetRun                                name                       plan             vopea.
RunService.ListRuns                              parent                     plan             vopea.
RunService.PauseRun                              name                       plan             .o..a.
RunService.ResumeRun                             name                       plan             .o..a.
RunService.CancelRun                             name                       plan             .o..a.
RunService.RetryRun                              name                       plan             .o..a.
RunService.ApproveGate                           name                       plan             ..p.a.
RunService.RollbackPhase                         name                       plan             .o..a.
RunService.RollbackRun                           name                       plan             .o..a.
RunService.SealRun                               name                       plan             .o..a.
RunService.WatchRun                              name                       plan             vopea.
RunService.ScaleRun                              name                       plan             .o..a.
RunService.WatchRuns                             parent                     plan             vopea.
RunService.ListLanes                             parent                     plan             vopea.
RunService.GetLane                               name                       plan             vopea.
RunService.ListRunEvents                         parent                     plan             vopea.
ImpactService.AnalyzeImpact                      plan                       plan             .o.ea.
ImpactService.CompareImpact                      plan                       plan             vopea.
ImpactService.ForecastRun                        name                       plan             vopea.
ImpactService.GetRunEstimate                     name                       plan             vopea.
KpiService.GetKpis                               name                       plan             vopea.
KpiService.WatchKpis                             name                       plan             vopea.
KpiService.GetDashboard                          environment                environment      vopea.
KpiService.WatchDashboard                        environment                environment      vopea.
NotificationService.CreateStakeholder            parent                     environment      ...ea.
NotificationService.GetStakeholder               name                       environment      vopea.
NotificationService.ListStakeholders             parent                     environment      vopea.
NotificationService.UpdateStakeholder            stakeholder.name           environment      ...ea.
NotificationService.DeleteStakeholder            name                       environment      ...ea.
NotificationService.CreateNotificationChannel    parent                     environment      ...ea.
NotificationService.GetNotificationChannel       name                       environment      vopea.
NotificationService.ListNotificationChannels     parent                     environment      vopea.
NotificationService.UpdateNotificationChannel    notification_channel.name  environment      ...ea.
NotificationService.DeleteNotificationChannel    name                       environment      ...ea.
NotificationService.CreateAlertRule              parent                     environment      ...ea.
NotificationService.GetAlertRule                 name                       environment      vopea.
NotificationService.ListAlertRules               parent                     environment      vopea.
NotificationService.UpdateAlertRule              alert_rule.name            environment      ...ea.
NotificationService.DeleteAlertRule              name                       environment      ...ea.
NotificationService.CreateNotificationTemplate   parent                     environment      ...ea.
NotificationService.GetNotificationTemplate      name                       environment      vopea.
NotificationService.ListNotificationTemplates    parent                     environment      vopea.
NotificationService.UpdateNotificationTemplate   notification_template.name environment      ...ea.
NotificationService.DeleteNotificationTemplate   name                       environment      ...ea.
NotificationService.CreateOnCallSchedule         parent                     environment      ...ea.
NotificationService.GetOnCallSchedule            name                       environment      vopea.
NotificationService.ListOnCallSchedules          parent                     environment      vopea.
NotificationService.UpdateOnCallSchedule         on_call_schedule.name      environment      ...ea.
NotificationService.DeleteOnCallSchedule         name                       environment      ...ea.
NotificationService.CreateSilence                parent                     environment      ...ea.
NotificationService.GetSilence                   name                       environment      vopea.
NotificationService.ListSilences                 parent                     environment      vopea.
NotificationService.UpdateSilence                silence.name               environment      ...ea.
NotificationService.DeleteSilence                name                       environment      ...ea.
NotificationService.TestNotificationChannel      name                       environment      .o..a.
NotificationService.RenderNotificationTemplate   parent                     environment      vopea.
NotificationService.GetNotificationKpis          parent                     environment      vopea.
NotificationService.PreviewNotifications         parent                     environment      vopea.
NotificationService.GetDelivery                  name                       environment      vopea.
NotificationService.ListDeliveries               parent                     environment      vopea.
NotificationService.AcknowledgeDelivery          name                       environment      .o..a.
NotificationService.RedriveDelivery              name                       environment      .o..a.
DispatchService.ClaimDeliveries                  -                          everywhere       .....w
DispatchService.ReportDeliveries                 -                          everywhere       .....w
GitSourceService.CreateGitSource                 -                          everywhere       ....a.
GitSourceService.GetGitSource                    -                          everywhere       vopea.
GitSourceService.ListGitSources                  -                          everywhere       vopea.
GitSourceService.UpdateGitSource                 -                          everywhere       ....a.
GitSourceService.DeleteGitSource                 -                          everywhere       ....a.
GitSourceService.SyncGitSource                   -                          everywhere       .o..a.
GitSourceService.DiffGitSource                   -                          everywhere       vopea.
GitSourceService.SuspendGitSource                -                          everywhere       ....a.
GitSourceService.ResumeGitSource                 -                          everywhere       ....a.
GitSourceService.PromoteGitSource                -                          everywhere       .o..a.
GitSourceService.ApproveReversal                 -                          everywhere       ..p.a.
GitSourceService.ListGitRevisions                -                          everywhere       vopea.
TokenService.CreateToken                         -                          everywhere       ....a.
TokenService.RenewToken                          -                          everywhere       ....a.
TokenService.EndToken                            -                          everywhere       ....a.
AccessService.CreateRoleBinding                  -                          everywhere       ....a.
AccessService.GetRoleBinding                     -                          everywhere       ....a.
AccessService.ListRoleBindings                   -                          everywhere       ....a.
AccessService.UpdateRoleBinding                  -                          everywhere       ....a.
AccessService.DeleteRoleBinding                  -                          everywhere       ....a.
AccessService.CreateServiceToken                 -                          everywhere       ....a.
AccessService.GetServiceToken                    -                          everywhere       ....a.
AccessService.ListServiceTokens                  -                          everywhere       ....a.
AccessService.RotateServiceToken                 -                          everywhere       ....a.
AccessService.DeleteServiceToken                 -                          everywhere       ....a.
AccessService.GetCaller                          -                          anybody          vopeaw
AuditService.ListAuditEvents                     environment                environment      vopea.
AuditService.VerifyAudit                         -                          everywhere       vopea.
AuditService.ExportAudit                         environment                environment      vopea.
AuditService.ListAuditSeals                      -                          everywhere       vopea.
WorkerService.RegisterHost                       -                          everywhere       .....w
WorkerService.ClaimTask                          -                          everywhere       .....w
WorkerService.Heartbeat                          -                          everywhere       .....w
WorkerService.ReportProgress                     -                          everywhere       .....w
WorkerService.FinishTask                         -                          everywhere       .....w
WorkerService.ListWorkerHosts                    -                          everywhere       vopea.
"""
LETTERS = {
    "v": Role.VIEWER,
    "o": Role.OPERATOR,
    "p": Role.APPROVER,
    "e": Role.EDITOR,
    "a": Role.ADMIN,
    "w": Role.LANE_WORKER,
}
# Where a role holds: everywhere, in the environment that the call is about, in another, for the plan that it is about, for another plan.
HOLDS: dict[str, tuple[str, frozenset[str]]] = {
    "everywhere": ("", frozenset()),
    "own": ("prod", frozenset()),
    "other": ("dev", frozenset()),
    "plan": ("prod", frozenset({"warehouse"})),
    "other plan": ("prod", frozenset({"archive"})),
}
# By the kind of place, where a role that allows a call may hold for it to be let in.
DOES = {
    "plan": {"everywhere", "own", "plan"},
    "new-plan": {"everywhere", "own", "plan"},
    "environment": {"everywhere", "own"},
    "new-environment": {"everywhere", "own"},
    "everywhere": {"everywhere"},
    "anywhere": set(HOLDS),
    "anybody": set(HOLDS),
}
VALUES = {
    "plan": "environments/prod/plans/warehouse/runs/r",
    "environment": "environments/prod/things/t",
    "new-plan": "environments/prod",
    "new-environment": "prod",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    method: str
    field: str
    place: str
    letters: str

    @property
    def roles(self) -> set[Role]:
        """Who may."""
        return {LETTERS[letter] for letter in self.letters if letter != "."}


ROWS = {row.method: row for row in (Row(*line.split()) for line in TABLE.split("\n") if line)}


def services() -> Iterator[ServiceDescriptor]:
    """Every service of every file of the contract."""
    for module in pkgutil.iter_modules(pymigrate.v1.__path__):
        if module.name.endswith("_pb2"):
            yield from importlib.import_module(f"pymigrate.v1.{module.name}").DESCRIPTOR.services_by_name.values()


SERVICES = {service.name: service for service in services()}
METHODS = {f"{service.name}.{method.name}": method for service in SERVICES.values() for method in service.methods}


class Everything:
    """A servicer that serves all there is, and notes what came through."""

    def __init__(self, service: ServiceDescriptor) -> None:
        self.served: list[str] = []
        for method in service.methods:
            setattr(self, method.name, self._stream(method) if method.server_streaming else self._call(method))

    def _call(self, method: MethodDescriptor) -> Any:
        async def serve(request: Any, context: Any) -> str:
            del request, context
            self.served.append(method.name)
            return "served"

        return serve

    def _stream(self, method: MethodDescriptor) -> Any:
        async def serve(request: Any, context: Any) -> Any:
            del request, context
            self.served.append(method.name)
            yield "served"

        return serve


def asking(row: Row, value: str = "") -> Message:
    """A request of the row's method, about its place."""
    request: Any = GetMessageClass(METHODS[row.method].input_type)()
    if row.field != "-":
        *path, last = row.field.split(".")
        holder = request
        for part in path:
            holder = getattr(holder, part)
        setattr(holder, last, value or VALUES[row.place])
    if row.place == "new-plan":
        request.plan_id = "warehouse"
    return request  # type: ignore[no-any-return]  # a message of the contract


def is_let_in(method: str, request: Message, caller: Caller, *grants: Grant) -> bool:
    """Whether the door lets the call in, from which the servicer then hears."""
    (found,) = are_let_in(method, request, caller, [grants])
    return found


def are_let_in(method: str, request: Message, caller: Caller, several: Iterable[Sequence[Grant]]) -> list[bool]:
    """As `is_let_in`, with one caller's grants after another's."""
    service, name = method.split(".")
    servicer = Everything(SERVICES[service])
    held: list[Grant] = []
    served = getattr(Door(lambda _: held).wrapped({service: servicer}, SERVICES)[service], name)

    async def call() -> bool:
        try:
            if METHODS[method].server_streaming:
                assert [answer async for answer in served(request, None)] == ["served"]
            else:
                assert await served(request, None) == "served"
        except NotPermitted:
            return False
        return True

    async def calls() -> list[bool]:
        note_caller(caller)
        found = []
        for grants in several:
            held[:] = grants
            found.append(await call())
            assert servicer.served == ([name] if found[-1] else [])
            servicer.served.clear()
        return found

    return asyncio.run(calls())


SOMEBODY = Caller("service/somebody")


def test_the_table_names_every_method_of_the_contract_and_no_other() -> None:
    assert ROWS.keys() == METHODS.keys()


@pytest.mark.parametrize("method", METHODS)
def test_a_role_lets_in_exactly_where_the_table_says(method: str) -> None:
    row = ROWS[method]
    cases = list(product(Role, HOLDS))
    let_in = are_let_in(method, asking(row), SOMEBODY, [[Grant(role, *HOLDS[holds])] for role, holds in cases])
    found = {case for case, is_in in zip(cases, let_in, strict=True) if is_in}
    assert found == {(role, holds) for role in row.roles for holds in DOES[row.place]}


@pytest.mark.parametrize("method", METHODS)
def test_whoever_has_no_role_may_only_ask_who_they_are(method: str) -> None:
    assert is_let_in(method, asking(ROWS[method]), SOMEBODY) == (method == "AccessService.GetCaller")


@pytest.mark.parametrize("method", [row.method for row in ROWS.values() if row.place in {"plan", "environment"}])
@pytest.mark.parametrize("name", ["environments/-/plans/warehouse/runs/r", "", "environments", "gitSources/s", "/prod"])
def test_a_place_with_a_wildcard_and_one_that_is_none_need_the_role_everywhere(method: str, name: str) -> None:
    row = ROWS[method]
    request = asking(row, name or "x")
    if not name:
        request.Clear()
    grant = Grant(Role.ADMIN, "prod")
    assert not is_let_in(method, request, SOMEBODY, grant)
    assert is_let_in(method, request, SOMEBODY, Grant(Role.ADMIN))


def test_any_plan_of_an_environment_is_the_whole_environment() -> None:
    request = asking(ROWS["RunService.WatchRuns"], "environments/prod/plans/-")
    assert not is_let_in("RunService.WatchRuns", request, SOMEBODY, Grant(Role.VIEWER, "prod", frozenset({"-"})))
    assert is_let_in("RunService.WatchRuns", request, SOMEBODY, Grant(Role.VIEWER, "prod"))


@pytest.mark.parametrize("method", ["CreateEnvironment", "UpdateEnvironment"])
def test_an_environment_gets_only_bases_that_its_admin_may_read(method: str) -> None:
    row = ROWS[f"EnvironmentService.{method}"]
    request: Any = asking(row)
    request.environment.bases.append("finance")
    own = Grant(Role.ADMIN, "prod")
    assert not is_let_in(row.method, request, SOMEBODY, own)
    assert is_let_in(row.method, request, SOMEBODY, own, Grant(Role.VIEWER, "finance"))


@pytest.mark.parametrize(("seconds", "may_view"), [(-1.0, True), (0.0, False), (5.0, False)])
def test_an_analysis_that_probes_is_no_viewers(seconds: float, may_view: bool) -> None:
    request: Any = asking(ROWS["ImpactService.AnalyzeImpact"])
    request.probe_seconds_max = seconds
    assert is_let_in("ImpactService.AnalyzeImpact", request, SOMEBODY, Grant(Role.VIEWER)) == may_view


@pytest.mark.parametrize("method", METHODS)
def test_a_signed_link_acknowledges_and_does_nothing_else(method: str) -> None:
    request: Any = asking(ROWS[method])
    is_acknowledging = method == "NotificationService.AcknowledgeDelivery"
    assert not is_let_in(method, request, Caller("link"), Grant(Role.ADMIN))
    if is_acknowledging:
        request.signature = "signed"
        assert is_let_in(method, request, Caller("link"))


@pytest.mark.parametrize("method", METHODS)
def test_a_host_that_the_engine_started_calls_for_itself_alone(method: str) -> None:
    worker = Grant(Role.LANE_WORKER)
    caller = Caller("worker/h1", affinity="shared@prod")
    service, name = method.split(".")
    calls = service == "WorkerService" and name != "ListWorkerHosts"
    row = Row(method, ("host.name" if name == "RegisterHost" else "host") if calls else "-", "", "")
    own: Any = asking(row, "workerHosts/h1")
    if name == "RegisterHost":
        own.host.affinity = "shared@prod"
    assert is_let_in(method, own, caller, worker) == (calls or name == "GetCaller")
    if calls:
        for other in ("workerHosts/h2", "h1", "workerHosts/", "x/workerHosts/h1"):
            assert not is_let_in(method, asking(row, other), caller, worker)
    if name == "RegisterHost":
        own.host.affinity = "shared@dev"
        assert not is_let_in(method, own, caller, worker)


def test_a_dispatcher_that_the_engine_started_calls_for_itself_alone() -> None:
    worker, caller = Grant(Role.LANE_WORKER), Caller("dispatcher/d1")
    for method in ("DispatchService.ClaimDeliveries", "DispatchService.ReportDeliveries"):
        row = Row(method, "dispatcher", "", "")
        assert is_let_in(method, asking(row, "d1"), caller, worker)
        assert not is_let_in(method, asking(row, "d2"), caller, worker)
    row = Row("WorkerService.ClaimTask", "host", "", "")
    assert not is_let_in(row.method, asking(row, "workerHosts/d1"), caller, worker)


def test_a_service_with_a_method_that_has_no_rule_is_not_served() -> None:
    class OneMore(SimpleNamespace):
        """As the contract would look with one more method."""

    service = OneMore(name="KpiService", methods=[*SERVICES["KpiService"].methods, OneMore(name="DropEverything")])
    with pytest.raises(NotServed, match="DropEverything"):
        Door(lambda _: ()).wrapped({"KpiService": Everything(SERVICES["KpiService"])}, {"KpiService": service})  # type: ignore[dict-item]  # see above
