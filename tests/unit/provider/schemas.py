"""The provider as Terraform meets it without an engine: its schemas, and what it says of a configuration or a change."""

from functools import cache
from typing import Any

from tf.gen import tfplugin_pb2 as pb
from tf.utils import to_dynamic_value

from pymigrate.provider.provider import PymigrateProvider
from pymigrate.provider.sdk.resource import State
from pymigrate.provider.sdk.schema import elements, rebuilt
from pymigrate.provider.sdk.servicer import Servicer
from pymigrate.provider.sdk.states import complete, read_state
from pymigrate.provider.sdk.values import Unknown


@cache
def served() -> Any:
    """Every schema on the wire."""
    return Servicer(PymigrateProvider()).GetProviderSchema(None, None)


def resource(type_name: str) -> Any:
    """The class of a resource, by its type's name."""
    return next(each for each in PymigrateProvider().get_resources() if f"pymigrate_{each.get_name()}" == type_name)


def full(type_name: str, **values: Any) -> State:
    """A whole configuration, null where nothing is said."""
    return complete(resource(type_name).attributes(), values)


def refused(type_name: str, **values: Any) -> list[str]:
    """What the provider says is wrong with a configuration: where Terraform points, and the text."""
    config = to_dynamic_value(full(type_name, **values))
    request = pb.ValidateResourceConfig.Request(type_name=type_name, config=config)
    answer = Servicer(PymigrateProvider()).ValidateResourceConfig(request, None)
    return [f"{_place(found.attribute)}: {found.detail}" for found in answer.diagnostics]


def planned(type_name: str, prior: State | None, **values: Any) -> tuple[State, list[str]]:
    """What an apply would bring, and what of it needs another object."""
    attributes, config = resource(type_name).attributes(), full(type_name, **values)
    proposed = proposal(attributes, prior, config)
    request = pb.PlanResourceChange.Request(
        type_name=type_name,
        prior_state=to_dynamic_value(prior),
        proposed_new_state=to_dynamic_value(proposed),
        config=to_dynamic_value(config),
    )
    answer = Servicer(PymigrateProvider()).PlanResourceChange(request, None)
    assert not answer.diagnostics, answer.diagnostics
    state = read_state(attributes, answer.planned_state)
    assert state is not None
    return state, [_place(path) for path in answer.requires_replace]


def proposal(attributes: Any, prior: State | None, config: State) -> State:
    """What Terraform proposes: what is written, and for what may be computed and is not, what was there before."""
    proposed = dict(config)
    for name, attribute in attributes.items():
        given, before = config[name], None if prior is None else prior.get(name)
        if given is None and attribute.to_pb().computed:
            proposed[name] = Unknown if prior is None else before
        elif isinstance(given, dict | list):
            earlier = dict(elements(attribute, before))
            parts = {
                key: proposal(attribute.nested, earlier.get(key), item) for key, item in elements(attribute, given)
            }
            proposed[name] = rebuilt(attribute, given, parts)
    return proposed


def _place(path: Any) -> str:
    steps = [step.attribute_name or step.element_key_string or str(step.element_key_int) for step in path.steps]
    return ".".join(steps)
