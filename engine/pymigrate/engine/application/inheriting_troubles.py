"""Whether a change matters to what inherits, and what keeps it from being made there: problems, and objects that would go while in use."""

from dataclasses import dataclass, field

from google.protobuf.message import Message

from pymigrate.engine.application.environment_checks import Changed
from pymigrate.engine.application.environment_layers import INHERITANCE
from pymigrate.engine.application.inherited_kinds import collection_of
from pymigrate.engine.application.inherited_runs import require_unused
from pymigrate.engine.application.secret_backend_kinds import SECRET_BACKENDS
from pymigrate.engine.domain.errors import FailedPrecondition, InvalidDefinition, Problem
from pymigrate.engine.ports.store import Resource, Unit

PROBLEMS_MAX = 200
LAYERED_FIELDS = ("bases", "is_template", "parameters", "values", "overrides")
"""The fields of an environment that its layers are made of."""


@dataclass(slots=True)
class Found:
    """What keeps a change from being made. Problems are told with the environment that has them, fields of objects as `key.field`; refusals
    with it and the object's name within it. `layers` are those of the environments that were looked at."""

    problems: list[tuple[str, Problem]] = field(default_factory=list)
    refusals: list[tuple[str, str, str]] = field(default_factory=list)
    layers: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def refuse(self, cause: str) -> None:
        """Raises FailedPrecondition or InvalidDefinition, with everything found; `cause` is the environment that was written to."""
        if self.refusals:
            raise FailedPrecondition("; ".join(message for _, _, message in self.refusals[:PROBLEMS_MAX]))
        told = [
            Problem(_place(environment, each.field, cause), each.description) for environment, each in self.problems
        ]
        if told:
            raise InvalidDefinition(tuple(dict.fromkeys(told))[:PROBLEMS_MAX])


def delete_unused(unit: Unit, environment: str, key: str, stored: Resource, found: Found) -> bool:
    """Deletes an object that the environment inherits no longer. False: something needs it, which is noted."""
    try:
        require_unused(unit, environment, key)
        for collection in ("phases",) if collection_of(key) == "plans" else ():
            own = [
                each
                for each in unit.resources.list(collection, stored.name, "", PROBLEMS_MAX)
                if each.managed_by != INHERITANCE
            ]
            if own:
                raise FailedPrecondition(f"{stored.name} holds {own[0].name}, which no base declares: delete it first")
    except FailedPrecondition as error:
        found.refusals.append((environment, key, error.message))
        return False
    unit.resources.delete(stored.name, stored.version)
    return True


def require_backends(unit: Unit, environment: str, changed: Changed, found: Found) -> None:
    """A secret backend that goes must be needed by none of what is left, whose own checks would not miss it."""
    for key in sorted(changed.deleted):
        if collection_of(key) == SECRET_BACKENDS.collection:
            try:
                gone = SECRET_BACKENDS.message()
                gone.name = f"environments/{environment}/{key}"
                SECRET_BACKENDS.check_delete(unit, gone)
            except FailedPrecondition as error:
                found.refusals.append((environment, key, error.message))


def is_layered(before: Message, after: Message) -> bool:
    """Whether a change matters to what inherits: of environments, what their layers are made of does."""
    if before.DESCRIPTOR.name != "Environment":
        return True
    return any(getattr(before, field) != getattr(after, field) for field in LAYERED_FIELDS)


def _place(environment: str, place: str, cause: str) -> str:
    if environment != cause:
        return f"environments/{environment}: {place}"
    return f"environment.{place}" if place.partition(".")[0] in LAYERED_FIELDS else place
