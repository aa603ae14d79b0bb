"""What a change of a layer means for the store: what inherits from it is written anew in the same transaction, whole and checked, or the
change is refused with every problem. What comes out as it was is not touched."""

from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import replace
from typing import Any

from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.environment_checks import Changed, object_problems
from pymigrate.engine.application.environment_layers import INHERITANCE, EnvironmentLayers
from pymigrate.engine.application.filling import PLACE
from pymigrate.engine.application.inherited_kinds import INHERITED, collection_of
from pymigrate.engine.application.inheriting_troubles import Found, delete_unused, require_backends
from pymigrate.engine.application.kind import Kind
from pymigrate.engine.application.kinds import ENVIRONMENTS
from pymigrate.engine.application.remembering import remembered
from pymigrate.engine.application.resolving import Held, Resolving, fill_declared
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.names import last_segment, parent_of
from pymigrate.engine.ports.store import AuditEntry, Resource, Unit

NAMES_TOLD_MAX = 20


class Inheriting:
    """Follows changes of environments and of objects in them."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings

    def layers(self, unit: Unit) -> EnvironmentLayers:
        """The layers as a unit of work sees them."""
        return EnvironmentLayers(unit, self._surroundings.patterns)

    def held(self, unit: Unit, kind: Kind[Any], environment: str, message: Any) -> Held:
        """An object that an environment declares, as it holds there: with what the environment says otherwise of it, and with the values of
        parameters; the same message where there is neither."""
        body = message.SerializeToString(deterministic=True)
        stored = unit.resources.get(environment) if environment else None
        has_places = PLACE in body
        key = message.name.removeprefix(f"{environment}/") if message.name else ""
        is_said = stored is not None and bool(collection_of(key)) and key.encode() in stored.body
        if stored is None or not (has_places or is_said):
            return Held(message, last_segment(environment))
        layers = remembered(unit, "layers", "environments", "", lambda: self.layers(unit))
        if is_said:
            return Resolving(layers, last_segment(environment), {}).own(key, body)
        filled = kind.message()
        filled.CopyFrom(message)
        found = fill_declared(kind, filled, layers.parameters(last_segment(environment)))
        problems = [Problem(path, description) for path, description in found.problems]
        return Held(filled, last_segment(environment), problems=problems, is_complete=found.is_complete)

    def follow_environment(self, unit: Unit, caller: Caller, environment: str) -> None:
        """An environment was written: it, and what inherits from it, become what the layers now say. Raises InvalidDefinition, and
        FailedPrecondition where something goes that is in use."""
        layers, name = self.layers(unit), last_segment(environment)
        found = Found()
        for each in (name, *layers.heirs(name)):
            self._renew(unit, layers, caller, each, None, Changed(), found)
        found.refuse(name)

    def follow_objects(self, unit: Unit, caller: Caller, names: Collection[str]) -> None:
        """Objects of one environment were written or deleted: likewise for what inherits from it. Raises as `follow_environment`."""
        environment = next(iter(names)).split("/")[1] if names else ""
        keys = frozenset(key for key in (name.split("/", 2)[-1] for name in names) if collection_of(key))
        if not keys or not self._has_layers(unit, environment):
            return
        layers = self.layers(unit)
        found = Found()
        own = (environment,) if _is_layered(layers, environment) else ()
        for each in (*own, *layers.heirs(environment)):
            self._renew(unit, layers, caller, each, keys, Changed(), found)
        found.refuse(environment)

    def follow_all(self, unit: Unit, caller: Caller, changed: Mapping[str, Changed], environments: Set[str]) -> Found:
        """Objects of many environments, and some environments themselves, were written unchecked: likewise, each environment once and after
        those that it inherits from, with the checks of what was written. What keeps it from being made is found, and not raised."""
        found, layers = Found(), self.layers(unit)
        reached = found.layers
        for name in filter(layers.has, {*changed, *environments}):
            for each in (name, *layers.heirs(name)):
                reached[each] = _layers_of(layers, each)
        for each in sorted(reached, key=lambda name: (len(reached[name]), name)):
            own = changed.get(each, Changed())
            above = [layer for layer in reached[each] if layer in changed or layer in environments]
            keys = (
                None if not environments.isdisjoint(above) else set().union(*(changed[layer].keys for layer in above))
            )
            if _is_layered(layers, each) or above != [each] or keys is None:
                self._renew(unit, layers, caller, each, keys, own, found)
            else:
                self._check(unit, layers, each, own, found)
        return found

    @staticmethod
    def _has_layers(unit: Unit, environment: str) -> bool:
        """Whether an environment inherits or is inherited from, or says otherwise of what it has, as far as a glance tells."""
        if len(unit.resources.names("environments", "")) > 1:
            return True
        stored = unit.resources.get(f"environments/{environment}")
        return stored is not None and bool(ENVIRONMENTS.read(stored).overrides)

    def drop(self, unit: Unit, environment: str) -> None:
        """An environment goes: what it inherits goes with it. Raises FailedPrecondition for what is in use."""
        layers, name, found = self.layers(unit), last_segment(environment), Found()
        objects = layers.objects(name)
        if any(each.managed_by != INHERITANCE for each in objects.values()):
            return  # it is refused for these
        for key in sorted(objects, reverse=True):
            delete_unused(unit, name, key, objects[key], found)
        found.refuse(name)

    def where_from(self, unit: Unit, resource: Resource) -> str:
        """The layer that declares an inherited object."""
        _, environment, key = resource.name.split("/", 2)
        layers = self.layers(unit)
        declared = {each: layers.declared(each, (key,)) for each in layers.layers(environment)}
        source = Resolving(layers, environment, declared).source(key)
        return source[0] if source is not None else ""

    def hidden_by(self, unit: Unit, name: str) -> str:
        """The layer that declares what the environment would have under a name, did it not declare that itself; empty: none, or it is left
        out."""
        _, environment, key = name.split("/", 2)
        layers = remembered(unit, "layers", "environments", "", lambda: self.layers(unit))
        if not layers.environment(environment).bases:
            return ""
        above = _layers_of(layers, environment)[:-1]
        declared = {layer: layers.declared(layer, (key,)) for layer in above}
        source = Resolving(layers, environment, {**declared, environment: {}}).source(key)
        return source[0] if source is not None else ""

    def _renew(
        self,
        unit: Unit,
        layers: EnvironmentLayers,
        caller: Caller,
        environment: str,
        keys: Collection[str] | None,
        own: Changed,
        found: Found,
    ) -> None:
        """Makes an environment's objects, or those of them that `keys` names, what the layers say. `own` was written there before, and is
        checked with them."""

        def tell(place: str, description: str) -> None:
            found.problems.append((environment, Problem(place, description)))

        try:
            order = layers.layers(environment)
            parameters = layers.parameters(environment)
        except InvalidDefinition as error:
            found.problems += [(environment, problem) for problem in error.problems]
            return
        found.problems += [(environment, problem) for problem in parameters.problems]
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
        if changed.keys:
            require_backends(unit, environment, changed, found)
            self._audit(unit, caller, environment, changed)
        self._check(
            unit, layers, environment, Changed(changed.written | own.written, changed.deleted | own.deleted), found
        )

    @staticmethod
    def _check(unit: Unit, layers: EnvironmentLayers, environment: str, changed: Changed, found: Found) -> None:
        if changed.keys:
            is_template = layers.environment(environment).is_template
            problems = object_problems(unit, f"environments/{environment}", changed, is_template=is_template)
            found.problems += [(environment, problem.at(f"{key}.{problem.field}")) for key, problem in problems]

    def _renew_one(
        self,
        unit: Unit,
        resolving: Resolving,
        environment: str,
        key: str,
        stored: Resource | None,
        changed: Changed,
        found: Found,
        tell: Callable[[str, str], None],
    ) -> None:
        held = resolving.resolve(key)
        is_own = stored is not None and stored.managed_by != INHERITANCE
        if held is None:
            if stored is not None and not is_own and delete_unused(unit, environment, key, stored, found):
                changed.deleted.add(key)
            return
        for problem in held.problems:
            is_said = problem.field.startswith(f"overrides.{key}.")
            tell(problem.field if is_said else f"{key}.{problem.field}", problem.description)
        if held.problems:
            return
        if (self._keep_own if is_own else self._keep)(unit, environment, key, stored, held):
            changed.written.add(key)

    def _keep_own(self, unit: Unit, environment: str, key: str, stored: Resource | None, held: Held) -> bool:
        """An object of the environment's own: what it is with overrides and the parameters' values. Whether that is another than before."""
        del environment
        assert stored is not None  # noqa: S101 (for the type checker: it is its own)
        resolved = resolved_body(stored.body, held.message)
        if resolved == stored.resolved:
            return False
        # Its version stays: nobody wrote it, and whoever read it may write it.
        changed = replace(stored, resolved=resolved)
        if _is_another(INHERITED[collection_of(key)].held(stored), held.message):
            changed = replace(
                changed, uid=self._surroundings.new_id()
            )  # a system of another kind is another connection
        unit.resources.update(changed, stored.version)
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


def _is_layered(layers: EnvironmentLayers, environment: str) -> bool:
    """Whether what an environment declares may not be what holds in it."""
    declared = layers.environment(environment)
    return bool(declared.bases or declared.overrides)


def _layers_of(layers: EnvironmentLayers, environment: str) -> tuple[str, ...]:
    """What an environment is made of; itself alone where its bases can't be, which is told when it is written."""
    try:
        return layers.layers(environment)
    except InvalidDefinition:
        return (environment,)


def _is_another(before: Any, after: Any) -> bool:
    if "system" not in after.DESCRIPTOR.oneofs_by_name:
        return False
    return bool(before.WhichOneof("system") != after.WhichOneof("system"))
