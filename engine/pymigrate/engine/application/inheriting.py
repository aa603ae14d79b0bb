"""What a change of a layer means for the store: what inherits from it is written anew in the same transaction, whole and checked, or the
change is refused with every problem. What comes out as it was is not touched."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.environment_checks import Changed, object_problems
from pymigrate.engine.application.environment_layers import INHERITANCE, EnvironmentLayers
from pymigrate.engine.application.filling import PLACE, Filled
from pymigrate.engine.application.inherited_kinds import INHERITED, collection_of
from pymigrate.engine.application.inherited_runs import require_unused
from pymigrate.engine.application.kind import Kind
from pymigrate.engine.application.resolving import Held, Resolving, fill_declared
from pymigrate.engine.application.secret_backend_kinds import SECRET_BACKENDS
from pymigrate.engine.domain.errors import FailedPrecondition, InvalidDefinition, Problem
from pymigrate.engine.domain.names import last_segment, parent_of
from pymigrate.engine.ports.store import AuditEntry, Resource, Unit

PROBLEMS_MAX = 200
NAMES_TOLD_MAX = 20
LAYERED_FIELDS = ("bases", "is_template", "parameters", "values", "overrides")
"""The fields of an environment that its layers are made of."""


@dataclass(slots=True)
class _Found:
    """What keeps a change from being made."""

    problems: list[Problem] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def refuse(self) -> None:
        """Raises FailedPrecondition or InvalidDefinition, with everything that was found."""
        if self.refusals:
            raise FailedPrecondition("; ".join(self.refusals[:PROBLEMS_MAX]))
        if self.problems:
            raise InvalidDefinition(tuple(dict.fromkeys(self.problems))[:PROBLEMS_MAX])


class Inheriting:
    """Follows changes of environments and of objects in them."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings

    def layers(self, unit: Unit) -> EnvironmentLayers:
        """The layers as a unit of work sees them."""
        return EnvironmentLayers(unit, self._surroundings.patterns)

    def held(self, unit: Unit, kind: Kind[Any], environment: str, message: Any) -> tuple[Any, Filled]:
        """An object that an environment declares, as it holds there: the same message where there are no parameters in it."""
        if environment and PLACE in message.SerializeToString(deterministic=True):
            filled = kind.message()
            filled.CopyFrom(message)
            return filled, fill_declared(kind, filled, self.layers(unit).parameters(last_segment(environment)))
        return message, Filled()

    def follow_environment(self, unit: Unit, caller: Caller, environment: str) -> None:
        """An environment was written: it, and what inherits from it, become what the layers now say. Raises InvalidDefinition, and
        FailedPrecondition where something goes that is in use."""
        layers, name = self.layers(unit), last_segment(environment)
        found = _Found()
        for each in (name, *layers.heirs(name)):
            self._renew(unit, layers, caller, each, None, found, name)
        found.refuse()

    def follow_objects(self, unit: Unit, caller: Caller, names: Collection[str]) -> None:
        """Objects of one environment were written or deleted: likewise for what inherits from it. Raises as `follow_environment`."""
        environment = next(iter(names)).split("/")[1] if names else ""
        keys = frozenset(key for key in (name.split("/", 2)[-1] for name in names) if collection_of(key))
        if not keys or len(unit.resources.names("environments", "")) < 2:
            return
        layers = self.layers(unit)
        found = _Found()
        own = (environment,) if layers.environment(environment).bases else ()
        for each in (*own, *layers.heirs(environment)):
            self._renew(unit, layers, caller, each, keys, found, environment)
        found.refuse()

    def drop(self, unit: Unit, environment: str) -> None:
        """An environment goes: what it inherits goes with it. Raises FailedPrecondition for what is in use."""
        layers, name, found = self.layers(unit), last_segment(environment), _Found()
        objects = layers.objects(name)
        if any(each.managed_by != INHERITANCE for each in objects.values()):
            return  # it is refused for these
        for key in sorted(objects, reverse=True):
            self._delete(unit, name, key, objects[key], found)
        found.refuse()

    def where_from(self, unit: Unit, resource: Resource) -> str:
        """The layer that declares an inherited object."""
        _, environment, key = resource.name.split("/", 2)
        layers = self.layers(unit)
        declared = {each: layers.declared(each, (key,)) for each in layers.layers(environment)}
        source = Resolving(layers, environment, declared).source(key)
        return source[0] if source is not None else ""

    def _renew(
        self,
        unit: Unit,
        layers: EnvironmentLayers,
        caller: Caller,
        environment: str,
        keys: Collection[str] | None,
        found: _Found,
        cause: str,
    ) -> None:
        """Makes an environment's objects, or those of them that `keys` names, what the layers say."""

        def tell(place: str, description: str) -> None:
            if environment != cause:
                place = f"environments/{environment}: {place}"
            elif place.partition(".")[0] in LAYERED_FIELDS:
                place = f"environment.{place}"
            found.problems.append(Problem(place, description))

        try:
            order = layers.layers(environment)
            parameters = layers.parameters(environment)
        except InvalidDefinition as error:
            for problem in error.problems:
                tell(problem.field, problem.description)
            return
        for problem in parameters.problems:
            tell(problem.field, problem.description)
        declared = {layer: layers.declared(layer, keys) for layer in order}
        resolving = Resolving(layers, environment, declared)
        for problem in resolving.override_problems(keys):
            tell(problem.field, problem.description)
        if parameters.problems:
            return
        stored = layers.objects(environment, keys)
        changed = Changed()
        for key in sorted(set(stored).union(*declared.values()) if keys is None else keys):
            self._renew_one(unit, resolving, environment, key, stored.get(key), changed, found, tell)
        if not changed.keys:
            return
        self._require_backends(unit, environment, changed, found)
        self._audit(unit, caller, environment, changed)
        is_template = layers.environment(environment).is_template
        for key, problem in object_problems(unit, f"environments/{environment}", changed, is_template=is_template):
            tell(f"{key}.{problem.field}", problem.description)

    def _renew_one(
        self,
        unit: Unit,
        resolving: Resolving,
        environment: str,
        key: str,
        stored: Resource | None,
        changed: Changed,
        found: _Found,
        tell: Callable[[str, str], None],
    ) -> None:
        held = resolving.resolve(key)
        is_own = stored is not None and stored.managed_by != INHERITANCE
        if held is None:
            if stored is not None and not is_own and self._delete(unit, environment, key, stored, found):
                changed.deleted.add(key)
            return
        for problem in held.problems:
            is_said = problem.field.startswith("overrides.")
            tell(problem.field if is_said else f"{key}.{problem.field}", problem.description)
        if held.problems:
            return
        if (self._keep_own if is_own else self._keep)(unit, environment, key, stored, held):
            changed.written.add(key)

    @staticmethod
    def _keep_own(unit: Unit, environment: str, key: str, stored: Resource | None, held: Held) -> bool:
        """An object of the environment's own: what it is with the parameters' values. Whether that is another than before."""
        del environment, key
        assert stored is not None  # noqa: S101 (for the type checker: it is its own)
        resolved = resolved_body(stored.body, held.message)
        if resolved == stored.resolved:
            return False
        # Its version stays: nobody wrote it, and whoever read it may write it.
        unit.resources.update(replace(stored, resolved=resolved), stored.version)
        return True

    def _keep(self, unit: Unit, environment: str, key: str, stored: Resource | None, held: Held) -> bool:
        """An object that the environment inherits. Whether it is another than before."""
        kind, now = INHERITED[collection_of(key)], self._surroundings.clock.now()
        before = kind.held(stored) if stored is not None else None
        kind.stamp(before, held.message)
        body = held.message.SerializeToString(deterministic=True)
        if stored is not None and stored.body == body:
            return False
        if stored is not None and not _is_another(before, held.message):
            unit.resources.update(
                replace(stored, version=stored.version + 1, body=body, update_time=now), stored.version
            )
            return True
        if stored is not None:  # a system of another kind is another connection
            unit.resources.delete(stored.name, stored.version)
        name = f"environments/{environment}/{key}"
        uid = self._surroundings.new_id()
        unit.resources.insert(Resource(name, kind.collection, parent_of(name), uid, 1, body, now, now, INHERITANCE))
        return True

    @staticmethod
    def _require_backends(unit: Unit, environment: str, changed: Changed, found: _Found) -> None:
        """A secret backend that goes must be needed by none of what is left, whose own checks would not miss it."""
        for key in sorted(changed.deleted):
            if collection_of(key) == SECRET_BACKENDS.collection:
                try:
                    gone = SECRET_BACKENDS.message()
                    gone.name = f"environments/{environment}/{key}"
                    SECRET_BACKENDS.check_delete(unit, gone)
                except FailedPrecondition as error:
                    found.refusals.append(error.message)

    @staticmethod
    def _delete(unit: Unit, environment: str, key: str, stored: Resource, found: _Found) -> bool:
        try:
            require_unused(unit, environment, key)
            for collection in ("phases",) if collection_of(key) == "plans" else ():
                own = [
                    each
                    for each in unit.resources.list(collection, stored.name, "", PROBLEMS_MAX)
                    if each.managed_by != INHERITANCE
                ]
                if own:
                    raise FailedPrecondition(
                        f"{stored.name} holds {own[0].name}, which no base declares: delete it first"
                    )
        except FailedPrecondition as error:
            found.refusals.append(error.message)
            return False
        unit.resources.delete(stored.name, stored.version)
        return True

    def _audit(self, unit: Unit, caller: Caller, environment: str, changed: Changed) -> None:
        """One entry for each environment, however much of it changed."""
        names = sorted(changed.keys)
        told = ", ".join(names[:NAMES_TOLD_MAX])
        more = f" and {len(names) - NAMES_TOLD_MAX:,} others" if len(names) > NAMES_TOLD_MAX else ""
        name = f"environments/{environment}"
        resource = unit.resources.get(name)
        unit.audit.append(
            AuditEntry(
                self._surroundings.clock.now(),
                caller.principal,
                "inherit",
                name,
                resource.version if resource is not None else 0,
                told + more,
            )
        )


def resolved_body(body: bytes, message: Any) -> bytes:
    """What is kept beside a declaration: nothing where parameters make no difference."""
    resolved: bytes = message.SerializeToString(deterministic=True)
    return b"" if resolved == body else resolved


def _is_another(before: Any, after: Any) -> bool:
    if "system" not in after.DESCRIPTOR.oneofs_by_name:
        return False
    return bool(before.WhichOneof("system") != after.WhichOneof("system"))
