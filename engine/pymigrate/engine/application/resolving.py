"""What holds in an environment: each object as the last layer that declares it says, with what later layers say otherwise, and with the
values of parameters in their places. Order alone decides; where a value comes from is told for every one."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from pymigrate.engine.application.environment_layers import EnvironmentLayers
from pymigrate.engine.application.filling import PLACE, Filled, Unvalued, fill, leaves
from pymigrate.engine.application.inherited_kinds import INHERITED, collection_of
from pymigrate.engine.application.kind import OUTPUT_ONLY, Kind
from pymigrate.engine.application.overlaying import CannotOverride, Path, clear, join_path, put, split_path
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.interpolation import Malformed
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.parameters import Resolved, Value
from pymigrate.engine.ports.store import Resource
from pymigrate.v1 import environment_pb2

FIELDS_MAX = 1_000
OVERRIDES_MAX = 10_000


@dataclass(slots=True)
class Held:
    """An object as it holds in an environment. `layer` declares it; `said` are the paths that later layers speak of, the last word last,
    and `put_in` the parameters that are part of values. `is_complete`: no parameter lacked a value."""

    message: Any
    layer: str
    said: list[tuple[Path, str]] = field(default_factory=list)
    put_in: dict[Path, set[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    is_complete: bool = True


def text_of(resolved: Resolved) -> Callable[[str], str]:
    """What a parameter is written as. Raises Unvalued, and Malformed for one that is not declared."""
    return lambda name: value_of(resolved)(name).text


def value_of(resolved: Resolved) -> Callable[[str], Value]:
    """The value of a parameter. Raises as `text_of`."""

    def find(name: str) -> Value:
        if name in resolved.values:
            return resolved.values[name]
        if name in resolved.unvalued:
            raise Unvalued
        raise Malformed(f"there is no parameter `{name}`{nearest(name, resolved.names)}")

    return find


def fill_declared(kind: Kind[Any], message: Message, resolved: Resolved) -> Filled:
    """Puts parameters into an object that an environment declares itself."""
    return fill(message, text_of(resolved), OUTPUT_ONLY | kind.output_only)


class Resolving:
    """Resolves objects of one environment, given what every layer declares of them."""

    def __init__(
        self, layers: EnvironmentLayers, environment: str, declared: Mapping[str, Mapping[str, Resource]]
    ) -> None:
        self._layers = layers
        self._environment = environment
        self._order = layers.layers(environment)
        self._declared = declared
        self._resolved = layers.parameters(environment)
        self._value_of = value_of(self._resolved)

    def source(self, key: str) -> tuple[str, Resource, list[str]] | None:
        """The layer that declares an object, its declaration, and the later layers that say otherwise of it; None where nothing holds."""
        return self._source(key, self._order)

    def _source(self, key: str, order: tuple[str, ...]) -> tuple[str, Resource, list[str]] | None:
        found: tuple[str, Resource, list[str]] | None = None
        for layer in order:
            own = self._declared[layer].get(key)
            if found is not None and self._layers.is_excluded(layer, key):
                found = None
            if own is not None:
                found = layer, own, []
            if found is not None and self._says(layer, key):
                found[2].append(layer)
        return found

    def _says(self, layer: str, key: str) -> bool:
        """Whether a layer says otherwise of an object that it has, its own or not."""
        overrides = self._layers.environment(layer).overrides
        return key in overrides and not overrides[key].is_excluded

    def resolve(self, key: str) -> Held | None:
        """An object as it holds; None where nothing of that name does."""
        source = self.source(key)
        if source is None:
            return None
        layer, declared, speaking = source
        return self._hold(key, declared.body, layer, speaking)

    def own(self, key: str, body: bytes) -> Held:
        """An object as it would hold if the environment declared it so."""
        return self._hold(
            key, body, self._environment, [self._environment] if self._says(self._environment, key) else []
        )

    def _hold(self, key: str, body: bytes, layer: str, speaking: Sequence[str]) -> Held:
        kind = INHERITED[collection_of(key)]
        message = kind.message()
        message.ParseFromString(body)
        held = Held(message, layer)
        has_places = PLACE in body
        for each in speaking:
            has_places = self._override(kind, key, each, held) or has_places
        if has_places:
            found = fill_declared(kind, message, self._resolved)
            held.is_complete = held.is_complete and found.is_complete
            held.put_in = _joined(held.put_in, found.names)
            held.problems += [Problem(path, description) for path, description in found.problems]
        message.name = f"environments/{self._environment}/{key}"
        return held

    def _override(self, kind: Kind[Any], key: str, layer: str, held: Held) -> bool:
        """Applies what a layer says; whether there are parameters in it."""
        override = self._layers.environment(layer).overrides[key]
        settable, place = kind.settable(), f"overrides.{key}"
        used: dict[Path, set[str]] = {}

        def take(name: str, path: Path) -> Value:
            used.setdefault(path, set()).add(name)
            return self._value_of(name)

        for path in override.cleared_fields:
            used.clear()

            def drop(path: str) -> Path:
                return clear(held.message, path)

            self._attempt(f"{place}.cleared_fields", held, path, settable, drop, layer, used)
        for path, text in sorted(override.fields.items()):
            used.clear()

            def apply(path: str, text: str = text) -> Path:
                return put(held.message, path, text, take)

            self._attempt(f"{place}.fields.{path}", held, path, settable, apply, layer, used)
        return any("${" in text for text in override.fields.values())

    @staticmethod
    def _attempt(
        place: str,
        held: Held,
        path: str,
        settable: frozenset[str],
        apply: Callable[[str], Path],
        layer: str,
        used: Mapping[Path, set[str]],
    ) -> None:
        try:
            _require_settable(split_path(path)[0], held.message, settable)
            read = apply(path)
        except Unvalued:
            held.is_complete = False
        except (CannotOverride, Malformed) as error:
            said = str(error) if place.endswith(f".{path}") else f"`{path}`: {error}"
            held.problems.append(Problem(place, said))
        else:
            held.said.append((read, layer))
            kept = {each: names for each, names in held.put_in.items() if each[: len(read)] != read}
            held.put_in = kept | {each: set(names) for each, names in used.items()}

    def override_problems(self, keys: Collection[str] | None = None) -> Iterator[Problem]:
        """What the environment itself can't say otherwise, or with `keys` of these objects: of those that it does not have, and too much
        of others. What is wrong with the fields is found when they are resolved."""
        overrides = self._layers.environment(self._environment).overrides
        if len(overrides) > OVERRIDES_MAX:
            yield Problem("overrides", f"has at most {OVERRIDES_MAX:,} entries")
        for key, override in sorted(overrides.items()):
            if keys is None or key in keys:
                yield from self._key_problems(key, override)

    def _key_problems(self, key: str, override: environment_pb2.Override) -> Iterator[Problem]:
        place = f"overrides.{key}"
        if len(override.fields) + len(override.cleared_fields) > FIELDS_MAX:
            yield Problem(place, f"has at most {FIELDS_MAX:,} fields")
        if not collection_of(key):
            yield Problem(
                place,
                "is no name of an object within the environment, such as connections/legacy or plans/warehouse/phases/sales;"
                f" inherited are {', '.join(INHERITED)}",
            )
            return
        bases = self._order[:-1]
        is_own = self._declared[self._environment].get(key) is not None
        if is_own and override.is_excluded and self._source(key, bases) is None:
            yield Problem(
                place, "is declared by this environment itself, and no base has it: drop it there, or is_excluded"
            )
        elif not is_own and self._source(key, bases) is None:
            known = {name for layer in self._order for name in self._declared[layer]}
            yield Problem(place, f"neither this environment nor a base has it{nearest(key, known - {key})}")
        elif override.is_excluded and (override.fields or override.cleared_fields):
            yield Problem(place, "is left out, and so has no fields: drop them, or is_excluded")

    def origins(self, kind: Kind[Any], held: Held) -> Iterator[tuple[str, environment_pb2.ResolvedValue]]:
        """Every value of an object with its path, the layer that says so, and the parameters that are part of it."""
        skipped = OUTPUT_ONLY | kind.output_only | kind.held_elsewhere
        last: dict[Path, str] = {}
        for path, layer in held.said:
            last = {each: of for each, of in last.items() if each[: len(path)] != path} | {path: layer}
        lengths = sorted({len(path) for path in last}, reverse=True)
        for leaf in leaves(held.message, skipped):
            layer = next((last[leaf.path[:at]] for at in lengths if leaf.path[:at] in last), "")
            used = self._with_parts(held.put_in[leaf.path]) if leaf.path in held.put_in else ()
            value = environment_pb2.ResolvedValue(
                value=leaf.value, layer=layer or held.layer, parameters=used, is_override=bool(layer)
            )
            yield join_path(leaf.path), value

    def _with_parts(self, names: Collection[str]) -> list[str]:
        """Parameters with those that are part of their values, by name."""
        values = [self._resolved.values[name] for name in names if name in self._resolved.values]
        return sorted({*names, *(part for value in values for part in value.parameters)})


def _joined(one: Mapping[Path, set[str]], other: Mapping[Path, set[str]]) -> dict[Path, set[str]]:
    return {**one, **{path: names | one.get(path, set()) for path, names in other.items()}}


def _require_settable(segment: str, message: Any, settable: frozenset[str]) -> None:
    fields = {each.camelcase_name: each.name for each in message.DESCRIPTOR.fields}
    name = fields.get(segment, segment)
    if name in message.DESCRIPTOR.fields_by_name and name not in settable:
        raise CannotOverride(f"`{name}` is not set by a definition, and so not by an override")
