"""The layers of environments as a unit of work sees them: what each is made of, its parameters, and what every layer declares."""

from collections.abc import Collection, Iterator, Mapping

from pymigrate.engine.application.inherited_kinds import INHERITED
from pymigrate.engine.application.kinds import ENVIRONMENTS, children
from pymigrate.engine.domain import layering, parameters
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.parameters import Layer, Parameter, Resolved, Type
from pymigrate.engine.ports.patterns import Patterns
from pymigrate.engine.ports.store import Resource, Unit
from pymigrate.v1 import environment_pb2
from pymigrate.v1.shape import enum_word

INHERITANCE = "inheritance"
"""Who manages the objects of an environment that it has from its bases."""


class EnvironmentLayers:
    """What was read of environments, each once, for as long as a unit of work goes on. Environments go by their last segments, objects by
    their names within them."""

    def __init__(self, unit: Unit, patterns: Patterns) -> None:
        self._unit = unit
        self._patterns = patterns
        self._environments = {
            last_segment(found.name): ENVIRONMENTS.read(found) for found in children(unit, "environments", "")
        }
        self._bases = {name: tuple(each.bases) for name, each in self._environments.items()}
        self._layers: dict[str, tuple[str, ...]] = {}
        self._parameters: dict[str, Resolved] = {}
        self._declared: dict[str, dict[str, Resource]] = {}

    def environment(self, name: str) -> environment_pb2.Environment:
        """One environment as it is declared."""
        return self._environments[name]

    def has(self, name: str) -> bool:
        """Whether there is an environment of that name."""
        return name in self._environments

    def layers(self, name: str) -> tuple[str, ...]:
        """What it is made of, itself last. Raises InvalidDefinition for bases that can't be."""
        if name not in self._layers:
            self._layers[name] = layering.layers_of(name, self._bases)
        return self._layers[name]

    def heirs(self, name: str) -> tuple[str, ...]:
        """The environments that inherit from it, each after those that it inherits from itself."""
        if not any(name in bases for bases in self._bases.values()):
            return ()
        return layering.heirs_of(name, self._bases)

    def parameters(self, name: str) -> Resolved:
        """Its parameters. Raises InvalidDefinition for bases that can't be."""
        if name not in self._parameters:
            layers = [_layer_of(each, self._environments[each]) for each in self.layers(name)]
            is_template = self._environments[name].is_template
            self._parameters[name] = parameters.resolve(layers, self._patterns.matches, is_template=is_template)
        return self._parameters[name]

    def objects(self, name: str, keys: Collection[str] | None = None) -> Mapping[str, Resource]:
        """The objects of an environment that can be inherited, or with `keys` those of them: its own, and what it has from its bases."""
        if keys is None:
            found = self._unit.resources.within(f"environments/{name}")
        else:
            found = self._unit.resources.get_all([f"environments/{name}/{key}" for key in keys])
        return {_key(each): each for each in found if each.kind in INHERITED}

    def declared(self, name: str, keys: Collection[str] | None = None) -> Mapping[str, Resource]:
        """Those that it declares itself."""
        if name in self._declared:
            return self._declared[name]
        own = {key: each for key, each in self.objects(name, keys).items() if each.managed_by != INHERITANCE}
        if keys is None:
            self._declared[name] = own
        return own

    def is_excluded(self, name: str, key: str) -> bool:
        """Whether a layer leaves an object out that it would inherit, by itself or with what it lies below."""
        overrides = self._environments[name].overrides
        return any(above in overrides and overrides[above].is_excluded for above in _lines(key))


def _lines(key: str) -> Iterator[str]:
    """The object and what it lies below: `plans/a/phases/b` and `plans/a`."""
    yield key
    parts = key.split("/")
    if len(parts) > 2:
        yield "/".join(parts[:2])


def _key(resource: Resource) -> str:
    return resource.name.split("/", 2)[2]


def _layer_of(name: str, environment: environment_pb2.Environment) -> Layer:
    declared = {key: _parameter_of(each) for key, each in environment.parameters.items()}
    return Layer(name, declared, dict(environment.values))


def _parameter_of(declared: environment_pb2.Parameter) -> Parameter:
    word = enum_word(environment_pb2.ParameterType.DESCRIPTOR, declared.type) or Type.STRING
    return Parameter(
        type=Type(word),
        default=declared.default_value if declared.HasField("default_value") else None,
        allowed=tuple(declared.allowed_values),
        pattern=declared.pattern,
        minimum=declared.minimum if declared.HasField("minimum") else None,
        maximum=declared.maximum if declared.HasField("maximum") else None,
        length_min=declared.length_min,
        length_max=declared.length_max,
        description=declared.description,
    )
