"""The directory of an environment: everything that it declares of notifications, as routing reads it.

It is asked for with every batch of occurrences, so what was read is kept: an object is read again only when it was written again, and an
environment in which nothing was written gives the very same directory.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from pymigrate.engine.application.catalog import Kind
from pymigrate.engine.application.declared_notices import (
    channel_of,
    rule_of,
    schedule_of,
    silence_of,
    stakeholder_of,
)
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
from pymigrate.engine.ports.store import Resource, Unit

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
    """A directory with the state of every object that it was read from."""

    states: Mapping[str, State]
    directory: Directory


class Directories:
    """The directories of all environments. May be asked on several threads at once: what is kept is replaced whole."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def of(self, unit: Unit, environment: str) -> Directory:
        """That of `environments/prod` as this transaction sees it; an empty one of an environment that declares nothing."""
        found = {part: list(children(unit, kind.collection, environment)) for part, kind, _ in PARTS}
        states = {each.name: (each.uid, each.version) for resources in found.values() for each in resources}
        kept = self._kept.get(environment)
        if kept is not None and kept.states == states:
            return kept.directory
        directory = Directory(
            environment,
            **{part: dict(_read(found[part], kind, read, part, kept)) for part, kind, read in PARTS},
        )
        if environment not in self._kept and len(self._kept) >= ENVIRONMENTS_KEPT_MAX:
            self._kept = {}
        self._kept[environment] = _Kept(states, directory)
        return directory


def _read(
    resources: list[Resource], kind: Kind[Message], read: Callable[[Any], Any], part: str, kept: _Kept | None
) -> Iterator[tuple[str, Any]]:
    """Objects by their last segment, each as it was read before where it is the same still."""
    for resource in resources:
        name = last_segment(resource.name)
        if kept is not None and kept.states.get(resource.name) == (resource.uid, resource.version):
            yield name, getattr(kept.directory, part)[name]
        else:
            yield name, read(kind.read(resource))
