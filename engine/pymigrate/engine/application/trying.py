"""Units of work in memory: what is written in one lies over what is stored, and is seen in it alone. One in which nothing is kept is how a
call checks everything and stores nothing."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

from pymigrate.engine.domain.errors import AlreadyExists, StaleWrite
from pymigrate.engine.ports.audit import AuditFilter, Found
from pymigrate.engine.ports.store import AuditEntry, Resource, ResourcesRead, Unit, state_of


def tried(unit: Unit) -> Unit:
    """The unit as it is, for trying."""
    return unit if isinstance(unit, _Trial) else cast("Unit", _Trial(unit))


def afterwards(unit: Unit, work: Callable[[Unit], None]) -> None:
    """Does what goes with a write and concerns more than declared objects: at once, or in memory when what was written is kept."""
    if isinstance(unit, Overlaid):
        unit.afterwards(work)
    else:
        work(unit)


class Overlaid:
    """A unit in memory: everything but declared objects and the audit trail is read as it is stored."""

    def __init__(self, unit: Unit, resources: ResourcesRead) -> None:
        self._unit = unit
        self.resources = WrittenOver(resources)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._unit, name)

    def afterwards(self, work: Callable[[Unit], None]) -> None:
        """Forgets it."""
        del work


class _Trial(Overlaid):
    def __init__(self, unit: Unit) -> None:
        super().__init__(unit, unit.resources)
        self.audit = NotedAudit(unit)


class NotedAudit:
    """An audit trail whose new entries lie in memory."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self.noted: list[AuditEntry] = []

    def append(self, entry: AuditEntry) -> None:
        """Notes it."""
        self.noted.append(entry)

    def append_all(self, entries: Sequence[AuditEntry]) -> None:
        """Notes them."""
        self.noted += entries

    def list(self, after: int, limit: int) -> Sequence[AuditEntry]:
        """As it is stored."""
        return self._unit.audit.list(after, limit)

    def find(self, asked: AuditFilter, after: int, limit: int) -> Found:
        """As it is stored."""
        return self._unit.audit.find(asked, after, limit)

    def about(self, subjects: Collection[str], limit: int) -> Sequence[AuditEntry]:
        """As it is stored."""
        return self._unit.audit.about(subjects, limit)


class WrittenOver:
    """The stored objects, with what was written over them; None: deleted. `originals` are the stored versions of what was written."""

    def __init__(self, stored: ResourcesRead) -> None:
        self._stored = stored
        self._written: dict[str, Resource | None] = {}
        self._touched: dict[tuple[str, str], set[str]] = {}
        self._touched_below: dict[str, set[str]] = {}
        self._writes: dict[tuple[str, str], int] = {}
        self._deletions: dict[tuple[str, str], int] = {}
        self.originals: dict[str, Resource | None] = {}

    @property
    def written(self) -> dict[str, Resource | None]:
        """What was written, by name, in the order of the first write."""
        return self._written

    def touched(self, kind: str, parent: str) -> Collection[str]:
        """The names of what was written of a collection."""
        return self._touched.get((kind, parent), ())

    def writes(self, kind: str, parent: str) -> int:
        """How often anything of a collection was written."""
        return self._writes.get((kind, parent), 0)

    def deletions(self, kind: str, parent: str) -> int:
        """How many of these writes deleted something."""
        return self._deletions.get((kind, parent), 0)

    def get(self, name: str) -> Resource | None:
        """See Resources."""
        return self._written[name] if name in self._written else self._stored.get(name)

    def get_all(self, names: Collection[str]) -> Sequence[Resource]:
        """See Resources."""
        wanted = set(names)
        found = {each.name: each for each in self._stored.get_all(wanted - self._written.keys())}
        fresh = (self._written.get(name) for name in wanted & self._written.keys())
        found |= {each.name: each for each in fresh if each is not None}
        return [found[name] for name in sorted(found)]

    def list(self, kind: str, parent: str, after: str, limit: int) -> Sequence[Resource]:
        """See Resources."""
        touched = self._touched.get((kind, parent), set())
        known = self._stored.list(kind, parent, after, limit + len(touched))
        if not touched:
            return known
        return self._merged(known, [name for name in touched if name > after])[:limit]

    def names(self, kind: str, parent: str) -> Sequence[str]:
        """See Resources."""
        touched = self._touched.get((kind, parent), set())
        known = self._stored.names(kind, parent)
        return sorted({*known} - touched | {each.name for each in self._fresh(touched)}) if touched else known

    def states(self, kind: str, parent: str) -> Sequence[tuple[str, str, int]]:
        """See Resources."""
        touched = self._touched.get((kind, parent), set())
        kept = [state for state in self._stored.states(kind, parent) if state[0] not in touched]
        fresh = [(e.name, e.uid, state_of(e.version, e.resolved)) for e in self._fresh(touched)]
        return sorted([*kept, *fresh])

    def owned(self, managed_by: str) -> Sequence[tuple[str, str, int]]:
        """See Resources."""
        kept = [state for state in self._stored.owned(managed_by) if state[0] not in self._written]
        fresh = [
            (e.name, e.uid, state_of(e.version, e.resolved))
            for e in self._fresh(self._written)
            if e.managed_by == managed_by
        ]
        return sorted([*kept, *fresh])

    def within(self, name: str) -> Sequence[Resource]:
        """See Resources."""
        return self._merged(self._stored.within(name), [each for each in self._written if each.startswith(f"{name}/")])

    def has_children(self, parent: str) -> bool:
        """See Resources."""
        touched = self._touched_below.get(parent, set())
        if not touched:
            return self._stored.has_children(parent)
        return bool(self._fresh(touched)) or any(
            each.parent == parent and each.name not in touched for each in self._stored.within(parent)
        )

    def insert(self, resource: Resource) -> None:
        """See Resources."""
        if self.get(resource.name) is not None:
            raise AlreadyExists(f"{resource.name} exists already", field="name")
        self._write(resource.name, resource, resource)

    def update(self, resource: Resource, expected_version: int) -> None:
        """See Resources."""
        self._require(resource.name, expected_version)
        self._write(resource.name, resource, resource)

    def delete(self, name: str, expected_version: int) -> None:
        """See Resources."""
        self._write(name, self._require(name, expected_version), None)

    def insert_all(self, resources: Sequence[Resource]) -> None:
        """See Resources."""
        for each in resources:
            self.insert(each)

    def _write(self, name: str, known: Resource, written: Resource | None) -> None:
        if name not in self.originals:
            self.originals[name] = self._stored.get(name)
        self._written[name] = written
        place = known.kind, known.parent
        self._touched.setdefault(place, set()).add(name)
        self._touched_below.setdefault(known.parent, set()).add(name)
        self._writes[place] = self._writes.get(place, 0) + 1
        if written is None:
            self._deletions[place] = self._deletions.get(place, 0) + 1

    def _require(self, name: str, version: int) -> Resource:
        stored = self.get(name)
        if stored is None or stored.version != version:
            raise StaleWrite(f"{name} was changed or deleted in between: read it again", field="etag")
        return stored

    def _fresh(self, names: Collection[str]) -> Sequence[Resource]:
        found = (self._written.get(name) for name in names)
        return [each for each in found if each is not None]

    def _merged(self, known: Sequence[Resource], touched: Collection[str]) -> Sequence[Resource]:
        found = {each.name: each for each in known if each.name not in self._written}
        found |= {each.name: each for each in self._fresh(touched)}
        return [found[name] for name in sorted(found)]
