"""Stored objects, read at once: everything in some environments, and all environments themselves."""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence

from pymigrate.engine.application.pages import PAGE_MAX
from pymigrate.engine.ports.store import Resource, ResourcesRead, state_of

TOP = "environments", ""


class Loaded:
    """Stored objects, of which everything in these environments was read at once. What is asked of others is read as it is asked."""

    def __init__(self, stored: ResourcesRead, environments: Collection[str]) -> None:
        self._stored = stored
        self._objects: dict[str, Resource] = {}
        self._order: dict[str, Sequence[str]] = {}
        self._below: dict[tuple[str, str], list[Resource]] = {}
        self._load_top()
        for environment in environments:
            self._load(environment)

    def _load_top(self) -> None:
        found: list[Resource] = []
        while page := self._stored.list(*TOP, found[-1].name if found else "", PAGE_MAX):
            found += page
        self._below[TOP] = found
        self._objects |= {each.name: each for each in found}

    def _load(self, environment: str) -> None:
        found = self._stored.within(environment)
        self._objects |= {each.name: each for each in found}
        self._order[environment] = [each.name for each in found]
        for each in found:
            self._below.setdefault((each.kind, each.parent), []).append(each)

    def load(self, environment: str) -> None:
        """Reads everything of another environment too, unless that was done."""
        if environment not in self._order:
            self._load(environment)

    def _environment(self, name: str) -> str:
        """The loaded environment that a name lies in, or is; empty: none."""
        found = "/".join(name.split("/", 2)[:2])
        return found if found in self._order else ""

    def _is_loaded(self, kind: str, parent: str) -> bool:
        return (kind, parent) == TOP or bool(self._environment(parent))

    def get(self, name: str) -> Resource | None:
        """See Resources."""
        found = self._objects.get(name)
        if found is not None or self._environment(name) or _is_environment(name):
            return found
        return self._stored.get(name)

    def get_all(self, names: Collection[str]) -> Sequence[Resource]:
        """See Resources."""
        found = [self._objects[name] for name in set(names) & self._objects.keys()]
        left = set(names) - self._objects.keys()
        others = [name for name in left if not self._environment(name) and not _is_environment(name)]
        if others:
            found += self._stored.get_all(others)
        return sorted(found, key=lambda each: each.name)

    def list(self, kind: str, parent: str, after: str, limit: int) -> Sequence[Resource]:
        """See Resources."""
        known = self._below.get((kind, parent))
        if known is None:
            return () if self._is_loaded(kind, parent) else self._stored.list(kind, parent, after, limit)
        start = bisect_right(known, after, key=lambda each: each.name) if after else 0
        return known[start : start + limit]

    def names(self, kind: str, parent: str) -> Sequence[str]:
        """See Resources."""
        if not self._is_loaded(kind, parent):
            return self._stored.names(kind, parent)
        return [each.name for each in self._below.get((kind, parent), [])]

    def states(self, kind: str, parent: str) -> Sequence[tuple[str, str, int]]:
        """See Resources."""
        if not self._is_loaded(kind, parent):
            return self._stored.states(kind, parent)
        return [(e.name, e.uid, state_of(e.version, e.resolved)) for e in self._below.get((kind, parent), [])]

    def owned(self, managed_by: str) -> Sequence[tuple[str, str, int]]:
        """See Resources."""
        return self._stored.owned(managed_by)

    def within(self, name: str) -> Sequence[Resource]:
        """See Resources."""
        environment = self._environment(name)
        if not environment:
            return self._stored.within(name)
        order = self._order[environment]
        start, end = bisect_right(order, f"{name}/"), bisect_left(order, f"{name}0")  # what comes after the slash
        return [self._objects[each] for each in order[start:end]]

    def has_children(self, parent: str) -> bool:
        """See Resources."""
        if not self._environment(parent):
            return self._stored.has_children(parent)
        return any(each.parent == parent for each in self.within(parent))


def _is_environment(name: str) -> bool:
    return name.startswith("environments/") and name.count("/") == 1
