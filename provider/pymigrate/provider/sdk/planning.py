"""What a plan shows: defaults, what is not known yet, and what needs another object. Pure functions over schema and values."""

from collections.abc import Iterator, Mapping
from typing import Any

from pymigrate.provider.sdk.diagnostics import Path, Refused
from pymigrate.provider.sdk.resource import State
from pymigrate.provider.sdk.schema import Attribute, Nesting, are_equal, elements
from pymigrate.provider.sdk.values import Unknown, is_empty


def planned_state(attributes: Mapping[str, Attribute], prior: State | None, proposed: State, config: State) -> State:
    """The state that an apply will bring. What the engine computes is unknown at creation, and on update only when something
    else changes and it is not stable."""
    planned = _with_defaults(attributes, proposed, config)
    is_changed = prior is None or any(
        not are_equal(attribute, prior.get(name), planned.get(name))
        for name, attribute in attributes.items()
        if not _is_computed_here(attribute, config.get(name)) and not attribute.is_write_only
    )
    for name, attribute in attributes.items():
        if attribute.is_write_only:
            planned[name] = None
        elif not _is_computed_here(attribute, config.get(name)) or attribute.has_default:
            if prior is not None and are_equal(attribute, prior.get(name), planned.get(name)):
                planned[name] = prior.get(name)
        elif prior is None or (is_changed and not attribute.is_stable):
            planned[name] = Unknown
        else:
            planned[name] = prior.get(name)
    return planned


def replaced(attributes: Mapping[str, Attribute], prior: State, planned: State) -> list[Path]:
    """The attributes whose change needs another object."""
    return [
        [name]
        for name, attribute in attributes.items()
        if attribute.requires_replace and not are_equal(attribute, prior.get(name), planned.get(name))
    ]


def complete(attributes: Mapping[str, Attribute], state: State) -> State:
    """A state with exactly the schema's attributes: null for what is missing, nothing that is unknown to it."""
    whole: State = {}
    for name, attribute in attributes.items():
        value = state.get(name)
        if attribute.nested and isinstance(value, dict | list):
            value = _each(attribute, value, lambda item, part=attribute.nested: complete(part, item))
        whole[name] = None if attribute.is_write_only else value
    return whole


def settled(attributes: Mapping[str, Attribute], wanted: State, found: State) -> State:
    """What the engine has, in the words of the plan or the earlier state wherever both mean the same: an absent value stays null
    although the engine tells an empty one."""
    result: State = {}
    for name, attribute in attributes.items():
        before, now = wanted.get(name), found.get(name)
        if before is Unknown or (attribute.computed and not attribute.optional):
            result[name] = now
        elif attribute.nested and isinstance(before, dict | list) and isinstance(now, dict | list):
            result[name] = _settled_objects(attribute, before, now)
        elif _are_both_empty(attribute, before, now) or are_equal(attribute, before, now):
            result[name] = before
        else:
            result[name] = now
    return result


def config_errors(attributes: Mapping[str, Attribute], config: State, path: Path = ()) -> Iterator[Refused]:
    """What is wrong with a configuration by the schema alone: words that are not, values for what only the engine sets."""
    for name, attribute in attributes.items():
        value, place = config.get(name), [*path, name]
        if value is None or value is Unknown:
            continue
        if attribute.computed and not attribute.optional:
            yield Refused(f"{name} can't be set", "The engine sets it.", place)
        if attribute.words and value not in attribute.words:
            yield Refused(
                f"{name} is not one of its words", f"`{value}` is not one of {', '.join(attribute.words)}.", place
            )
        for key, item in elements(attribute, value):
            yield from config_errors(attribute.nested, item, place if key is None else [*place, (key,)])


def _are_both_empty(attribute: Attribute, before: Any, now: Any) -> bool:
    """Whether both say nothing; that a nested object is there at all says something."""
    if attribute.nested and (before is None) != (now is None):
        return False
    return is_empty(before) and is_empty(now)


def _is_computed_here(attribute: Attribute, configured: Any) -> bool:
    return bool(attribute.computed) and configured is None


def _with_defaults(attributes: Mapping[str, Attribute], proposed: State, config: State) -> State:
    planned = dict(proposed)
    for name, attribute in attributes.items():
        given = config.get(name)
        if given is None and attribute.has_default:
            planned[name] = attribute.default
        elif attribute.nested and isinstance(given, dict | list) and isinstance(planned.get(name), dict | list):
            inner = dict(elements(attribute, given))
            found = {
                key: _with_defaults(attribute.nested, item, inner.get(key, {}))
                for key, item in elements(attribute, planned[name])
            }
            planned[name] = _rebuilt(attribute, planned[name], found)
    return planned


def _settled_objects(attribute: Attribute, before: Any, now: Any) -> Any:
    earlier = dict(elements(attribute, before))
    found = {key: settled(attribute.nested, earlier.get(key, {}), item) for key, item in elements(attribute, now)}
    return _rebuilt(attribute, now, found)


def _each(attribute: Attribute, value: Any, change: Any) -> Any:
    return _rebuilt(attribute, value, {key: change(item) for key, item in elements(attribute, value)})


def _rebuilt(attribute: Attribute, value: Any, found: Mapping[Any, State]) -> Any:
    if attribute.nesting is Nesting.SINGLE:
        return found.get(None, value)
    if isinstance(value, dict):
        return {key: found.get(key, item) for key, item in value.items()}
    return [found.get(at, item) for at, item in enumerate(value)]
