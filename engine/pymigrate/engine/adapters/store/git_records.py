"""What is kept of Git sources within a unit of work: where each stands, and its revisions. Their bodies are opaque here."""

from collections.abc import Sequence

from sqlalchemy import BigInteger, Connection, Index, LargeBinary, bindparam, delete, insert, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Field, col, select

from pymigrate.engine.adapters.store.columns import NAME
from pymigrate.engine.adapters.store.reading import read_all, read_first
from pymigrate.engine.adapters.store.tables import Table
from pymigrate.engine.domain.errors import StaleWrite
from pymigrate.engine.ports.git_records import REVISIONS_KEPT


class GitStatusRow(Table, table=True):
    """Where a source stands."""

    __tablename__ = "git_status"

    uid: str = Field(primary_key=True, sa_type=NAME)
    version: int = Field(sa_type=BigInteger)
    body: bytes = Field(sa_type=LargeBinary)


class GitRevisionRow(Table, table=True):
    """What came of a commit."""

    __tablename__ = "git_revision"
    __table_args__ = (Index(None, "uid", "commit", "number"),)

    uid: str = Field(primary_key=True, sa_type=NAME)
    number: int = Field(primary_key=True, sa_type=BigInteger)
    commit: str = Field(sa_type=NAME)
    body: bytes = Field(sa_type=LargeBinary)


_INSERT_STATUS = insert(GitStatusRow)
_UPDATE_STATUS = update(GitStatusRow).where(
    col(GitStatusRow.uid) == bindparam("stored_uid"), col(GitStatusRow.version) == bindparam("stored_version")
)
_DELETE_STATUS = delete(GitStatusRow).where(col(GitStatusRow.uid) == bindparam("stored_uid"))
_INSERT_REVISION = insert(GitRevisionRow)
_UPDATE_REVISION = update(GitRevisionRow).where(
    col(GitRevisionRow.uid) == bindparam("stored_uid"), col(GitRevisionRow.number) == bindparam("stored_number")
)
_DELETE_OLD_REVISIONS = delete(GitRevisionRow).where(
    col(GitRevisionRow.uid) == bindparam("stored_uid"), col(GitRevisionRow.number) <= bindparam("oldest")
)
_DELETE_REVISIONS = delete(GitRevisionRow).where(col(GitRevisionRow.uid) == bindparam("stored_uid"))


class SqlGitRecords:
    """Statuses and revisions in their tables."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def status(self, uid: str) -> tuple[int, bytes] | None:
        """Version and body."""
        row = read_first(self._connection, select(GitStatusRow).where(GitStatusRow.uid == uid))
        return None if row is None else (row.version, row.body)

    def set_status(self, uid: str, body: bytes, expected_version: int) -> None:
        """Raises StaleWrite."""
        values = {"version": expected_version + 1, "body": body}
        if expected_version:
            stored = {"stored_uid": uid, "stored_version": expected_version}
            if self._connection.execute(_UPDATE_STATUS, values | stored).rowcount != 1:
                raise StaleWrite(f"the status of source {uid} was written in between: read it again")
            return
        try:
            self._connection.execute(_INSERT_STATUS, {"uid": uid} | values)
        except IntegrityError as error:
            raise StaleWrite(f"the status of source {uid} was written in between: read it again") from error

    def add_revision(self, uid: str, number: int, commit: str, body: bytes) -> None:
        """Raises StaleWrite."""
        newest = next(iter(self.revisions(uid, 0, 1)), (0, b""))[0]
        if number != newest + 1:
            raise StaleWrite(f"revision {number} of source {uid} is not the next one: read it again")
        try:
            values = {"uid": uid, "number": number, "commit": commit, "body": body}
            self._connection.execute(_INSERT_REVISION, values)
        except IntegrityError as error:
            raise StaleWrite(f"revision {number} of source {uid} is taken: read it again") from error
        if number > REVISIONS_KEPT:
            self._connection.execute(_DELETE_OLD_REVISIONS, {"stored_uid": uid, "oldest": number - REVISIONS_KEPT})

    def set_revision(self, uid: str, number: int, body: bytes) -> None:
        """Raises StaleWrite where there is none."""
        stored = {"stored_uid": uid, "stored_number": number, "body": body}
        if self._connection.execute(_UPDATE_REVISION, stored).rowcount != 1:
            raise StaleWrite(f"there is no revision {number} of source {uid} any more")

    def revisions(self, uid: str, before: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """A page, the newest first."""
        statement = select(GitRevisionRow).where(GitRevisionRow.uid == uid)
        if before:
            statement = statement.where(GitRevisionRow.number < before)
        statement = statement.order_by(col(GitRevisionRow.number).desc()).limit(limit)
        return [(row.number, row.body) for row in read_all(self._connection, statement)]

    def newest_of(self, uid: str, commit: str) -> tuple[int, bytes] | None:
        """The newest revision of a commit."""
        statement = (
            select(GitRevisionRow)
            .where(GitRevisionRow.uid == uid, GitRevisionRow.commit == commit)
            .order_by(col(GitRevisionRow.number).desc())
            .limit(1)
        )
        row = read_first(self._connection, statement)
        return None if row is None else (row.number, row.body)

    def drop(self, uid: str) -> None:
        """Forgets a source."""
        self._connection.execute(_DELETE_STATUS, {"stored_uid": uid})
        self._connection.execute(_DELETE_REVISIONS, {"stored_uid": uid})
