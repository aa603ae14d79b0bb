"""PostgreSQL's part in a publication that takes place in several targets: prepared, it outlives every crash and can only succeed.

A prepared publication keeps its locks until it is committed or given up, so that readers of a replaced table wait meanwhile.
"""

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress

from psycopg import errors

from pymigrate.engine.adapters.connectors.target_changes import ChangedTarget
from pymigrate.engine.adapters.connectors.target_dialect import ATTEMPTS_MAX, Conflict
from pymigrate.engine.adapters.connectors.target_statements import PUBLISHED, SEALED
from pymigrate.engine.domain.errors import MergeConflict, SystemUnavailable
from pymigrate.engine.ports.staging import Staging

PREPARED_MARK = "pymigrate_"


class TwoPhaseTarget(ChangedTarget):
    """What of a Target on PostgreSQL prepares publications."""

    @abstractmethod
    def _give_up_transaction(self) -> None:
        """Rolls back what is open, where the connection still stands."""

    def prepare_publication(self, stagings: Sequence[Staging], key: str) -> bool:
        """With PREPARE TRANSACTION, where `max_prepared_transactions` of the server is above 0."""
        [(most,)] = self._query("SELECT current_setting('max_prepared_transactions')")
        if int(str(most)) == 0:
            return False
        self._build_all(stagings)
        for _ in range(ATTEMPTS_MAX):
            if self._is_prepared(key) or all(self._state(staging) in {PUBLISHED, SEALED} for staging in stagings):
                return True
            try:
                self._put_in_and_prepare(stagings, key)
            except MergeConflict:
                self._again(lambda: self._record_all_conflicts(stagings))
                raise
            except Conflict:
                self._wait()
        raise SystemUnavailable(f"PostgreSQL: the publication {key} met others again and again")

    def commit_publication(self, stagings: Sequence[Staging], key: str) -> None:
        """With COMMIT PREPARED."""
        if self._is_prepared(key):
            with suppress(errors.UndefinedObject):
                self._execute(f"COMMIT PREPARED '{PREPARED_MARK}{key}'")
        self._require_published(stagings, key)

    def abort_publication(self, key: str) -> None:
        """With ROLLBACK PREPARED."""
        if self._is_prepared(key):
            with suppress(errors.UndefinedObject):
                self._execute(f"ROLLBACK PREPARED '{PREPARED_MARK}{key}'")

    def _put_in_and_prepare(self, stagings: Sequence[Staging], key: str) -> None:
        self._execute("BEGIN")
        try:
            self._put_in(stagings)
            self._execute(f"PREPARE TRANSACTION '{PREPARED_MARK}{key}'")
        except BaseException as error:
            self._give_up_transaction()
            if isinstance(error, errors.DuplicateObject):
                raise Conflict(f"PostgreSQL: {error}") from error
            raise

    def _is_prepared(self, key: str) -> bool:
        if not key.replace("_", "").isalnum():
            raise ValueError(f"{key!r} is no key of a publication")
        statement = "SELECT 1 FROM pg_prepared_xacts WHERE gid = ? AND database = current_database()"
        return bool(self._query(statement, (f"{PREPARED_MARK}{key}",)))
