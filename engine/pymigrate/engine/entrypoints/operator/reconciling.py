"""A pass over one custom resource: its kind's reconciler looks and acts, and what it ends in is written, whatever came in the way."""

import random
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from pymigrate.engine.application.clusters.election import LeadershipLost
from pymigrate.engine.domain.errors import EngineUnavailable, PermanentError, PyMigrateError, StaleWrite, TemporaryError
from pymigrate.engine.entrypoints.custom_resources import RUN, resource_type
from pymigrate.engine.entrypoints.operator.objects import Key, generation_of, is_deleted, uid_of
from pymigrate.engine.entrypoints.operator.run_verdicts import camel_case
from pymigrate.engine.entrypoints.operator.status_writing import StatusWriter
from pymigrate.engine.entrypoints.operator.verdicts import Findings, Status, Verdict
from pymigrate.engine.ports.cluster import Cluster, ClusterBusy, Object, ObjectConflict, ObjectMissing
from pymigrate.v1.custom_resource_pb2 import ObjectStatus, RunStatus
from pymigrate.v1.shape import ShapeError, from_data

log = structlog.get_logger(__name__)
CONFLICTS_MAX = 4
MISSING_SECONDS = 0.2
CONFLICT_SECONDS = 0.2
RESYNC_SECONDS = 600.0
RESYNC_SPREAD = 0.2
AWAY = "the engine does not answer: it is asked again until it does"
Read = Callable[[Key], Object | None]
Note = Callable[[Key, Object], None]


class Reconciler(Protocol):
    """What is special to kinds of custom resources."""

    async def look(self, key: Key, found: Object) -> Verdict | None:
        """Looks at one as it is declared, brings the engine nearer to it, and says where it stands; None where that is told no longer,
        since it goes. Raises ObjectConflict to begin anew with a newer object, Unfinished with a verdict of its own for what is to be
        tried again, and any other error: a temporary one is tried again."""
        ...

    def gone(self, key: Key) -> None:
        """It is there no longer."""
        ...


class Unfinished(Exception):
    """A pass that came to no end, though it knows what to tell; it is tried again for the `error`."""

    def __init__(self, verdict: Verdict, error: PyMigrateError) -> None:
        super().__init__(error.message)
        self.verdict = verdict
        self.error = error


class Reconciling:
    """`read` gives an object as it was last heard of, `note` takes one that is newer."""

    def __init__(
        self,
        cluster: Cluster,
        writer: StatusWriter,
        reconcilers: Mapping[str, Reconciler],
        rng: random.Random,
        read: Read,
        note: Note,
    ) -> None:
        self._cluster = cluster
        self._writer = writer
        self._reconcilers = reconcilers
        self._rng = rng
        self._read = read
        self._note = note

    async def work(self, key: Key) -> float | None:
        """One pass, as a queue's work. Returns after how many seconds to look again; None where it is gone."""
        found = self._read(key)
        for _ in range(CONFLICTS_MAX):
            if found is None:
                self._reconcilers[key.word].gone(key)
                self._writer.forget(key)
                return None
            try:
                return await self._pass(key, found)
            except ObjectConflict:
                found = await self._reread(key)
            except ObjectMissing as error:
                self._require_gone(key, error)
                return None
        raise TemporaryError(f"{key} is changed by others again and again", retry_after_seconds=CONFLICT_SECONDS)

    async def _pass(self, key: Key, found: Object) -> float | None:
        error: PyMigrateError | None = None
        try:
            verdict = await self._reconcilers[key.word].look(key, found)
        except (ObjectConflict, ObjectMissing, LeadershipLost, ClusterBusy):
            raise  # an API that asks for patience is not told so
        except Unfinished as unfinished:
            verdict, error = unfinished.verdict, unfinished.error
        except PyMigrateError as raised:
            verdict = verdict_of_error(kept_status(key.word, found), raised)
            error = None if isinstance(raised, PermanentError) and not isinstance(raised, StaleWrite) else raised
            log.info("pass.failed", key=str(key), reason=raised.reason, error=raised.message)
        again = await self._write(key, found, verdict)
        if error is not None:
            raise error
        resync = RESYNC_SECONDS * self._rng.uniform(1.0 - RESYNC_SPREAD, 1.0 + RESYNC_SPREAD)
        return resync if again is None else min(again, resync)

    async def _write(self, key: Key, found: Object, verdict: Verdict | None) -> float | None:
        """Into the object as it is now, as long as what is declared is what was looked at."""
        if verdict is None:
            return None
        newest = self._read(key)
        if newest is not None and _declared(newest) == _declared(found):
            found = newest
        return await self._writer.write(key, found, verdict)

    async def _reread(self, key: Key) -> Object | None:
        """The mirror may not have heard yet of what came in between."""
        try:
            found = await self._cluster.get(resource_type(key.word), key.namespace, key.name)
        except ObjectMissing as error:
            self._require_gone(key, error)
            return None
        self._note(key, found)
        return found

    def _require_gone(self, key: Key, error: ObjectMissing) -> None:
        """Raises TemporaryError unless the mirror has lost it too. An API server that has just begun serves no custom resources for a
        moment, and says that there are none: what was missed then is there again, and nothing more is told of it."""
        if self._read(key) is not None:
            raise TemporaryError(
                f"{key} is not found now: it is looked at again", retry_after_seconds=MISSING_SECONDS
            ) from error


def verdict_of_error(status: Status, error: PyMigrateError) -> Verdict:
    """What is told of an error that ended a pass."""
    findings = Findings(status)
    if isinstance(error, EngineUnavailable):
        return findings.reconciling("EngineUnavailable", AWAY)
    if isinstance(error, PermanentError) and not isinstance(error, StaleWrite):
        return findings.stalled(camel_case(error.reason), error.message)
    return findings.reconciling(camel_case(error.reason), error.message)


def kept_status(word: str, found: Object) -> Status:
    """The fields of an object's status as they are."""
    status: Status = RunStatus() if word == RUN else ObjectStatus()
    told = {
        name: value
        for name, value in (found.get("status") or {}).items()
        if name not in {"conditions", "observedGeneration"}
    }
    from_data(told, status, "status", tell=_ignored)
    return status


def _ignored(_: ShapeError) -> None:
    """What another version of the operator has written is not kept."""


def _declared(found: Object) -> tuple[str, int, bool]:
    return uid_of(found), generation_of(found), is_deleted(found)
