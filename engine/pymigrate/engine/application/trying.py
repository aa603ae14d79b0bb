"""A unit of work in which nothing is kept: what is written in it is seen in it, and forgotten with it. So a call checks everything and
stores nothing."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

from pymigrate.engine.domain.errors import AlreadyExists, StaleWrite
from pymigrate.engine.ports.store import AuditEntry, Resource, Unit, state_of


def tried(unit: Unit) -> Unit:
    """The unit as it is, for trying."""
    return unit if isinstance(unit, _Trial) else cast("Unit", _Trial(unit))


class _Trial:
    """Everything but declared objects and the audit trail is read as it is stored."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self.resources = _Resources(unit)
        self.audit = _Audit(unit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._unit, name)


class _Audit:
    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def append(self, entry: AuditEntry) -> None:
        """Forgets it."""
        del entry

    def list(self, after: int, limit: int) -> Sequence[AuditEntry]:
        """As it is stored."""
        return self._unit.audit.list(after, limit)


class _Resources:
    """The stored objects, with what was written over them; None: deleted."""

    def __init__(self, unit: Unit) -> None:
        self._stored = unit.resources
        self._written: dict[str, Resource | None] = {}

    def get(self, name: str) -> Resource | None:
        return self._written[name] if name in self._written else self._stored.get(name)

    def get_all(self, names: Collection[str]) -> Sequence[Resource]:
        known = {each.name: each for each in self._stored.get_all(names)}
        return self._merged(known, lambda each: each.name in names)

    def list(self, kind: str, parent: str, after: str, limit: int) -> Sequence[Resource]:
        most = limit + len(self._written)
        known = {each.name: each for each in self._stored.list(kind, parent, after, most)}
        found = self._merged(known, lambda each: (each.kind, each.parent) == (kind, parent) and each.name > after)
        return found[:limit]

    def names(self, kind: str, parent: str) -> Sequence[str]:
        names = set(self._stored.names(kind, parent)) - self._written.keys()
        return sorted(names | {each.name for each in self._fresh() if (each.kind, each.parent) == (kind, parent)})

    def states(self, kind: str, parent: str) -> Sequence[tuple[str, str, int]]:
        kept = [state for state in self._stored.states(kind, parent) if state[0] not in self._written]
        fresh = [
            (e.name, e.uid, state_of(e.version, e.resolved))
            for e in self._fresh()
            if (e.kind, e.parent) == (kind, parent)
        ]
        return sorted([*kept, *fresh])

    def owned(self, managed_by: str) -> Sequence[tuple[str, str, int]]:
        kept = [state for state in self._stored.owned(managed_by) if state[0] not in self._written]
        fresh = [(e.name, e.uid, state_of(e.version, e.resolved)) for e in self._fresh() if e.managed_by == managed_by]
        return sorted([*kept, *fresh])

    def within(self, name: str) -> Sequence[Resource]:
        known = {each.name: each for each in self._stored.within(name)}
        return self._merged(known, lambda each: each.name.startswith(f"{name}/"))

    def has_children(self, parent: str) -> bool:
        if any(each.parent == parent for each in self._fresh()):
            return True
        if not self._written:
            return self._stored.has_children(parent)
        return any(each.parent == parent for each in self.within(parent))

    def insert(self, resource: Resource) -> None:
        if self.get(resource.name) is not None:
            raise AlreadyExists(f"{resource.name} exists already", field="name")
        self._written[resource.name] = resource

    def update(self, resource: Resource, expected_version: int) -> None:
        self._require(resource.name, expected_version)
        self._written[resource.name] = resource

    def delete(self, name: str, expected_version: int) -> None:
        self._require(name, expected_version)
        self._written[name] = None

    def _require(self, name: str, version: int) -> None:
        stored = self.get(name)
        if stored is None or stored.version != version:
            raise StaleWrite(f"{name} was changed or deleted in between: read it again", field="etag")

    def _fresh(self) -> Sequence[Resource]:
        return [each for each in self._written.values() if each is not None]

    def _merged(self, known: dict[str, Resource], is_meant: Callable[[Resource], bool]) -> Sequence[Resource]:
        found = {name: each for name, each in known.items() if name not in self._written}
        found |= {each.name: each for each in self._fresh() if is_meant(each)}
        return [found[name] for name in sorted(found)]
