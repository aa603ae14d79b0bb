"""Why definitions can't be applied: what the catalogue refuses, brought back to the file, line and column that say it."""

from collections.abc import Mapping, Sequence

from pymigrate.engine.application.gitops.definition import Definition
from pymigrate.engine.application.gitops.readable import readable_problem
from pymigrate.engine.application.inheriting_troubles import Found
from pymigrate.engine.application.literal_secrets import without_literals
from pymigrate.engine.domain.errors import InvalidDefinition, NotFound, PermanentError, Problem
from pymigrate.v1 import definition_pb2

INVALID = "invalid"
REFUSED = "refused"
SECRET = "secret"  # noqa: S105 (the word of a rule)


class ProblemsTold:
    """Problems of definitions, each told once, in the order in which they were found."""

    def __init__(self, definitions: Sequence[Definition], known: Sequence[definition_pb2.DefinitionProblem]) -> None:
        self._definitions: Mapping[str, Definition] = {each.name: each for each in definitions}
        self._found: dict[bytes, definition_pb2.DefinitionProblem] = {}
        self._names: set[str] = set()
        self._said: set[tuple[str, str, str]] = set()
        for each in known:
            self._keep(each)

    @property
    def all(self) -> list[definition_pb2.DefinitionProblem]:
        """All of them."""
        return list(self._found.values())

    def has(self, name: str) -> bool:
        """Whether anything was found of an object."""
        return name in self._names

    def is_invalid(self, name: str) -> bool:
        """Whether an object can't be what its file says, whoever declares it."""
        return any(each.name == name and each.rule != REFUSED for each in self._found.values())

    def raised(self, definition: Definition, error: PermanentError, phase: str = "") -> None:
        """What a write of an object raised, or with `phase` of a phase in it."""
        within = f"phases.{phase}." if phase else ""
        if not isinstance(error, InvalidDefinition):
            is_missing = isinstance(error, NotFound)  # what it is to lie in
            self._tell(definition, Problem(within.rstrip("."), error.message, is_missing=is_missing), REFUSED)
            return
        message = definition.message.phases[phase] if phase else definition.message
        noun = "phase" if phase else definition.kind.noun
        secrets = {problem.field for problem in without_literals(message, ())}
        for problem in error.problems:
            if problem.field.startswith("environments/"):  # what its environment says otherwise of it
                self._elsewhere(problem, definition.name)
                continue
            path = problem.field.removeprefix(f"{noun}.")
            self._tell(definition, problem.at(within + path), SECRET if path in secrets else INVALID)

    def refused(self, definition: Definition, message: str, path: str = "") -> None:
        """Something that is not to be done."""
        self._tell(definition, Problem(path, message), REFUSED)

    def of_all(self, message: str) -> None:
        """Something that is not to be done of the files as a whole, which none of them says."""
        self._keep(_problem("", 0, 0, "", Problem("", message), REFUSED))

    def invalid(self, definition: Definition, problem: Problem) -> None:
        """A problem of a field of an object."""
        self._tell(definition, problem, INVALID)

    def found(self, found: Found) -> None:
        """What was found of environments as wholes."""
        for environment, problem in found.problems:
            layers = found.layers.get(environment, ())
            self._of_environment(environment, layers, problem, INVALID)
        for environment, key, message in found.refusals:
            self._of_environment(environment, found.layers.get(environment, ()), Problem(key, message), REFUSED)

    def _elsewhere(self, problem: Problem, name: str) -> None:
        environment, _, place = problem.field.removeprefix("environments/").partition(": ")
        definition = self._definitions.get(f"environments/{environment}")
        if definition is not None:
            self._tell(definition, problem.at(place), INVALID)
        else:
            said = Problem("", f"{problem.field}: {problem.description}", is_missing=problem.is_missing)
            self._keep(_problem("", 0, 0, name, said, INVALID))

    def _of_environment(self, environment: str, layers: Sequence[str], problem: Problem, rule: str) -> None:
        """A problem of an environment's field, or of an object in it: `key.path`."""
        description = problem.description
        key, _, path = problem.field.partition(".")
        name = f"environments/{environment}"
        if "/" not in key:
            if (own := self._definitions.get(name)) is not None:
                self._tell(own, problem, rule)
            else:
                self._keep(_problem("", 0, 0, name, problem, rule))
            return
        if "/phases/" in key:
            key, _, phase = key.partition("/phases/")
            path = f"phases.{phase}.{path}".rstrip(".")
        declared = self._definitions.get(f"{name}/{key}")
        if declared is not None:
            self._tell(declared, problem.at(path), rule)
            return
        # It is inherited, or nothing that the files declare: then what they say of others does not fit it.
        others = (self._definitions.get(f"environments/{layer}/{key}") for layer in reversed(layers))
        above = next((each for each in others if each is not None), None)
        if above is not None and (above.name, _in_document(path), description) in self._said:
            return  # the base itself has it, and is told
        described = f"{name}: {key}{'.' if path else ''}{path}: {description}"
        cause = above or self._definitions.get(name)
        if cause is not None:
            told = Problem(path if above else "", described, is_missing=problem.is_missing)
            self._tell(cause, told, rule)
        else:
            self._keep(_problem("", 0, 0, f"{name}/{key}", problem.at(path), rule))

    def _tell(self, definition: Definition, problem: Problem, rule: str) -> None:
        place = definition.find(problem.field) if problem.field else None
        line, column = (place.line, place.column) if place is not None else (definition.line, 0)
        said = problem.at(_in_document(problem.field))
        self._keep(_problem(definition.file, line, column, definition.name, said, rule))

    def _keep(self, problem: definition_pb2.DefinitionProblem) -> None:
        self._names.add(problem.name)
        self._said.add((problem.name, problem.path, problem.description))
        self._found.setdefault(problem.SerializeToString(deterministic=True), readable_problem(problem))


def _in_document(path: str) -> str:
    """The path within the document of a field of the message."""
    if not path:
        return ""
    return f"metadata.{path}" if path.partition(".")[0] == "labels" else f"spec.{path}"


def _problem(
    file: str, line: int, column: int, name: str, problem: Problem, rule: str
) -> definition_pb2.DefinitionProblem:
    return definition_pb2.DefinitionProblem(
        file=file,
        line=line,
        column=column,
        name=name,
        path=problem.field,
        description=problem.description,
        rule=rule,
        is_missing=problem.is_missing,
    )
