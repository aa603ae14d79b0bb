"""Documents as messages of the contract: the envelope that Git and Kubernetes use, its kind, its name and what it says.

Everything that is wrong is told at once, each at its place. A file that was read before is not read again.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from pymigrate.engine.application.gitops.building import Document
from pymigrate.engine.application.gitops.definition import Definition, DefinitionsRead, Place
from pymigrate.engine.application.gitops.definition_cache import DefinitionCache, FileRead, digest_of
from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS, DefinitionKind
from pymigrate.engine.application.gitops.documents import Documents
from pymigrate.engine.application.gitops.limits import (
    BYTES_MAX,
    EVENTS_IN_ALL_MAX,
    FILES_MAX,
    PATH_CHARACTERS_MAX,
    PROBLEMS_MAX,
    PROBLEMS_OF_FILE_MAX,
)
from pymigrate.engine.application.gitops.readable import readable_problem
from pymigrate.engine.application.kinds import PHASES
from pymigrate.engine.domain.names import ID_RULE, is_id, nearest
from pymigrate.v1.definition_pb2 import DefinitionFile, DefinitionProblem
from pymigrate.v1.shape import ShapeError, from_data

API_VERSION = "pymigrate.io/v1alpha1"
ENVELOPE = ("apiVersion", "kind", "metadata", "spec")
METADATA = ("name", "environment", "labels")
OR_SCOPE = ", or one environment for all that name none (--environment, or the source's)"


def read_definitions(
    files: Sequence[DefinitionFile],
    environment: str = "",
    cache: DefinitionCache | None = None,
    digests: Mapping[str, str] = MappingProxyType({}),
    held: Mapping[str, FileRead] = MappingProxyType({}),
) -> DefinitionsRead:
    """What files declare, in their order. `environment` is the last segment of the one that documents which name none belong to; documents
    of others are then skipped.

    What is read is kept in the cache by `digests`, which may tell one of each path, such as Git's id of its blob. `held`: what the cache
    has told of paths, whose content is then not looked at. Messages are shared with later calls: they are never written to.
    """
    if problem := _too_much(files):
        return DefinitionsRead((), (problem,))
    read = _Read()
    for file in files:
        digest = digests.get(file.path) or (digest_of(file.content) if cache is not None else "")
        found = held.get(file.path)
        if found is None and cache is not None:
            found = cache.get(file.path, digest, environment)
        if found is None and read.events > EVENTS_IN_ALL_MAX:
            said = f"is not read: the files before it hold more than {EVENTS_IN_ALL_MAX:,} keys and values"
            found = FileRead((), (DefinitionProblem(file=file.path, description=said, rule="file"),), 0)
        elif found is None:
            found, events = _of_file(file, environment)
            read.events += events
            if cache is not None:
                cache.put(file, digest, environment, found)
        read.take(found)
    return read.result()


class _Read:
    """What files declare together."""

    def __init__(self) -> None:
        self.events = 0
        self._definitions: dict[str, Definition] = {}
        self._problems: list[DefinitionProblem] = []
        self._problem_count = 0
        self._skipped_count = 0

    def take(self, found: FileRead) -> None:
        self._skipped_count += found.skipped_count
        for problem in found.problems:
            self._tell(problem)
        for each in found.definitions:
            first = self._definitions.setdefault(each.name, each)
            if first is not each:
                said = f"{each.name} is declared at {first.file}:{first.line} already: leave one of the two out"
                self._tell(
                    DefinitionProblem(
                        file=each.file, line=each.line, name=each.name, description=said, rule="duplicate"
                    )
                )

    def result(self) -> DefinitionsRead:
        if (more := self._problem_count - len(self._problems)) > 0:
            self._problems.append(DefinitionProblem(description=f"and {more:,} more problems", rule="file"))
        return DefinitionsRead(
            tuple(self._definitions.values()),
            tuple(self._problems),
            self._skipped_count,
            frozenset(self._definitions),
        )

    def _tell(self, problem: DefinitionProblem) -> None:
        self._problem_count += 1
        if len(self._problems) < PROBLEMS_MAX:
            self._problems.append(readable_problem(problem))


def _too_much(files: Sequence[DefinitionFile]) -> DefinitionProblem | None:
    """Why files as a whole are not read."""
    if len(files) > FILES_MAX:
        said = f"{len(files):,} files; at most {FILES_MAX:,} are read at once"
        return DefinitionProblem(description=said, rule="file")
    if (size := sum(len(file.content) for file in files)) > BYTES_MAX:
        return DefinitionProblem(description=f"{size:,} bytes; at most {BYTES_MAX:,} are read at once", rule="file")
    seen: set[str] = set()
    for file in files:
        path = file.path
        if not path or len(path) > PATH_CHARACTERS_MAX or not path.isprintable():
            said = f"the path of a file must have 1 to {PATH_CHARACTERS_MAX:,} printable characters"
            return DefinitionProblem(file=repr(path[:100]), description=said, rule="file")
        if path in seen:
            return DefinitionProblem(file=path, description="is given twice", rule="file")
        seen.add(path)
    return None


def _of_file(file: DefinitionFile, environment: str) -> tuple[FileRead, int]:
    documents = Documents(file.path, file.content)
    problems = [
        DefinitionProblem(
            file=file.path, line=each.line, column=each.column, description=each.description, rule=each.rule
        )
        for each in documents.troubles
    ]
    definitions: list[Definition] = []
    skipped_count = 0
    for document in documents.documents:
        if len(problems) >= PROBLEMS_OF_FILE_MAX:
            said = "has more problems than are told at once: mend these first"
            problems.append(DefinitionProblem(file=file.path, description=said, rule="file"))
            break
        envelope = _Envelope(file.path, documents, document, environment)
        if envelope.is_of_another():
            skipped_count += 1
            continue
        if definition := envelope.definition():
            definitions.append(definition)
        problems += envelope.problems
    return FileRead(tuple(definitions), tuple(problems), skipped_count), documents.events


class _Enough(Exception):
    """So much is wrong with a document that the rest of it is not looked at."""


class _Envelope:
    """One document, with what is wrong with it."""

    def __init__(self, path: str, documents: Documents, document: Document, environment: str) -> None:
        self.problems: list[DefinitionProblem] = []
        self._path = path
        self._documents = documents
        self._document = document
        self._scope = environment
        data = document.data
        self._data: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
        metadata = self._data.get("metadata")
        self._metadata: Mapping[str, Any] = metadata if isinstance(metadata, Mapping) else {}
        word = self._data.get("kind")
        self._kind = DEFINITION_KINDS.get(word) if isinstance(word, str) else None
        self._name = ""

    def is_of_another(self) -> bool:
        """Whether it is a definition of another environment than the one that is asked for."""
        if not self._scope or self._kind is None or self._data.get("apiVersion") != API_VERSION:
            return False
        if self._kind.is_top and self._kind.word != "Environment":
            return True
        named = self._metadata.get("name" if self._kind.is_top else "environment")
        return isinstance(named, str) and named != self._scope

    def definition(self) -> Definition | None:
        """What it declares, where nothing is wrong with it."""
        try:
            return self._read()
        except _Enough:  # what was found until then is told
            return None

    def _read(self) -> Definition | None:
        if self._data.get("apiVersion") != API_VERSION:
            self._tell("envelope", "apiVersion", f"every document begins with `apiVersion: {API_VERSION}`")
            return None
        self._refuse_unknown(self._data, ENVELOPE, "")
        if self._kind is None:
            known = ", ".join(DEFINITION_KINDS)
            said = f"kind `{str(self._data.get('kind'))[:100]}` is not one of {known}"
            self._tell("envelope", "kind", said + _meant(self._data.get("kind")))
            return None
        self._name = self._resource_name(self._kind)
        message = self._message(self._kind)
        if self.problems:
            return None
        message.name = self._name
        find = partial(_find, self._documents, self._document.number)
        place = self._document.line
        return Definition(self._kind.kind, self._kind.word, self._name, message, self._path, place, find)

    def _resource_name(self, kind: DefinitionKind) -> str:
        given = self._data.get("metadata")
        if given is not None and not isinstance(given, Mapping):
            self._tell("envelope", "metadata", "must be a map")
            return ""
        if given is None:
            wanted = (
                "metadata.name" if kind.is_top or self._scope else f"metadata.name and metadata.environment{OR_SCOPE}"
            )
            self._tell("envelope", "metadata", f"a {kind.word} needs {wanted}")
            return ""
        self._refuse_unknown(given, METADATA, "metadata.")
        object_id = self._segment(kind, "name", None)
        if kind.is_top:
            if "environment" in given:
                self._tell("envelope", "metadata.environment", f"a {kind.word} lies in no environment: leave it out")
            return kind.name("", object_id) if object_id else ""
        environment = self._segment(kind, "environment", self._scope or None)
        return kind.name(environment, object_id) if object_id and environment else ""

    def _segment(self, kind: DefinitionKind, key: str, otherwise: str | None) -> str:
        value = self._metadata.get(key)
        value = otherwise if value is None else value
        path = f"metadata.{key}"
        if value is None:
            self._tell("envelope", path, f"a {kind.word} needs {path}{OR_SCOPE if key == 'environment' else ''}")
        elif not isinstance(value, str):
            self._tell("envelope", path, "must be text: quote it")
        elif not is_id(value):
            self._tell("envelope", path, f"`{value[:100]}` is no name: use {ID_RULE}")
        else:
            return value
        return ""

    def _message(self, kind: DefinitionKind) -> Any:
        message: Any = kind.kind.message()
        spec = self._data.get("spec")
        self._fill(message, {} if spec is None else spec, "spec")
        self._refuse_unset(message, kind.settable(), "spec")
        if kind.word == "Plan":
            for name, phase in message.phases.items():
                self._refuse_unset(phase, PHASES.settable(), f"spec.phases.{name}")
        if (labels := self._metadata.get("labels")) is not None:
            if "labels" not in message.DESCRIPTOR.fields_by_name:
                self._tell("envelope", "metadata.labels", f"a {kind.word} has no labels: leave them out")
            elif message.labels:
                self._tell("envelope", "metadata.labels", "stand in spec.labels too: leave one of the two out")
            else:
                self._fill(message, {"labels": labels}, "metadata")
        return message

    def _fill(self, message: Any, data: Any, path: str) -> None:
        try:
            from_data(data, message, path, tell=self._tell_shape)
        except ShapeError as error:
            self._tell_shape(error)

    def _refuse_unset(self, message: Any, settable: Collection[str], within: str) -> None:
        """Refuses what only the engine says."""
        for field, _ in message.ListFields():
            if field.name not in settable:
                said = "is told by the engine: leave it out"
                self._tell("shape", f"{within}.{field.camelcase_name}", said)

    def _tell_shape(self, error: ShapeError) -> None:
        self._tell("shape", error.path, error.description)

    def _refuse_unknown(self, data: Mapping[str, Any], known: Sequence[str], within: str) -> None:
        for key in data:
            if key not in known:
                self._tell("envelope", f"{within}{key}", f"there is no such field{nearest(str(key), known)}")

    def _tell(self, rule: str, path: str, description: str) -> None:
        place = self._documents.find(self._document.number, path)
        problem = DefinitionProblem(
            file=self._path,
            line=place.line or self._document.line,
            column=place.column or self._document.column,
            name=self._name,
            path=path,
            description=description,
            rule=rule,
        )
        self.problems.append(problem)
        if len(self.problems) >= PROBLEMS_OF_FILE_MAX:
            raise _Enough


def _find(documents: Documents, number: int, path: str) -> Place:
    """Where a field of the message stands, whether the envelope has it as metadata or within spec."""
    return documents.find(number, f"spec.{path}", f"metadata.{path}") if path else documents.find(number, "spec")


def _meant(word: Any) -> str:
    said = nearest(str(word), DEFINITION_KINDS)
    return said if said.startswith("; did you mean") else ""
