"""What a plan shows: defaults, what is not known yet, what differs, and what needs another object. Pure functions."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pymigrate.provider.sdk.diagnostics import Path, Refused
from pymigrate.provider.sdk.schema import Attribute, Moment, State, are_equal, elements, is_moment, rebuilt
from pymigrate.provider.sdk.values import Unknown, is_empty

Attributes = Mapping[str, Attribute]


def planned_state(attributes: Attributes, prior: State | None, proposed: State, config: State) -> State:
    """The state that an apply will bring. What the engine computes, at any depth, is unknown at creation, and on update only when
    something else changes and it is not stable."""
    planned = _with_defaults(attributes, proposed, config)
    is_changed = prior is None or not _is_as_before(attributes, prior, planned, config)
    return _with_unknowns(attributes, prior, planned, config, is_changed=is_changed)


def replaced(attributes: Attributes, prior: State, planned: State, path: Path = ()) -> list[Path]:
    """The attributes whose change needs another object. That of a nested one counts where its object was there before and stays."""
    found: list[Path] = []
    for name, attribute in attributes.items():
        before, now, place = prior.get(name), planned.get(name), [*path, name]
        if before == now:
            continue
        if attribute.requires_replace and not are_equal(attribute, before, now):
            found.append(place)
            continue
        later = dict(elements(attribute, now))
        for key, item in elements(attribute, before):
            if key in later:
                found += replaced(attribute.nested, item, later[key], place if key is None else [*place, (key,)])
    return found


def changes(attributes: Attributes, prior: State, planned: State, path: Path = ()) -> Iterator[Path]:
    """The most specific places at which two states differ, in the schema's order. That both say nothing, each in its way, is no
    difference."""
    for name, attribute in attributes.items():
        before, now, place = prior.get(name), planned.get(name), [*path, name]
        if before == now:
            continue
        if not (attribute.nested and isinstance(before, dict | list) and isinstance(now, dict | list)):
            is_same = are_equal(attribute, before, now) or (not attribute.nested and is_empty(before) and is_empty(now))
            if not is_same:
                yield place
            continue
        earlier, later = dict(elements(attribute, before)), dict(elements(attribute, now))
        for key in [*earlier, *(key for key in later if key not in earlier)]:
            inner = place if key is None else [*place, (key,)]
            if key in earlier and key in later:
                yield from changes(attribute.nested, earlier[key], later[key], inner)
            else:
                yield inner


def foremost(paths: Sequence[Path], order: Sequence[str]) -> Path:
    """Of changed places the one to point at: among those in the attribute that comes first, by `order` and then as they are, the
    longest part that all of them share. `paths` is not empty."""
    ranks = {name: rank for rank, name in enumerate(order)}
    first = min(paths, key=lambda path: ranks.get(str(path[0]), len(ranks)))[0]
    mine = [tuple(path) for path in paths if path[0] == first]
    shared = itertools.takewhile(lambda steps: len(set(steps)) == 1, zip(*mine, strict=False))
    return [steps[0] for steps in shared]


def config_errors(attributes: Attributes, config: State, path: Path = ()) -> Iterator[Refused]:
    """What is wrong with a configuration by the schema alone: words that are not, values for what only the engine sets."""
    for name, attribute in attributes.items():
        value = config.get(name)
        if value is None or value is Unknown:
            continue
        place = [*path, name]
        if attribute.computed and not attribute.optional:
            yield Refused(f"{name} can't be set", "The engine sets it.", place)
        if attribute.words and value not in attribute.words:
            yield Refused(
                f"{name} is not one of its words", f"`{value}` is not one of {', '.join(attribute.words)}.", place
            )
            continue
        yield from _value_errors(attribute, value, place)
        for key, item in elements(attribute, value):
            yield from config_errors(attribute.nested, item, place if key is None else [*place, (key,)])


def write_only_set(attributes: Attributes, config: State, path: Path = ()) -> Iterator[Path]:
    """The write-only attributes that a configuration sets."""
    for name, attribute in attributes.items():
        value = config.get(name)
        if value is None or not (attribute.nested or attribute.is_write_only):
            continue
        place = [*path, name]
        if attribute.is_write_only:
            yield place
        for key, item in elements(attribute, value):
            yield from write_only_set(attribute.nested, item, place if key is None else [*place, (key,)])


def _value_errors(attribute: Attribute, value: Any, place: Path) -> Iterator[Refused]:
    if isinstance(attribute.type, Moment) and not is_moment(value):
        yield Refused(f"{attribute.name} is no time", f"`{value}` must be a time such as 2026-01-31T12:00:00Z.", place)
    if attribute.check is None:
        return
    parts: list[tuple[Path, Any]] = [(place, value)]
    if not attribute.nested and isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        parts = [([*place, (key,)], item) for key, item in pairs]
    for where, part in parts:
        is_unset = part is None or part is Unknown or (part == "" and attribute.is_zero_unset)
        if not is_unset and (wrong := attribute.check(part)):
            yield Refused(f"{attribute.name} is not right", f"{wrong}.", where)


def _is_computed_here(attribute: Attribute, configured: Any) -> bool:
    """Whether the engine, not the user and no default, says what it is."""
    return bool(attribute.computed) and configured is None and not attribute.has_default


def _with_defaults(attributes: Attributes, proposed: State, config: State) -> State:
    planned = dict(proposed)
    for name, attribute in attributes.items():
        given = config.get(name)
        if given is None and attribute.has_default:
            planned[name] = attribute.default
        elif given is None and attribute.is_zero_unset:
            # Terraform proposes what was there before; only an empty value says the same as none.
            planned[name] = planned[name] if is_empty(planned[name]) else None
        elif attribute.nested and isinstance(given, dict | list):
            written = dict(elements(attribute, given))
            parts = {
                key: _with_defaults(attribute.nested, item, written.get(key, {}))
                for key, item in elements(attribute, planned.get(name))
            }
            planned[name] = rebuilt(attribute, planned.get(name), parts)
    return planned


def _is_as_before(attributes: Attributes, prior: State, planned: State, config: State) -> bool:
    """Whether nothing differs beside what the engine computes."""
    for name, attribute in attributes.items():
        given, before, now = config.get(name), prior.get(name), planned.get(name)
        if before == now or attribute.is_write_only or _is_computed_here(attribute, given):
            continue
        if not (attribute.nested and isinstance(before, dict | list) and isinstance(now, dict | list)):
            if not are_equal(attribute, before, now):
                return False
            continue
        earlier, later = dict(elements(attribute, before)), dict(elements(attribute, now))
        written = dict(elements(attribute, given))
        if earlier.keys() != later.keys():
            return False
        if not all(_is_as_before(attribute.nested, earlier[key], later[key], written.get(key, {})) for key in later):
            return False
    return True


def _with_unknowns(
    attributes: Attributes, prior: State | None, planned: State, config: State, *, is_changed: bool
) -> State:
    result = dict(planned)
    for name, attribute in attributes.items():
        given, now = config.get(name), planned.get(name)
        before = None if prior is None else prior.get(name)
        if attribute.is_write_only:
            result[name] = None
        elif _is_computed_here(attribute, given):
            result[name] = Unknown if prior is None or (is_changed and not attribute.is_stable) else before
        elif prior is not None and not is_changed and before == now:
            result[name] = before
        elif attribute.nested and isinstance(now, dict | list):
            earlier, written = dict(elements(attribute, before)), dict(elements(attribute, given))
            parts = {
                key: _with_unknowns(
                    attribute.nested, earlier.get(key), item, written.get(key, {}), is_changed=is_changed
                )
                for key, item in elements(attribute, now)
            }
            result[name] = rebuilt(attribute, now, parts)
        elif prior is not None and are_equal(attribute, before, now):
            result[name] = before
    return result
