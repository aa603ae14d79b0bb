"""The first word about each generation of a custom resource: seen, and being worked on; told before the engine is asked anything."""

from collections.abc import Callable

from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.entrypoints.operator.objects import Key, generation_of, is_deleted, is_suspended
from pymigrate.engine.entrypoints.operator.reconciling import kept_status
from pymigrate.engine.entrypoints.operator.status_writing import StatusWriter
from pymigrate.engine.entrypoints.operator.verdicts import Findings, Verdict
from pymigrate.engine.ports.cluster import ClusterBusy, Object, ObjectConflict, ObjectMissing

ACCEPTED = "Accepted"
PROGRESSING = "Progressing"


def needs_first_word(found: Object) -> bool:
    """Whether nothing was told yet of what is declared now."""
    told = (found.get("status") or {}).get("observedGeneration", 0)
    return told != generation_of(found) and not is_deleted(found) and not is_suspended(found)


class FirstWords:
    """`then` has the object worked on in full."""

    def __init__(self, writer: StatusWriter, read: Callable[[Key], Object | None], then: Callable[[Key], None]) -> None:
        self._writer = writer
        self._read = read
        self._then = then

    async def work(self, key: Key) -> None:
        """As a queue's work. What is written by others meanwhile has its pass all the same, which tells more than the first word; but
        where the API asks for patience nothing is asked of it, and the word is tried again."""
        try:
            found = self._read(key)
            if found is not None and needs_first_word(found):
                await self._writer.write(key, found, _verdict(key, found))
        except ClusterBusy:
            raise
        except (ObjectConflict, ObjectMissing):
            self._then(key)
        except PyMigrateError:
            self._then(key)
            raise
        else:
            self._then(key)


def _verdict(key: Key, found: Object) -> Verdict:
    findings = Findings(kept_status(key.word, found))
    if found.get("status"):
        return findings.reconciling(PROGRESSING, "what is declared has changed, and is looked at")
    return findings.reconciling(ACCEPTED, "it was seen, and is looked at")
