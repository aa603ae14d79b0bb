"""States between the wire and a resource: typed, complete, in the words of the plan, and nothing in them that Terraform refuses."""

import json
from collections.abc import Iterator, Mapping
from numbers import Number as AnyNumber
from typing import Any

from tf.gen import tfplugin_pb2 as pb
from tf.types import Bool, List, Map, Number, String, TfType

from pymigrate.provider.sdk.diagnostics import Path, Refused
from pymigrate.provider.sdk.schema import Attribute, Nesting, State, are_equal, elements, rebuilt
from pymigrate.provider.sdk.values import Unknown, is_empty, number, read_value, to_number, to_value

Attributes = Mapping[str, Attribute]


def read_state(attributes: Attributes, value: pb.DynamicValue) -> State | None:
    """A state, plan or configuration off the wire; None for null."""
    state = read_value(value)
    return None if state is None else typed(attributes, state)


def write_state(attributes: Attributes, state: State | None) -> pb.DynamicValue:
    """A state or plan for the wire."""
    return to_value(None if state is None else _converted(attributes, state, _to_wire))


def read_private(private: bytes) -> dict[str, str]:
    """What a resource noted of an object; nothing where another provider, or an older one, wrote it."""
    try:
        noted = json.loads(private or b"{}")
    except ValueError:
        return {}
    return {name: value for name, value in noted.items() if isinstance(value, str)} if isinstance(noted, dict) else {}


def write_private(noted: Mapping[str, str]) -> bytes:
    """The same for the wire."""
    return json.dumps(noted, sort_keys=True).encode() if noted else b""


def typed(attributes: Attributes, state: State) -> State:
    """A state with numbers as numbers, whatever Terraform sent them as."""
    return _converted(attributes, state, _from_wire)


def complete(attributes: Attributes, state: State) -> State:
    """A state with exactly the schema's attributes: null for what is missing, nothing that is unknown to it."""
    whole: State = {}
    for name, attribute in attributes.items():
        value = state.get(name)
        if attribute.nested:
            parts = {key: complete(attribute.nested, item) for key, item in elements(attribute, value)}
            value = rebuilt(attribute, value, parts)
        whole[name] = None if attribute.is_write_only else value
    return whole


def settled(attributes: Attributes, wanted: State, found: State) -> State:
    """What the engine has, in the words of the plan or the earlier state wherever both mean the same: an absent value stays null
    although the engine tells an empty one."""
    result: State = {}
    for name, attribute in attributes.items():
        before, now = wanted.get(name), found.get(name)
        if before is Unknown or (attribute.computed and not attribute.optional):
            result[name] = now
        elif attribute.nested and isinstance(before, dict | list) and isinstance(now, dict | list):
            earlier = dict(elements(attribute, before))
            parts = {
                key: settled(attribute.nested, earlier.get(key, {}), item) for key, item in elements(attribute, now)
            }
            result[name] = rebuilt(attribute, now, parts)
        elif _are_both_empty(attribute, before, now) or are_equal(attribute, before, now):
            result[name] = before
        else:
            result[name] = now
    return result


def misfits(attributes: Attributes, state: State, path: Path = ()) -> Iterator[Refused]:
    """Values that are not of their attribute's type. Terraform would drop the whole object for one of them."""
    for name, attribute in attributes.items():
        value, place = state.get(name), [*path, name]
        if value is None or value is Unknown:
            continue
        if not attribute.nested:
            is_fit = _is_of(attribute.type, value)
        elif attribute.nesting is Nesting.SINGLE:
            is_fit = isinstance(value, dict)
        else:
            is_fit = isinstance(value, dict if attribute.nesting is Nesting.MAP else list)
            is_fit = is_fit and len(elements(attribute, value)) == len(value)
        if not is_fit:
            yield Refused(
                f"The provider told no fitting value of {name}",
                f"It is a defect of the provider: {type(value).__name__} is no {attribute.type.tf_type().decode()}.",
                place,
            )
        for key, item in elements(attribute, value) if is_fit else ():
            yield from misfits(attribute.nested, item, place if key is None else [*place, (key,)])


def _are_both_empty(attribute: Attribute, before: Any, now: Any) -> bool:
    """Whether both say nothing; that a nested object is there at all says something."""
    if attribute.nested and (before is None) != (now is None):
        return False
    return is_empty(before) and is_empty(now)


def _converted(attributes: Attributes, state: State, convert: Any) -> State:
    changed = dict(state)
    for name, attribute in attributes.items():
        value = state.get(name)
        if value is None or value is Unknown or not attribute.has_numbers:
            continue
        if attribute.nested:
            parts = {key: _converted(attribute.nested, item, convert) for key, item in elements(attribute, value)}
            changed[name] = rebuilt(attribute, value, parts)
        else:
            changed[name] = convert(attribute.type, value)
    return changed


def _from_wire(kind: TfType, value: Any) -> Any:
    if isinstance(value, str):
        return number(value) if type(kind) is Number else value
    return _each(kind, value, _from_wire) if isinstance(value, list | dict) else value


def _to_wire(kind: TfType, value: Any) -> Any:
    if type(kind) is Number:
        return to_number(value)
    return _each(kind, value, _to_wire) if isinstance(value, list | dict) else value


def _each(kind: TfType, value: Any, convert: Any) -> Any:
    if isinstance(kind, List) and isinstance(value, list):
        return [convert(kind.element_type, item) for item in value]
    if isinstance(kind, Map) and isinstance(value, dict):
        return {name: convert(kind.element_type, item) for name, item in value.items()}
    return value


def _is_of(kind: TfType, value: Any) -> bool:
    if value is None or value is Unknown or (type(kind) is String and isinstance(value, str)):
        return True
    match kind:
        case String():
            return isinstance(value, str)
        case Bool():
            return isinstance(value, bool)
        case Number():
            return isinstance(value, AnyNumber) and not isinstance(value, bool)
        case List():
            return isinstance(value, list) and all(_is_of(kind.element_type, item) for item in value)
        case Map():
            texts = isinstance(value, dict) and all(isinstance(name, str) for name in value)
            return texts and all(_is_of(kind.element_type, item) for item in value.values())
        case _:
            return True
