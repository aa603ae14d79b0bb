"""The audit trail for a terminal: events and seals as tables, what verifying found as sentences. What others wrote steers no terminal."""

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from pymigrate.engine.entrypoints.cli.notification_tables import shown
from pymigrate.engine.entrypoints.cli.spelling import spell_moment
from pymigrate.v1 import audit_pb2
from pymigrate.v1.shape import enum_word

EVENT_COLUMNS = ("event", "time", "principal", "from", "action", "subject", "outcome", "detail")
SEAL_COLUMNS = ("seal", "time", "chains", "root", "key")
DETAIL_CHARACTERS_MAX = 80
DIGITS_SHOWN = 16


def events_table(events: Sequence[audit_pb2.AuditEvent]) -> Table:
    """An event a line."""
    grid = _grid(EVENT_COLUMNS)
    for event in events:
        _add_row(
            grid,
            str(event.sequence),
            spell_moment(event.time),
            event.principal,
            event.origin or "-",
            _action(event),
            event.subject or "-",
            event.outcome,
            _detail(event),
        )
    return grid


def seals_table(seals: Sequence[audit_pb2.AuditSeal]) -> Table:
    """A seal a line."""
    grid = _grid(SEAL_COLUMNS)
    for seal in seals:
        digests = (each.hex()[:DIGITS_SHOWN] for each in (seal.root, seal.key_id))
        _add_row(grid, str(seal.number), spell_moment(seal.time), f"{seal.head_count:,}", *digests)
    return grid


def verdict_lines(found: audit_pb2.VerifyAuditResponse) -> Iterator[str]:
    """What holds, and how far; what does not is told by `fault_line`."""
    yield f"{found.event_count:,} events in {found.chain_count:,} chains, {found.seal_count:,} seals"
    if found.unsealed_count:
        yield f"{found.unsealed_count:,} of them are not sealed yet: what was cut off behind them would not be noticed"
    if not found.HasField("first_fault"):
        yield "nothing was altered, removed, put elsewhere or cut off"


def fault_line(fault: audit_pb2.AuditFault) -> str:
    """The first thing that does not hold: what, where, and how that shows."""
    kind = enum_word(audit_pb2.AuditFaultKind.DESCRIPTOR, fault.kind).replace("_", " ") or "wrong"
    where = [f"event {fault.sequence}"] if fault.sequence else []
    if fault.chain or fault.place:
        where.append(f"place {fault.place:,} of chain {fault.chain or '(none)'}")
    if fault.seal:
        where.append(f"seal {fault.seal:,}")
    return shown(f"{kind}: {', '.join(where) or 'the trail'}: {fault.description}")


def _action(event: audit_pb2.AuditEvent) -> str:
    return f"{event.action} ({event.method})" if event.method else event.action


def _detail(event: audit_pb2.AuditEvent) -> str:
    if event.HasField("failure"):
        told = f"{event.failure.reason}: {event.failure.message}"
    else:
        told = event.detail or (f"{event.from_state} → {event.to_state}" if event.run and event.to_state else "")
    line = " ".join(told.split())
    return line if len(line) <= DETAIL_CHARACTERS_MAX else f"{line[:DETAIL_CHARACTERS_MAX]} ..."


def _grid(columns: Sequence[str]) -> Table:
    grid = Table()
    for column in columns:
        grid.add_column(column, justify="right" if column in {"event", "seal", "chains"} else "left")
    return grid


def _add_row(grid: Table, *cells: str) -> None:
    grid.add_row(*(Text(shown(cell)) for cell in cells))
