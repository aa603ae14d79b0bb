"""What a verification found, as the figures take it."""

from pymigrate.engine.domain.kpi_phase import Verdict
from pymigrate.v1 import plan_pb2, run_pb2


def verdict_of(body: bytes) -> Verdict:
    """Reads a verification as the contract encodes it."""
    found = run_pb2.Verification.FromString(body)
    word = "verified" if found.is_verified else "failed"
    is_asked_for = found.level != plan_pb2.VERIFICATION_LEVEL_NONE
    return Verdict(word if is_asked_for else "none", found.target_rows, found.repaired_rows)
