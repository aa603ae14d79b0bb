"""Whatever a configuration of the right types holds, the provider says what is wrong with it, or plans and creates it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tf.gen import tfplugin_pb2 as pb
from tf.types import Bool, List, Map, Number
from tf.utils import to_dynamic_value

from pymigrate.provider.provider import PymigrateProvider
from pymigrate.provider.sdk.schema import Attribute, Nesting
from pymigrate.provider.sdk.servicer import Servicer
from pymigrate.provider.sdk.values import Unknown, has_unknown
from tests.unit.provider.answering_engine import AnsweringEngine, answering
from tests.unit.provider.impact_engine import configured, refuse
from tests.unit.provider.schemas import proposal

RESOURCES = {each.get_name(): each for each in PymigrateProvider().get_resources()}
DEFECT = "The provider failed"
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "a", "environments/prod", "22:00", "env://A", "2026-01-31T12:00:00Z", "mon", "\r\n", "\ud7ff", "{{ x }}"]
    ),
)
# What MessagePack does not hold, or a float not exactly, Terraform sends as text.
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63),
    st.integers(2**64, 2**70).map(str),
    st.sampled_from([0, 1, 0.1, 1e308, -1e308, 2**31, "1e400", "-1e400", "1e5000", "0.1000000000000000000001"]),
)


def values(attribute: Attribute) -> st.SearchStrategy[Any]:
    """Values of an attribute's type as Terraform may send them; null and unknown too."""
    if attribute.computed and not attribute.optional:
        return st.none()
    if attribute.nested:
        inner = st.deferred(lambda: objects(attribute.nested))
        known = {
            Nesting.SINGLE: inner,
            Nesting.MAP: st.dictionaries(TEXTS, inner, max_size=2),
            Nesting.LIST: st.lists(inner, max_size=2),
        }[attribute.nesting]
    else:
        known = plain(attribute.type)
    required = [known, st.just(Unknown)]
    return st.one_of(required if attribute.required else [st.none(), *required])


def plain(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a plain type."""
    match kind:
        case Bool():
            return st.booleans()
        case Number():
            return NUMBERS
        case List():
            return st.lists(st.one_of(st.none(), st.just(Unknown), plain(kind.element_type)), max_size=2)
        case Map():
            return st.dictionaries(TEXTS, st.one_of(st.none(), st.just(Unknown), plain(kind.element_type)), max_size=2)
        case _:
            return TEXTS


def objects(attributes: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with a few of the attributes set, and the others null; what is required always is."""
    required = {name: values(each) for name, each in attributes.items() if each.required}
    others = sorted(attributes.keys() - required.keys())
    some = st.lists(st.sampled_from(others), max_size=4, unique=True) if others else st.just([])
    chosen = some.flatmap(lambda names: st.fixed_dictionaries(required | {n: values(attributes[n]) for n in names}))
    return chosen.map(lambda given: dict.fromkeys(attributes) | given)


@pytest.fixture(scope="module")
def engine() -> Iterator[AnsweringEngine]:
    """An engine that refuses every creation, and has nothing."""
    with tempfile.TemporaryDirectory() as folder, answering(Path(folder) / "engine") as engine:
        for resource in RESOURCES.values():
            title = "".join(part.capitalize() for part in resource.get_name().split("_"))
            engine.answers[f"Create{title}"] = refuse(grpc.StatusCode.INVALID_ARGUMENT, "no")
        engine.answers["StartRun"] = refuse(grpc.StatusCode.INVALID_ARGUMENT, "no")
        engine.answers["GetRun"] = refuse(grpc.StatusCode.NOT_FOUND, "no")
        yield engine


@pytest.fixture(scope="module")
def servicer(engine: AnsweringEngine) -> Servicer:
    """The provider of that engine."""
    return configured(engine.home)


@pytest.mark.parametrize("noun", RESOURCES)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_configuration_is_refused_or_planned_and_created(noun: str, servicer: Servicer, data: st.DataObject) -> None:
    attributes = RESOURCES[noun].attributes()
    config = data.draw(objects(attributes))
    kind = f"pymigrate_{noun}"
    checked = servicer.ValidateResourceConfig(
        pb.ValidateResourceConfig.Request(type_name=kind, config=to_dynamic_value(config)), None
    )
    assert DEFECT not in [found.summary for found in checked.diagnostics], checked.diagnostics
    if checked.diagnostics:
        return
    planned = servicer.PlanResourceChange(
        pb.PlanResourceChange.Request(
            type_name=kind,
            prior_state=to_dynamic_value(None),
            proposed_new_state=to_dynamic_value(proposal(attributes, None, config)),
            config=to_dynamic_value(config),
        ),
        None,
    )
    assert not planned.diagnostics, planned.diagnostics
    if has_unknown(config):  # Terraform applies nothing before it knows that
        return
    created = servicer.ApplyResourceChange(
        pb.ApplyResourceChange.Request(
            type_name=kind,
            prior_state=to_dynamic_value(None),
            planned_state=planned.planned_state,
            config=to_dynamic_value(config),
        ),
        None,
    )
    assert created.diagnostics
    assert DEFECT not in [found.summary for found in created.diagnostics], created.diagnostics
