"""A replication slot and its publication: how they come to be, and that nothing is left of them.

A slot that is forgotten keeps the server from throwing its log away until the disk is full. So its name says whose it is, and dropping
it ends whoever still reads it, or is still making it.
"""

import select
import threading
from collections.abc import Callable, Sequence

import psycopg
from psycopg import errors, pq
from psycopg.conninfo import make_conninfo
from psycopg.pq.abc import PGconn, PGresult

from pymigrate.engine.adapters.connectors.postgres_connection import CONNECT_SECONDS, first_line, refuse_login
from pymigrate.engine.adapters.connectors.target_statements import quote
from pymigrate.engine.domain.errors import FailedPrecondition, SourceChanged, SystemUnavailable
from pymigrate.engine.ports.capture import Start
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.ranges import Position

POLL_SECONDS = 0.2
DROP_TRIES_MAX = 50
SNAPSHOT_SECONDS = 60.0
DUPLICATE = b"42710"
Query = Callable[[str, Sequence[object]], list[tuple[object, ...]]]


def lsn(position: str) -> int:
    """A position as a number: `16/B374D848` is two halves in hexadecimal digits."""
    high, _, low = position.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def spelled(number: int) -> Position:
    """The opposite of `lsn`."""
    return Position(f"{number >> 32:X}/{number & 0xFFFFFFFF:X}")


class Snapshots:
    """Exported snapshots, each held by the session that made its slot, for as long as lanes may take to begin and no longer: a snapshot
    keeps a busy server from clearing up."""

    def __init__(self) -> None:
        self._held: dict[str, PGconn] = {}
        self._lock = threading.Lock()

    def hold(self, name: str, session: PGconn) -> None:
        """Takes the session over."""
        self.drop(name)
        with self._lock:
            self._held[name] = session
        timer = threading.Timer(SNAPSHOT_SECONDS, self.drop, (name,))
        timer.daemon = True
        timer.start()

    def drop(self, name: str) -> None:
        """Ends the session, where there is one."""
        with self._lock:
            session = self._held.pop(name, None)
        if session is not None:
            session.finish()


SNAPSHOTS = Snapshots()


class PostgresSlot:
    """The slot of a name, over a connection in autocommit mode."""

    def __init__(self, system: SystemSpec, name: str, query: Query) -> None:
        self._system = system
        self._name = name
        self._query = query
        self._pause = threading.Event()

    def make(self, table: str, heed: Callable[[], None]) -> Start:
        """Publication first: what the slot gives is read under it. A slot that is there already began before anything was read."""
        if not self._query("SELECT 1 FROM pg_publication WHERE pubname = ?", (self._name,)):
            options = "publish_via_partition_root = true"
            try:
                self._query(f"CREATE PUBLICATION {quote(self._name)} FOR TABLE {table} WITH ({options})", ())
            except errors.DuplicateObject:  # another host, which was taken for lost, was quicker
                heed()
        while (start := self._begun()) is None:
            heed()
            if self._found() is None and (made := self._create(heed)) is not None:
                return made
            self._pause.wait(POLL_SECONDS)  # somebody is making it
        return start

    def check(self, after: Position) -> None:
        """Raises SourceChanged where it does not keep everything from the position on."""
        found = self._found()
        if found is None or found[0] is None or lsn(found[0]) > lsn(after):
            what = "is gone" if found is None else f"stands at {found[0] or 'no position'}, after {after}"
            raise SourceChanged(
                f"the replication slot `{self._name}` {what}: what changed since can't be told any more; retry the run, "
                "which copies it again",
                field="source.connection",
            )

    def drop(self) -> None:
        """Slot and publication, whoever uses them."""
        SNAPSHOTS.drop(self._name)
        for _ in range(DROP_TRIES_MAX):
            found = self._found()
            if found is None:
                break
            if found[1] is not None:
                self._query("SELECT pg_terminate_backend(?)", (found[1],))
            try:
                self._query("SELECT pg_drop_replication_slot(?)", (self._name,))
            except errors.ObjectInUse:
                self._pause.wait(POLL_SECONDS)
            except errors.UndefinedObject:
                break
        else:
            raise SystemUnavailable(f"the replication slot `{self._name}` is in use and can't be dropped yet")
        self._query(f"DROP PUBLICATION IF EXISTS {quote(self._name)}", ())

    def _found(self) -> tuple[str | None, int | None] | None:
        """Up to where it was read, None while it is being made, and which backend uses it; None without a slot."""
        found = self._query(
            "SELECT confirmed_flush_lsn::text, active_pid FROM pg_replication_slots WHERE slot_name = ?", (self._name,)
        )
        if not found:
            return None
        confirmed, process = found[0]
        return None if confirmed is None else str(confirmed), None if process is None else int(str(process))

    def _begun(self) -> Start | None:
        found = self._found()
        return None if found is None or found[0] is None else Start(Position(found[0]))

    def _create(self, heed: Callable[[], None]) -> Start | None:
        """None where somebody else was quicker."""
        session = self._session()
        try:
            command = f"CREATE_REPLICATION_SLOT {quote(self._name)} LOGICAL pgoutput EXPORT_SNAPSHOT"
            result = _asked(session, command.encode(), heed)
            if result.error_field(pq.DiagnosticField.SQLSTATE) == DUPLICATE:
                session.finish()
                return None
            if result.status != pq.ExecStatus.TUPLES_OK:
                raise FailedPrecondition(
                    f"the replication slot `{self._name}` can't be made: {_said(result.error_message)}"
                )
            start = Start(Position(_text(result, 1)), _text(result, 2))
        except BaseException:
            session.finish()
            raise
        SNAPSHOTS.hold(self._name, session)
        return start

    def _session(self) -> PGconn:
        options, password = self._system.options, self._system.password
        parameters = {
            "host": options.get("host"),
            "port": options.get("port"),
            "dbname": options.get("database"),
            "user": options.get("user"),
            "password": password.reveal() if password else None,
            "sslmode": options.get("ssl_mode"),
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "pymigrate",
            "replication": "database",
        }
        session = pq.PGconn.connect(make_conninfo("", **parameters).encode())
        if session.status != pq.ConnStatus.OK:
            said = _said(session.error_message)
            try:
                refuse_login(self._system, session, said)
            finally:
                session.finish()
            if password is not None:
                said = said.replace(password.reveal(), "***")
            raise SystemUnavailable(f"PostgreSQL does not open a session for replication: {said}")
        return session


def _asked(session: PGconn, command: bytes, heed: Callable[[], None]) -> PGresult:
    """The answer, waited for as long as it takes: a slot begins when every transaction that writes has ended."""
    session.send_query(command)
    try:
        while session.is_busy():
            select.select([session.socket], [], [], POLL_SECONDS)
            session.consume_input()
            heed()
    except BaseException:
        session.get_cancel().cancel()
        raise
    result = session.get_result()
    if result is None:
        raise SystemUnavailable(f"PostgreSQL gave no answer: {_said(session.error_message)}")
    return result


def _text(result: PGresult, column: int) -> str:
    return (result.get_value(0, column) or b"").decode()


def _said(message: bytes) -> str:
    return " ".join(message.decode(errors="replace").split())


def lost(name: str, error: psycopg.Error) -> SourceChanged:
    """The error for a slot that the server has given up."""
    return SourceChanged(
        f"the replication slot `{name}` can't be read: {first_line(error)}: raise the server's max_slot_wal_keep_size, or catch up "
        "sooner; then retry the run, which copies it again",
        field="source.connection",
    )
