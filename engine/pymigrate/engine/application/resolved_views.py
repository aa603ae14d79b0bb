"""What holds in an environment as people are shown it: its layers, parameters, policy and objects, every value with where it comes from."""

from collections.abc import Callable, Iterator, Sequence

from pymigrate.engine.application.environment_layers import EnvironmentLayers
from pymigrate.engine.application.filling import leaves
from pymigrate.engine.application.inherited_kinds import INHERITED, collection_of
from pymigrate.engine.application.overlaying import join_path
from pymigrate.engine.application.pages import PAGE_MAX
from pymigrate.engine.application.policies import laid_policy
from pymigrate.engine.application.resolving import Resolving
from pymigrate.engine.domain.errors import InvalidDefinition, NotFound, Problem
from pymigrate.engine.domain.names import last_segment, matches, nearest
from pymigrate.engine.domain.parameters import Resolved
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import environment_pb2

PAGE_DEFAULT = 100
Layers = Callable[[Unit], EnvironmentLayers]


def resolved_view(
    unit: Unit, layers_of: Layers, request: environment_pb2.ResolveEnvironmentRequest
) -> environment_pb2.ResolveEnvironmentResponse:
    """The view that is asked for. Raises NotFound with the nearest name, and InvalidDefinition for what can't be asked."""
    environment = last_segment(request.name)
    _require_environment(unit, request.name)
    size = _size(request)
    layers = layers_of(unit)
    order = layers.layers(environment)
    parameters = layers.parameters(environment)
    declared = {layer: layers.declared(layer) for layer in order}
    resolving = Resolving(layers, environment, declared)
    known = sorted(layers.objects(environment))
    wanted = [key for key in known if not request.object or f"{key}/".startswith(f"{request.object}/")]
    if request.object and not wanted:
        raise NotFound(
            f"there is no {request.object} in {request.name}{nearest(request.object, known)}", field="object"
        )
    page = [key for key in wanted if key > request.page_token][: size + 1]
    answer = environment_pb2.ResolveEnvironmentResponse(layers=order)
    for name, value in _parameters(parameters):
        answer.parameters[name].CopyFrom(value)
    for path, value in policy_origins(layers, order):
        answer.policy[path].CopyFrom(value)
    for key in page[:size]:
        answer.objects.append(_object(resolving, f"{request.name}/{key}", key))
    answer.next_page_token = page[size - 1] if len(page) > size else ""
    return answer


def policy_origins(
    layers: EnvironmentLayers, order: Sequence[str]
) -> Iterator[tuple[str, environment_pb2.ResolvedValue]]:
    """The fields of a policy: of each, what the last layer says that sets it."""
    policy, origins = laid_policy({layer: layers.environment(layer).policy for layer in order})
    for leaf in leaves(policy):
        yield join_path(leaf.path), environment_pb2.ResolvedValue(value=leaf.value, layer=origins[leaf.path[0]])


def _object(resolving: Resolving, name: str, key: str) -> environment_pb2.ResolvedObject:
    held = resolving.resolve(key)
    if held is None:
        raise NotFound(f"there is no {name} any more", field="object")
    found = environment_pb2.ResolvedObject(name=name, layer=held.layer)
    for path, value in resolving.origins(INHERITED[collection_of(key)], held):
        found.fields[path].CopyFrom(value)
    return found


def _parameters(parameters: Resolved) -> Iterator[tuple[str, environment_pb2.ResolvedValue]]:
    for name in sorted(parameters.values):
        value = parameters.values[name]
        yield (
            name,
            environment_pb2.ResolvedValue(value=value.text, layer=value.layer, parameters=value.parameters),
        )


def _require_environment(unit: Unit, name: str) -> None:
    if matches(name, "environments") and unit.resources.get(name) is not None:
        return
    known = [last_segment(each) for each in unit.resources.names("environments", "")]
    raise NotFound(f"there is no {name}{nearest(last_segment(name), known)}", field="name")


def _size(request: environment_pb2.ResolveEnvironmentRequest) -> int:
    if request.page_size < 0:
        raise InvalidDefinition((Problem("page_size", "can't be negative"),))
    return min(request.page_size or PAGE_DEFAULT, PAGE_MAX)
