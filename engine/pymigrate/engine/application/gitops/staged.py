"""A unit of work in memory over what is stored: writes lie in it, everything read through it sees them, and all of it is kept at once, or
thrown away. What is in it afterwards is the difference."""

from collections.abc import Callable, Collection
from typing import cast

from pymigrate.engine.application.gitops.loaded import Loaded
from pymigrate.engine.application.remembering import Memory, Remembering
from pymigrate.engine.application.trying import NotedAudit, Overlaid
from pymigrate.engine.ports.store import Resource, Unit


class Staged(Overlaid, Remembering):
    """Everything in `environments` is read at once, and what checks make of it is remembered: it is meant for many writes."""

    def __init__(self, unit: Unit, environments: Collection[str]) -> None:
        self.loaded = Loaded(unit.resources, environments)
        super().__init__(unit, self.loaded)
        self.audit = NotedAudit(unit)
        self._later: list[Callable[[Unit], None]] = []
        self.memory = Memory(self.resources.writes, self.resources.deletions)

    @property
    def as_unit(self) -> Unit:
        """The stage as what works on units sees it."""
        return cast("Unit", self)

    def afterwards(self, work: Callable[[Unit], None]) -> None:
        """Does it when everything is kept."""
        self._later.append(work)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to keep."""
        return not (self.resources.written or self.audit.noted or self._later)

    def flush(self, unit: Unit) -> None:
        """Keeps everything. Raises StaleWrite and AlreadyExists where the store is no longer what this was made over."""
        written, originals = self.resources.written, self.resources.originals
        for name in sorted(written, reverse=True):  # what lies below another goes before it
            original = originals[name]
            if written[name] is None and original is not None:
                unit.resources.delete(name, original.version)
        fresh: list[Resource] = []
        for name, resource in written.items():
            original = originals[name]
            if resource is None or resource == original:
                continue
            if original is None:
                fresh.append(resource)
            else:
                unit.resources.update(resource, original.version)
        unit.resources.insert_all(fresh)
        for work in self._later:
            work(unit)
        unit.audit.append_all(self.audit.noted)
