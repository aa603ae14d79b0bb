"""Incidents and conditions in the store in memory, journalled."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from pymigrate.engine.domain.delivery import Condition, Incident
from pymigrate.engine.domain.errors import AlreadyExists, StaleWrite
from pymigrate.engine.testing.journal import Journal
from pymigrate.engine.testing.store_tables import Tables


class MemoryIncidents:
    """Incidents by id."""

    def __init__(self, tables: Tables, journal: Journal) -> None:
        self._incidents = tables.incidents
        self._journal = journal

    def get(self, incident: str) -> Incident | None:
        """The incident of that id."""
        stored = self._incidents.get(incident)
        return None if stored is None else _copied(stored)

    def open_of(self, threads: Collection[str]) -> Mapping[str, Incident]:
        """The one of each thread that is under way."""
        wanted = frozenset(threads)
        found = [each for each in self._incidents.values() if each.thread in wanted and each.next_time is not None]
        return {each.thread: _copied(each) for each in sorted(found, key=lambda each: (each.open_time, each.id))}

    def insert(self, incidents: Iterable[Incident]) -> None:
        """Raises AlreadyExists."""
        for incident in incidents:
            if incident.id in self._incidents:
                raise AlreadyExists(f"the incident {incident.id} exists already")
            self._write(incident, 1)

    def save(self, incidents: Iterable[Incident]) -> None:
        """Raises StaleWrite. The same one twice is written once."""
        for incident in {id(each): each for each in incidents}.values():
            stored = self._incidents.get(incident.id)
            if stored is None or stored.version != incident.version:
                raise StaleWrite(f"the incident {incident.id} was changed or deleted in between: read it again")
            self._write(incident, incident.version + 1)

    def due(self, now: datetime, limit: int) -> Sequence[Incident]:
        """Those whose next step is due, the earliest first."""
        found = [
            (each.next_time, each.id)
            for each in self._incidents.values()
            if each.next_time is not None and each.next_time <= now
        ]
        return [_copied(self._incidents[each]) for _, each in sorted(found)[:limit]]

    def next_time(self) -> datetime | None:
        """When the next step is due."""
        return min(filter(None, (each.next_time for each in self._incidents.values())), default=None)

    def purge(self, before: datetime, limit: int) -> int:
        """Forgets old ones that have ended."""
        old = [
            (each.open_time, each.id)
            for each in self._incidents.values()
            if each.next_time is None and each.open_time < before
        ]
        gone = sorted(old)[:limit]
        for _, each in gone:
            self._journal.drop(self._incidents, each)
        return len(gone)

    def _write(self, incident: Incident, version: int) -> None:
        self._journal.put(self._incidents, incident.id, replace(_copied(incident), version=version))
        self._journal.set_version(incident, version)


class MemoryConditions:
    """Conditions by environment, rule and subject."""

    def __init__(self, tables: Tables, journal: Journal) -> None:
        self._conditions = tables.conditions
        self._journal = journal

    def all(self) -> Sequence[Condition]:
        """All, in order."""
        return [replace(self._conditions[key]) for key in sorted(self._conditions)]

    def put(self, condition: Condition) -> None:
        """Raises StaleWrite."""
        key = _key(condition)
        stored = self._conditions.get(key)
        if (0 if stored is None else stored.version) != condition.version:
            raise StaleWrite(f"the condition of {condition.rule} on {condition.subject} was changed: read it again")
        version = condition.version + 1
        self._journal.put(self._conditions, key, replace(condition, version=version))
        self._journal.set_version(condition, version)

    def delete(self, condition: Condition) -> None:
        """Forgets it."""
        self._journal.drop(self._conditions, _key(condition))


def _copied(incident: Incident) -> Incident:
    return replace(incident, entries=list(incident.entries))


def _key(condition: Condition) -> tuple[str, str, str]:
    return condition.environment, condition.rule, condition.subject
