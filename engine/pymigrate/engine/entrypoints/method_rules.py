"""What each method of the contract asks of who calls it, and how the place is read from its request. Default-deny: a method that has no
rule here is not served.

A request's places are all that it names: whoever may not read a base can't inherit from it, and a place with a wildcard is everywhere.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pymigrate.engine.domain.access import EVERYWHERE, Permission, Place, place_of, place_of_environment

READ, OPERATE, APPROVE = Permission.READ, Permission.OPERATE, Permission.APPROVE
DECLARE, ADMINISTER, WORK = Permission.DECLARE, Permission.ADMINISTER, Permission.WORK


@dataclass(frozen=True, slots=True)
class Demand:
    """One of these permissions, at a place; None: at any place, since the use case looks at each."""

    permissions: tuple[Permission, ...]
    place: Place | None


Demands = Callable[[Any], Iterator[Demand]]


class Opening(StrEnum):
    """Who is let in besides those who have a role."""

    NOBODY = "nobody"
    ANYBODY = "anybody"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a call demands, all of it. `opening` lets in who has no role: anybody who is known, or who holds a signed link. `subject` is the
    name that the call is about, for what is noted of it."""

    demands: Demands
    opening: Opening = Opening.NOBODY
    subject: str = ""

    def subject_of(self, request: Any) -> str:
        """The name that a call is about; empty where there is none."""
        return str(_field(request, self.subject)) if self.subject else ""


def _field(request: Any, path: str) -> Any:
    for part in path.split("."):
        request = getattr(request, part)
    return request


def _at(path: str, *permissions: Permission, child: str = "") -> Rule:
    """At the place of the name in a field; `child` is the field with the id of a plan that is made below it."""

    def demands(request: Any) -> Iterator[Demand]:
        yield Demand(permissions, place_of(_field(request, path), _field(request, child) if child else ""))

    return Rule(demands, subject=path)


def _everywhere(*permissions: Permission, subject: str = "") -> Rule:
    def demands(request: Any) -> Iterator[Demand]:
        del request
        yield Demand(permissions, EVERYWHERE)

    return Rule(demands, subject=subject)


def _anywhere(*permissions: Permission) -> Rule:
    def demands(request: Any) -> Iterator[Demand]:
        del request
        yield Demand(permissions, None)

    return Rule(demands)


def _nothing(request: Any) -> Iterator[Demand]:
    del request
    yield from ()


def _declared(noun: str, field: str, permission: Permission, *, plural: str = "", child: str = "") -> dict[str, Rule]:
    """The five calls of a kind that lies in an environment."""
    return {
        f"Create{noun}": _at("parent", permission, child=child),
        f"Get{noun}": _at("name", READ),
        f"List{plural or noun + 's'}": _at("parent", READ),
        f"Update{noun}": _at(f"{field}.name", permission),
        f"Delete{noun}": _at("name", permission),
    }


def _environment(read_name: Callable[[Any], str]) -> Rule:
    """Who declares an environment may give it only bases that it may read: what they hold would be told as the environment's own."""

    def demands(request: Any) -> Iterator[Demand]:
        yield Demand((ADMINISTER,), place_of(read_name(request)))
        for base in request.environment.bases:
            yield Demand((READ,), place_of_environment(base))

    return Rule(demands, subject="environment.name")


def _new_environment(request: Any) -> str:
    return f"environments/{request.environment_id}"


def _analysis(path: str, *, probes_by_default: bool) -> Rule:
    """An analysis that probes copies samples into scratch relations of the target, which is more than reading."""

    def demands(request: Any) -> Iterator[Demand]:
        seconds = request.probe_seconds_max
        is_probing = seconds > 0 or (probes_by_default and seconds == 0)
        yield Demand((OPERATE, DECLARE) if is_probing else (READ,), place_of(_field(request, path)))

    return Rule(demands, subject=path)


def _trail(request: Any) -> Iterator[Demand]:
    """The environment that is asked for, else the subject's."""
    yield Demand((READ,), place_of(request.environment or request.subject))


def _hosted(path: str) -> Rule:
    return _everywhere(WORK, subject=path)


