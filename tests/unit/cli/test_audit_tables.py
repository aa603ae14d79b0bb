"""The audit trail in words: events, seals and what verifying found."""

import io

from rich.console import Console

from pymigrate.engine.entrypoints.cli.audit_tables import events_table, fault_line, seals_table, verdict_lines
from pymigrate.v1 import audit_pb2, run_pb2


def printed(table: object) -> str:
    text = io.StringIO()
    Console(file=text, width=300).print(table)
    return text.getvalue()


def test_an_event_is_told_with_who_from_where_what_and_how_it_ended() -> None:
    event = audit_pb2.AuditEvent(
        sequence=7,
        principal="oidc/ann",
        origin="10.1.2.3 (cli)",
        action="deny",
        method="RunService/StartRun",
        subject="environments/prod/plans/p",
        outcome="PERMISSION_DENIED",
        detail="needs operator",
    )
    told = printed(events_table([event]))
    for word in (
        "7",
        "oidc/ann",
        "10.1.2.3 (cli)",
        "deny (RunService/StartRun)",
        "PERMISSION_DENIED",
        "needs operator",
    ):
        assert word in told


def test_a_step_of_a_run_is_told_with_its_states_or_why_it_failed() -> None:
    step = audit_pb2.AuditEvent(run="r", action="run.started", from_state="pending", to_state="running")
    failed = audit_pb2.AuditEvent(
        run="r", action="run.failed", failure=run_pb2.Failure(reason="DISK_FULL", message="no room")
    )
    told = printed(events_table([step, failed]))
    assert "pending → running" in told
    assert "DISK_FULL: no room" in told


def test_what_others_wrote_neither_steers_the_terminal_nor_fills_it() -> None:
    event = audit_pb2.AuditEvent(principal="[red]\x1b[2Jann", detail="x" * 5_000 + "end")
    told = printed(events_table([event]))
    assert "\x1b" not in told
    assert "[red]" in told
    assert "end" not in told


def test_seals_are_told_with_number_chains_and_the_beginning_of_their_digests() -> None:
    told = printed(
        seals_table([audit_pb2.AuditSeal(number=3, head_count=1_234, root=b"\xab" * 32, key_id=b"\xcd" * 32)])
    )
    assert all(word in told for word in ("3", "1,234", "abababababababab", "cdcdcdcdcdcdcdcd"))


def test_what_holds_is_said_with_how_far() -> None:
    found = audit_pb2.VerifyAuditResponse(event_count=12_408, chain_count=31, seal_count=97, unsealed_count=4)
    assert list(verdict_lines(found)) == [
        "12,408 events in 31 chains, 97 seals",
        "4 of them are not sealed yet: what was cut off behind them would not be noticed",
        "nothing was altered, removed, put elsewhere or cut off",
    ]
    found.first_fault.kind = audit_pb2.AUDIT_FAULT_KIND_ALTERED
    assert len(list(verdict_lines(found))) == 2


def test_a_fault_is_named_with_its_place() -> None:
    fault = audit_pb2.AuditFault(
        kind=audit_pb2.AUDIT_FAULT_KIND_SEAL_BROKEN,
        sequence=17,
        chain="w1",
        place=5,
        seal=2,
        description="wrong \x1b[2J",
    )
    assert fault_line(fault) == "seal broken: event 17, place 5 of chain w1, seal 2: wrong \N{REPLACEMENT CHARACTER}[2J"
    assert fault_line(audit_pb2.AuditFault(description="no header")) == "wrong: the trail: no header"
