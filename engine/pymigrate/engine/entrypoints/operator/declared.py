"""Reconciling of every kind that files may declare: each object goes through the engine's own way for definitions, as one document."""

from collections.abc import Callable

import structlog

from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS
from pymigrate.engine.domain.errors import (
    InvalidDefinition,
    NotFound,
    NotOwned,
    NotPermitted,
    PermanentError,
    Problem,
    StaleWrite,
)
from pymigrate.engine.entrypoints.operator.claims import Claims
from pymigrate.engine.entrypoints.operator.definition_batches import DefinitionBatches
from pymigrate.engine.entrypoints.operator.dependents import Dependents
from pymigrate.engine.entrypoints.operator.engine import Document, EngineCalls, document_of
from pymigrate.engine.entrypoints.operator.finalizing import Finalizing
from pymigrate.engine.entrypoints.operator.objects import (
    EnvironmentRule,
    Key,
    engine_name,
    environment_of_object,
    generation_of,
    has_finalizer,
    is_deleted,
    is_orphaned,
    is_suspended,
    spec_of,
    uid_of,
)
from pymigrate.engine.entrypoints.operator.placing import misplaced, told_name
from pymigrate.engine.entrypoints.operator.spec_paths import spec_path
from pymigrate.engine.entrypoints.operator.verdicts import Findings, Verdict, problems_text
from pymigrate.engine.ports.cluster import Object
from pymigrate.v1 import definition_pb2
from pymigrate.v1.custom_resource_pb2 import ObjectStatus

log = structlog.get_logger(__name__)
MISSING_SECONDS = 60.0
PLAN = "Plan"
HASHED = frozenset({"Connection", "Environment"})
"""Kinds that hashes of plans are made of beside plans: through parameters, overrides, and where connections lead."""


