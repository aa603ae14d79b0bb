"""The directory of an environment: everything that it declares of notifications, as routing reads it.

It is asked for with every batch of occurrences, so what was read is kept: an object is read again only when it was written again, and an
environment in which nothing was written gives the very same directory.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pymigrate.engine.application.declared_notices import (
    channel_of,
    rule_of,
    schedule_of,
    silence_of,
    stakeholder_of,
)
from pymigrate.engine.application.kind import Kind
from pymigrate.engine.application.kinds import children
from pymigrate.engine.application.notification_kinds import (
    ALERT_RULES,
    NOTIFICATION_CHANNELS,
    ON_CALL_SCHEDULES,
    SILENCES,
    STAKEHOLDERS,
)
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.notices import Directory
from pymigrate.engine.ports.store import Unit

ENVIRONMENTS_KEPT_MAX = 1_000
State = tuple[str, int]
"""The uid and the version of an object: what tells one state of it from every other."""

PARTS: tuple[tuple[str, Kind[Any], Callable[[Any], Any]], ...] = (
    ("stakeholders", STAKEHOLDERS, stakeholder_of),
    ("rules", ALERT_RULES, rule_of),
    ("schedules", ON_CALL_SCHEDULES, schedule_of),
    ("silences", SILENCES, silence_of),
    ("channels", NOTIFICATION_CHANNELS, channel_of),
)
"""The directory's parts with the kind that each is declared as, and how it is read."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A directory with the state of every object that it was read from, by part and name."""

    states: Mapping[str, Mapping[str, State]]
    directory: Directory


class Directories:
    """The directories of all environments. May be asked on several threads at once: what is kept is replaced whole."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def of(self, unit: Unit, environment: str) -> Directory:
        """That of `environments/prod` as this transaction sees it; an empty one of an environment that declares nothing."""
        states = {
            part: {name: (uid, version) for name, uid, version in unit.resources.states(kind.collection, environment)}
            for part, kind, _ in PARTS
        }
        kept = self._kept.get(environment)
        if kept is not None and kept.states == states:
            return kept.directory
        parts = {part: _read(unit, environment, part, states[part], kept) for part, _, _ in PARTS}
        directory = Directory(environment, **parts)
        if environment not in self._kept and len(self._kept) >= ENVIRONMENTS_KEPT_MAX:
            self._kept = {}
        self._kept[environment] = _Kept(states, directory)
        return directory


def _read(
    unit: Unit, environment: str, part: str, states: Mapping[str, State], kept: _Kept | None
) -> Mapping[str, Any]:
    """A part's objects by their last segment: the very same as before where none was written, else each that was is read again."""
    before: Mapping[str, State] = kept.states[part] if kept is not None else {}
    known: Mapping[str, Any] = getattr(kept.directory, part) if kept is not None else {}
    if before == states:
        return known
    kind, read = next((kind, read) for each, kind, read in PARTS if each == part)
    objects: dict[str, Any] = {}
    for resource in children(unit, kind.collection, environment):
        name = last_segment(resource.name)
        is_known = before.get(resource.name) == (resource.uid, resource.version)
        objects[name] = known[name] if is_known else read(kind.held(resource))
    return objects
