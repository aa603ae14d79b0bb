"""Whether the API server may store a custom resource: what the engine would say of it is said at once, to whoever applies it.

Nothing is stored for an answer, so that dry runs are asked about like any other. What only waits for another object is admitted with a
warning, as objects come in any order. What is being deleted, is left alone, or says what it said before is never stood in the way of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS
from pymigrate.engine.domain.errors import PermanentError, Problem
from pymigrate.engine.entrypoints.custom_resources import RUN
from pymigrate.engine.entrypoints.operator.engine import document_of
from pymigrate.engine.entrypoints.operator.objects import (
    RESOURCE_TYPES,
    EnvironmentRule,
    environment_of_object,
    is_deleted,
    is_suspended,
    spec_of,
)
from pymigrate.engine.entrypoints.operator.placing import misplaced
from pymigrate.engine.entrypoints.operator.run_admission import run_problems, run_warnings
from pymigrate.engine.entrypoints.operator.spec_paths import spec_path
from pymigrate.engine.entrypoints.operator.verdicts import problems_text
from pymigrate.engine.ports.cluster import Object
from pymigrate.v1.definition_pb2 import ApplyDefinitionsResponse

ASKED_OF = frozenset({"CREATE", "UPDATE"})
WARNINGS_MAX = 10
# As the API server recommends; it cuts what is longer.
WARNING_CHARACTERS_MAX = 256
MESSAGE_CHARACTERS_MAX = 4_096


class ChecksDefinitions(Protocol):
    """An engine that is asked what applying a document would do."""

    async def check(self, document: Mapping[str, Any]) -> ApplyDefinitionsResponse:
        """Raises PyMigrateError; a TemporaryError where it can't be told now."""
        ...


@dataclass(frozen=True, slots=True)
class Admitted:
    """It may be stored; `warnings` are for whoever applies it."""

    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Denied:
    """It may not be stored, and why."""

    message: str
    warnings: tuple[str, ...] = ()


Decision = Admitted | Denied


class Admission:
    """Decides about requests of the API server, as `AdmissionReview` of admission.k8s.io/v1 has them."""

    def __init__(self, engine: ChecksDefinitions, rule: EnvironmentRule) -> None:
        self._engine = engine
        self._rule = rule

    async def decide(self, request: Mapping[str, Any]) -> Decision:
        """What becomes of a request. Raises TemporaryError where it can't be told now."""
        word = str((request.get("kind") or {}).get("kind", ""))
        new, old = request.get("object"), request.get("oldObject")
        if request.get("operation") not in ASKED_OF or request.get("subResource") or not new or is_deleted(new):
            return Admitted()
        if old and self._says(word, old) == self._says(word, new):
            return Admitted()
        if word not in RESOURCE_TYPES or (word != RUN and is_suspended(new)):
            return Admitted()
        if wrong := misplaced(word, new, self._rule):
            return Denied(f"{wrong.field}: {wrong.message}")
        if word == RUN:
            return _decided(list(run_problems(old, new)), run_warnings(old, new))
        return await self._of_definition(word, new)

    async def _of_definition(self, word: str, found: Object) -> Decision:
        environment = "" if DEFINITION_KINDS[word].is_top else environment_of_object(word, found, self._rule)
        document = document_of(word, environment, str(found["metadata"]["name"]), spec_of(found))
        try:
            answer = await self._engine.check(document)
        except PermanentError as error:
            return _decided([Problem(error.field, error.message)], ())
        message = DEFINITION_KINDS[word].kind.message().DESCRIPTOR
        told = [(Problem(spec_path(message, each.path), each.description), each.is_missing) for each in answer.problems]
        wrong = [problem for problem, is_missing in told if not is_missing]
        return _decided(wrong, (f"{each.field}: {each.description}" for each, is_missing in told if is_missing))

    def _says(self, word: str, found: Object) -> tuple[Any, ...]:
        """What is asked about; everything else of an object may change at any time, such as finalizers."""
        return spec_of(found), environment_of_object(word, found, self._rule), is_suspended(found)


def _decided(problems: list[Problem], warnings: Any) -> Decision:
    told = tuple(text[:WARNING_CHARACTERS_MAX] for _, text in zip(range(WARNINGS_MAX), warnings, strict=False))
    if problems:
        return Denied(problems_text(problems)[:MESSAGE_CHARACTERS_MAX], told)
    return Admitted(told)
