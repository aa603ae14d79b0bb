"""What a pass over a custom resource Run reads off resources as they are: its own status of before, and the plan that it names."""

from collections.abc import Callable
from datetime import datetime

from pymigrate.engine.entrypoints.operator.objects import Key, generation_of, is_deleted, is_suspended
from pymigrate.engine.entrypoints.operator.run_steering import ENDED
from pymigrate.engine.entrypoints.operator.verdicts import Condition, ConditionType, Verdict
from pymigrate.engine.ports.cluster import Object
from pymigrate.v1.custom_resource_pb2 import RunStatus

# A look at what would happen ends in one of these.
CHECKED = frozenset({"DryRunPassed", "DryRunFailed", "ApprovalRequired", "PlanChanged", "CheckFailed"})
HOLDS = {"True": True, "False": False}


def is_checked(found: Object, before: RunStatus, plan_hash: str, now: datetime, problems_seconds: float) -> bool:
    """Whether its status tells of a look at this declaration and this plan. What was wrong may be mended after some time."""
    ready = _conditions(found).get("Ready") or {}
    if ready.get("reason") not in CHECKED or ready.get("observedGeneration") != generation_of(found):
        return False
    if not before.HasField("dry_run") or before.plan_hash != plan_hash:
        return False
    age_seconds = now.timestamp() - before.dry_run.time.seconds
    return not before.dry_run.problem_count or age_seconds < problems_seconds


def plan_trouble(read: Callable[[Key], Object | None], key: Key, found: Object, plan: str) -> str:
    """Why the plan is not to be run yet though the engine may have it: a resource declares it, and is not done. Empty: nothing."""
    declared = read(Key("Plan", key.namespace, plan))
    if declared is None or is_suspended(declared):
        return ""
    ready = _conditions(declared).get("Ready") or {}
    if ready.get("status") == "True" and ready.get("observedGeneration") == generation_of(declared):
        return ""
    said = ready.get("message") if ready.get("observedGeneration") == generation_of(declared) else ""
    return f"Plan `{plan}` is not as it is declared yet: {said or 'it is being looked at'}"


def kept_verdict(found: Object, before: RunStatus) -> Verdict | None:
    """What was told of a run that has ended, as it is declared still; None where something is under way."""
    told = _conditions(found)
    is_current = (told.get("Ready") or {}).get("observedGeneration") == generation_of(found)
    if before.state not in ENDED or is_deleted(found) or not is_current or "Reconciling" in told:
        return None
    types = {each.value: each for each in ConditionType}
    conditions = [
        Condition(types[name], HOLDS.get(each["status"]), each["reason"], each["message"])
        for name, each in told.items()
        if name in types
    ]
    return Verdict(conditions, before)


def _conditions(found: Object) -> dict[str, Object]:
    return {each["type"]: each for each in (found.get("status") or {}).get("conditions") or ()}