RULES: Mapping[str, Mapping[str, Rule]] = {
    "EnvironmentService": {
        "CreateEnvironment": _environment(_new_environment),
        "GetEnvironment": _at("name", READ),
        "ListEnvironments": _anywhere(READ),
        "UpdateEnvironment": _environment(lambda request: str(request.environment.name)),
        "DeleteEnvironment": _at("name", ADMINISTER),
        "ResolveEnvironment": _at("name", READ),
        **_declared("Department", "department", DECLARE),
    },
    "ConnectionService": {
        **_declared("Connection", "connection", DECLARE),
        "TestConnection": _at("name", OPERATE),
        "DiscoverSchema": _at("name", OPERATE, DECLARE),
    },
    "SecretBackendService": {
        **_declared("SecretBackend", "secret_backend", ADMINISTER),
        "TestSecretBackend": _at("name", ADMINISTER),
    },
    "DefinitionService": {"ApplyDefinitions": _anywhere(DECLARE, ADMINISTER)},
    "PlanService": {
        **_declared("Plan", "plan", DECLARE, child="plan_id"),
        "ValidatePlan": _at("name", READ),
        **_declared("Phase", "phase", DECLARE),
    },
    "RunService": {
        "StartRun": _at("parent", OPERATE),
        "GetRun": _at("name", READ),
        "ListRuns": _at("parent", READ),
        "PauseRun": _at("name", OPERATE),
        "ResumeRun": _at("name", OPERATE),
        "CancelRun": _at("name", OPERATE),
        "RetryRun": _at("name", OPERATE),
        "ApproveGate": _at("name", APPROVE),
        "RollbackPhase": _at("name", OPERATE),
        "RollbackRun": _at("name", OPERATE),
        "SealRun": _at("name", OPERATE),
        "WatchRun": _at("name", READ),
        "ScaleRun": _at("name", OPERATE),
        "WatchRuns": _at("parent", READ),
        "ListLanes": _at("parent", READ),
        "GetLane": _at("name", READ),
        "ListRunEvents": _at("parent", READ),
    },
    "ImpactService": {
        "AnalyzeImpact": _analysis("plan", probes_by_default=True),
        "CompareImpact": _analysis("plan", probes_by_default=False),
        "ForecastRun": _at("name", READ),
        "GetRunEstimate": _at("name", READ),
    },
    "KpiService": {
        "GetKpis": _at("name", READ),
        "WatchKpis": _at("name", READ),
        "GetDashboard": _at("environment", READ),
        "WatchDashboard": _at("environment", READ),
    },
    "NotificationService": {
        **_declared("Stakeholder", "stakeholder", DECLARE),
        **_declared("NotificationChannel", "notification_channel", DECLARE),
        **_declared("AlertRule", "alert_rule", DECLARE),
        **_declared("NotificationTemplate", "notification_template", DECLARE),
        **_declared("OnCallSchedule", "on_call_schedule", DECLARE),
        **_declared("Silence", "silence", DECLARE),
        "TestNotificationChannel": _at("name", OPERATE),
        "RenderNotificationTemplate": _at("parent", READ),
        "GetNotificationKpis": _at("parent", READ),
        "PreviewNotifications": _at("parent", READ),
        "GetDelivery": _at("name", READ),
        "ListDeliveries": _at("parent", READ),
        "AcknowledgeDelivery": Rule(_at("name", OPERATE).demands, Opening.LINK, "name"),
        "RedriveDelivery": _at("name", OPERATE),
    },
    "DispatchService": {
        "ClaimDeliveries": _hosted("dispatcher"),
        "ReportDeliveries": _hosted("dispatcher"),
    },
    "GitSourceService": {
        "CreateGitSource": _everywhere(ADMINISTER),
        "GetGitSource": _everywhere(READ, subject="name"),
        "ListGitSources": _everywhere(READ),
        "UpdateGitSource": _everywhere(ADMINISTER, subject="git_source.name"),
        "DeleteGitSource": _everywhere(ADMINISTER, subject="name"),
        "SyncGitSource": _everywhere(OPERATE, subject="name"),
        "DiffGitSource": _everywhere(READ, subject="name"),
        # While a source is suspended other sides may change what it declares: a hand-over for a while.
        "SuspendGitSource": _everywhere(ADMINISTER, subject="name"),
        "ResumeGitSource": _everywhere(ADMINISTER, subject="name"),
        # Nothing goes anywhere that has not run well elsewhere, and the environment's policy says who of those may.
        "PromoteGitSource": _everywhere(OPERATE, subject="name"),
        "ApproveReversal": _everywhere(APPROVE, subject="name"),
        "ListGitRevisions": _everywhere(READ, subject="parent"),
    },
    "TokenService": {
        # Whoever holds a token of the engine's is `local`, who may do everything.
        "CreateToken": _everywhere(ADMINISTER),
        "RenewToken": _everywhere(ADMINISTER),
        "EndToken": _everywhere(ADMINISTER),
    },
    "AccessService": {
        "CreateRoleBinding": _everywhere(ADMINISTER),
        "GetRoleBinding": _everywhere(ADMINISTER, subject="name"),
        "ListRoleBindings": _everywhere(ADMINISTER),
        "UpdateRoleBinding": _everywhere(ADMINISTER, subject="role_binding.name"),
        "DeleteRoleBinding": _everywhere(ADMINISTER, subject="name"),
        "CreateServiceToken": _everywhere(ADMINISTER),
        "GetServiceToken": _everywhere(ADMINISTER, subject="name"),
        "ListServiceTokens": _everywhere(ADMINISTER),
        "RotateServiceToken": _everywhere(ADMINISTER, subject="name"),
        "DeleteServiceToken": _everywhere(ADMINISTER, subject="name"),
        "GetCaller": Rule(_nothing, Opening.ANYBODY),
    },
    "AuditService": {
        "ListAuditEvents": Rule(_trail, subject="environment"),
        "VerifyAudit": _everywhere(READ),
        "ExportAudit": _at("environment", READ),
        "ListAuditSeals": _everywhere(READ),
    },
    "WorkerService": {
        "RegisterHost": _hosted("host.name"),
        "ClaimTask": _hosted("host"),
        "Heartbeat": _hosted("host"),
        "ReportProgress": _hosted("host"),
        "FinishTask": _hosted("host"),
        "ListWorkerHosts": _everywhere(READ),
    },
}
# Not of the contract, and served beside it: probes show no token, and reflection tells whoever is known what the contract is.
OPEN_SERVICES: Mapping[str, Opening] = {
    "grpc.health.v1.Health": Opening.ANYBODY,
    "grpc.reflection.v1alpha.ServerReflection": Opening.ANYBODY,
}