class Declared:
    """`wake` has those looked at again that wait for something of an environment; of an empty one, all that wait for anything. `again` has
    one looked at again."""

    def __init__(
        self,
        engine: EngineCalls,
        batches: DefinitionBatches,
        finalizing: Finalizing,
        dependents: Dependents,
        rule: EnvironmentRule,
        wake: Callable[[str], None],
        again: Callable[[Key], None],
        hash_turned: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._batches = batches
        self._finalizing = finalizing
        self._dependents = dependents
        self._rule = rule
        self._wake = wake
        self._again = again
        self._hash_turned = hash_turned
        self._claims = Claims()

    async def look(self, key: Key, found: Object) -> Verdict | None:
        """As the protocol says: deleted? suspended? name and environment, finalizer, the engine."""
        environment = environment_of_object(key.word, found, self._rule)
        self._dependents.forget(key)
        if is_deleted(found):
            return await self._delete(key, found, environment)
        if is_suspended(found):
            return _suspended(found, environment)
        former = told_name(key.word, found, self._rule) if has_finalizer(found) else ""
        status = ObjectStatus(name=former, environment=environment)
        if wrong := misplaced(key.word, found, self._rule):
            return Findings(status).stalled(wrong.reason, wrong.message)
        name = engine_name(key.word, environment, key.name)
        holder = self._holder(key, found, name)
        if holder != key:
            said = f"{name} is declared by {holder.namespace}/{holder.name} already: leave one of the two out"
            return Findings(status).stalled("NameTaken", said)
        # What belongs to another environment now goes where it was, first, unless it is somebody else's there.
        has_moved = former not in {"", name} and not self._claims.is_claimed(former)
        if has_moved and (refusal := await self._remove(key, found, former)):
            return Findings(status).stalled("DeletionRefused", refusal).after(MISSING_SECONDS)
        return await self._apply(key, found, environment, name)

    def heard(self, key: Key, found: Object) -> None:
        """Takes note of who would have which name, before any of them is looked at: the first to be looked at need not be the one that
        has it."""
        if not is_deleted(found) and misplaced(key.word, found, self._rule) is None:
            self._holder(
                key, found, engine_name(key.word, environment_of_object(key.word, found, self._rule), key.name)
            )

    def gone(self, key: Key) -> None:
        """Others may have its name now."""
        self._dependents.forget(key)
        for other in self._claims.drop(key):
            self._again(other)

    def _holder(self, key: Key, found: Object, name: str) -> Key:
        """Who speaks for a name in the engine."""
        has_it = has_finalizer(found) and told_name(key.word, found, self._rule) == name
        created = str(found["metadata"].get("creationTimestamp", ""))
        return self._claims.claim(name, created, uid_of(found), key, has_it=has_it)

    async def _apply(self, key: Key, found: Object, environment: str, name: str) -> Verdict:
        document = document_of(
            key.word, "" if DEFINITION_KINDS[key.word].is_top else environment, key.name, spec_of(found)
        )
        # Before the engine is asked: what is applied or deleted between its answer and ours has this looked at again.
        self._dependents.ask(environment, key)
        try:
            return await self._ask(key, found, environment, name, document)
        finally:
            if self._dependents.answered(key):
                self._again(key)

    async def _ask(self, key: Key, found: Object, environment: str, name: str, document: Document) -> Verdict:
        is_held = has_finalizer(found)
        if not is_held:
            checked = await self._batches.check(environment, document)
            if checked.problems:
                return self._refused(key, ObjectStatus(environment=environment), checked)
            if not is_orphaned(found):
                await self._finalizing.hold(key, found)
        applied = await self._batches.apply(environment, document)
        if applied.problems:
            status = ObjectStatus(environment=environment, name=name if is_held else "")
            return self._refused(key, status, applied)
        self._dependents.forget(key)
        if applied.changes:
            log.info("object.applied", key=str(key), name=name)
            self._wake("" if DEFINITION_KINDS[key.word].is_top else environment)
            if key.word in HASHED:
                self._hash_turned(environment)
        status = ObjectStatus(name=name, environment=environment)
        if key.word == PLAN:
            status.plan_hash = await self._plan_hash(name, applied)
        return Findings(status).ready("Applied", f"{name} is as it is declared here")

    async def _plan_hash(self, name: str, applied: definition_pb2.ApplyDefinitionsResponse) -> str:
        told = next((each.plan_hash for each in applied.plans if each.plan == name), "")
        return told or str((await self._engine.get(PLAN, name)).plan_hash)

    def _refused(self, key: Key, status: ObjectStatus, checked: definition_pb2.ApplyDefinitionsResponse) -> Verdict:
        """What is wrong: what is not there yet is waited for, unless something else is wrong too."""
        problems = list(checked.problems)
        message = DEFINITION_KINDS[key.word].kind.message().DESCRIPTOR
        text = problems_text([Problem(spec_path(message, each.path), each.description) for each in problems])
        if all(each.is_missing for each in problems):
            return Findings(status).reconciling("DependencyMissing", text).after(MISSING_SECONDS)
        is_refused = all(each.rule == "refused" for each in problems)
        return Findings(status).stalled("Refused" if is_refused else "InvalidDefinition", text)

    async def _delete(self, key: Key, found: Object, environment: str) -> Verdict | None:
        name = told_name(key.word, found, self._rule)
        if not has_finalizer(found):
            return None
        if not name and misplaced(key.word, found, self._rule) is None:
            name = engine_name(key.word, environment, key.name)  # the operator ended before it could tell
        is_ours = name and not is_orphaned(found) and self._holder(key, found, name) == key
        # Before the engine is asked, as what refuses this may be gone by the time that its answer is here.
        self._dependents.ask(environment, key)
        try:
            refusal = await self._remove(key, found, name) if is_ours else ""
        finally:
            if self._dependents.answered(key):
                self._again(key)
        if refusal:
            status = ObjectStatus(name=name, environment=environment)
            return Findings(status).stalled("DeletionRefused", refusal).after(MISSING_SECONDS)
        self._dependents.forget(key)
        await self._finalizing.release(key, found)
        return None

    async def _remove(self, key: Key, found: Object, name: str) -> str:
        """Takes an object out of the engine. Why that is refused; empty: it is not there any more, or is another side's by now."""
        if is_orphaned(found):
            return ""
        try:
            await self._engine.delete(key.word, name)
        except NotFound:
            return ""
        except (InvalidDefinition, NotPermitted, StaleWrite):
            raise
        except PermanentError as error:
            if error.reason == NotOwned.reason:
                log.info("object.left", key=str(key), name=name, error=error.message)
                return ""
            return error.message
        log.info("object.deleted", key=str(key), name=name)
        self._wake("" if DEFINITION_KINDS[key.word].is_top else name.split("/")[1])
        return ""


def _suspended(found: Object, environment: str) -> Verdict:
    """What was true of this generation stays true; of a newer one nothing is known."""
    before = found.get("status") or {}
    status = ObjectStatus(
        name=str(before.get("name", "")),
        environment=str(before.get("environment", "") or environment),
        plan_hash=str(before.get("planHash", "")),
    )
    known = {str(each.get("type")): each for each in before.get("conditions") or ()}
    ready = known.get("Ready") or {}
    is_of_this = ready.get("observedGeneration") == generation_of(found)
    said = "it is left alone while the annotation pymigrate.io/suspend says so"
    holds = True if is_of_this and ready.get("status") == "True" else None
    return Findings(status).suspended("Suspended", said, ready=holds)
