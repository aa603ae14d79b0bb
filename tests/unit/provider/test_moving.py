"""What makes another run due: engine and provider leave the same fields out, so that a digest is unknown in a plan only when it changes."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from pymigrate.engine.application.revisions import phase_hash
from pymigrate.provider import moving
from pymigrate.provider.declared import OUTPUT_ONLY
from pymigrate.provider.sdk.values import Unknown
from pymigrate.v1 import connection_pb2, plan_pb2

SYSTEMS = tuple(each.name for each in connection_pb2.Connection.DESCRIPTOR.oneofs_by_name["system"].fields)


def phase() -> plan_pb2.Phase:
    """A phase that moves one dataset from one connection."""
    source = plan_pb2.DatasetSource(connection="crm", relation="customers")
    target = plan_pb2.DatasetTarget(connection="crm", relation="clients")
    return plan_pb2.Phase(department="sales", datasets={"customers": plan_pb2.Dataset(source=source, target=target)})


def connection(system: str) -> connection_pb2.Connection:
    """A connection to a system of a kind, with nothing said of it."""
    made = connection_pb2.Connection()
    getattr(made, system).SetInParent()
    return made


def set_some(message: Any, field: FieldDescriptor) -> None:
    """Gives a field a value that it did not have."""
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        entries, value = getattr(message, field.name), kind.fields_by_name["value"]
        if value.message_type is None:
            entries["added"] = "word" if value.cpp_type == FieldDescriptor.CPPTYPE_STRING else 7
        else:
            entries["added"].SetInParent()
    elif field.label == FieldDescriptor.LABEL_REPEATED:
        entries = getattr(message, field.name)
        entries.add() if kind is not None else entries.append("word")
    elif kind is not None:
        getattr(message, field.name).SetInParent()
    elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        setattr(message, field.name, "word")
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        setattr(message, field.name, True)
    else:
        setattr(message, field.name, 2)


def changed(message: Any, place: Any, descriptor: Any) -> Iterator[tuple[str, Any]]:
    """The message with another value in each field that is declared of a part of it; `place` finds that part."""
    for field in descriptor.fields:
        if field.name in OUTPUT_ONLY or field.containing_oneof is not None:
            continue
        other = type(message)()
        other.CopyFrom(message)
        set_some(place(other), field)
        yield field.name, other


PHASES = {
    **dict(changed(phase(), lambda each: each, plan_pb2.Phase.DESCRIPTOR)),
    **{
        f"datasets.{name}": other
        for name, other in changed(phase(), lambda each: each.datasets["customers"], plan_pb2.Dataset.DESCRIPTOR)
    },
}
CONNECTIONS = {
    **{
        f"{system}.{name}": (connection(system), other)
        for system in SYSTEMS
        for name, other in changed(
            connection(system),
            lambda each: getattr(each, each.WhichOneof("system")),
            connection_pb2.Connection.DESCRIPTOR.fields_by_name[system].message_type,
        )
    },
    **{
        name: (connection("postgres"), other)
        for name, other in changed(connection("postgres"), lambda each: each, connection_pb2.Connection.DESCRIPTOR)
    },
}


@pytest.mark.parametrize("field", PHASES)
def test_a_phase_is_another_one_for_the_provider_where_its_digest_is_for_the_engine(field: str) -> None:
    digests = {phase_hash(each, {}) for each in (phase(), PHASES[field])}
    assert moving.is_phase_moved(phase(), PHASES[field], {}) is (len(digests) == 2)


@pytest.mark.parametrize("field", CONNECTIONS)
def test_a_connection_reaches_something_else_for_the_provider_where_the_digest_of_a_phase_says_so(field: str) -> None:
    before, after = CONNECTIONS[field]
    digests = {phase_hash(phase(), {"crm": each}) for each in (before, after)}
    assert moving.is_connection_moved(before, after, {}) is (len(digests) == 2)


def test_what_the_engine_tells_moves_nothing() -> None:
    told = phase()
    told.name, told.uid, told.definition_hash = "environments/prod/plans/p/phases/sales", "u", "h"
    assert not moving.is_phase_moved(told, phase(), {"definition_hash": Unknown})
    assert phase_hash(told, {}) == phase_hash(phase(), {})


def test_the_order_of_dependencies_moves_nothing() -> None:
    one, other = phase(), phase()
    one.dependencies.extend(["a", "b"])
    other.dependencies.extend(["b", "a"])
    assert not moving.is_phase_moved(one, other, {})


def test_what_is_not_known_yet_may_move_something_else() -> None:
    state = {"datasets": {"customers": {"source": {"connection": "crm", "relation": Unknown}}}}
    assert moving.is_phase_moved(phase(), phase(), state)
    one = connection("postgres")
    assert moving.is_connection_moved(one, one, {"postgres": {"host": Unknown}})
    assert not moving.is_connection_moved(one, one, {"postgres": {"host": "h", "password": Unknown}})
    assert not moving.is_connection_moved(one, one, {"postgres": {"host": "h"}, "lanes_max": Unknown})


@pytest.mark.parametrize("side", ["source", "target", "lookup"])
def test_a_phase_is_touched_by_each_connection_that_it_names(side: str) -> None:
    sides = {each: {"connection": "crm" if each == side else "erp"} for each in ("source", "target", "lookup")}
    dataset = {
        "source": sides["source"],
        "target": sides["target"],
        "transforms": [{"lookup": None}, {"lookup": {"source": sides["lookup"]}}],
    }
    moved = moving.MovedConnections()
    moved.add("environments/prod/connections/crm")
    assert moved.has_any_of("environments/prod/plans/warehouse", {"datasets": {"customers": dataset}})
    assert not moved.has_any_of("environments/dev/plans/warehouse", {"datasets": {"customers": dataset}})
    moved.forget()
    assert not moved.has_any_of("environments/prod/plans/warehouse", {"datasets": {"customers": dataset}})
