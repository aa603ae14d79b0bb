"""What verifying found, as the contract shows it."""

from pymigrate.engine.domain.audit_verification import Verdict
from pymigrate.v1 import audit_pb2


def verdict_message(verdict: Verdict) -> audit_pb2.VerifyAuditResponse:
    """What holds, and what does not."""
    message = audit_pb2.VerifyAuditResponse(
        event_count=verdict.event_count,
        chain_count=verdict.chain_count,
        seal_count=verdict.seal_count,
        unsealed_count=verdict.unsealed_count,
    )
    if (fault := verdict.fault) is not None:
        message.first_fault.CopyFrom(
            audit_pb2.AuditFault(
                kind=audit_pb2.AuditFaultKind.Value(f"AUDIT_FAULT_KIND_{fault.kind.name}"),
                sequence=fault.sequence,
                chain=fault.chain,
                place=fault.place,
                seal=fault.seal,
                description=fault.description,
            )
        )
    return message
