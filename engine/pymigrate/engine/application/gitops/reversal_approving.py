"""Approves that runs are undone for a commit, where the policy of an environment asks for that."""

from datetime import datetime

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.gitops.reversal_messages import (
    AWAITING_APPROVAL,
    BLOCKED,
    ROLLING_BACK,
    how_it_stands,
    is_open,
)
from pymigrate.engine.application.gitops.reversal_records import Told, record_of
from pymigrate.engine.application.policies import policy_of, require_approver
from pymigrate.engine.domain.errors import FailedPrecondition, NotFound
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import git_source_pb2


def approve_reversal(
    unit: Unit, request: git_source_pb2.ApproveReversalRequest, caller: Caller, now: datetime
) -> git_source_pb2.GitSource:
    """Approves what a commit asks for. Approving twice changes nothing. Raises NotFound, NotPermitted to who is no approver in every
    environment that it concerns, and FailedPrecondition where that commit waits for no approval."""
    record = record_of(unit, request.name)
    if record is None:
        raise NotFound(f"there is no {request.name}", field="name")
    source, reversal = record.source, record.reversal
    if not reversal.commit or reversal.commit != request.commit:
        what = f"commit {reversal.commit}" if is_open(reversal) else "no commit"
        raise FailedPrecondition(f"{what} of {request.name} waits for approval, and not {request.commit or 'none'}")
    for environment in sorted({environment_of(each.run) for each in reversal.runs}):
        require_approver(policy_of(unit, environment), environment, caller)
    if caller.principal not in reversal.approved_by:
        if reversal.state not in (AWAITING_APPROVAL, BLOCKED) or not reversal.approvals_min:
            raise FailedPrecondition(f"commit {reversal.commit} of {request.name} needs no approval any more")
        reversal.approved_by.append(caller.principal)
        if len(reversal.approved_by) >= reversal.approvals_min and reversal.state == AWAITING_APPROVAL:
            reversal.state = ROLLING_BACK
        if reversal.state != BLOCKED:
            reversal.message = how_it_stands(reversal)
        record.keep(unit, [Told(caller.principal, f"approve reversal {reversal.commit}")], now)
    source.status.CopyFrom(record.status)
    return source
