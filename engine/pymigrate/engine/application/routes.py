"""The compiled rules of environments, kept for as long as what they declare stays the same."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.notification_kinds import ALERT_RULES
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.notices import Directory
from pymigrate.engine.domain.routing import Routes
from pymigrate.engine.ports.feed import FeedEntry
from pymigrate.engine.ports.store import Unit

ENVIRONMENTS_KEPT_MAX = 1_000
KEPT_MAX = timedelta(seconds=30)
DECLARED = frozenset({"alertRules", "notificationChannels", "onCallSchedules", "silences", "stakeholders"})


class RoutesKept:
    """One for each environment; a directory in which nothing was written is the very same object, and so are its routes."""

    def __init__(self) -> None:
        self._kept: dict[str, Routes] = {}

    def of(self, directory: Directory, now: datetime) -> Routes:
        """The routes of a directory."""
        known = self._kept.get(directory.environment)
        if known is not None and known.directory is directory:
            return known
        if directory.environment not in self._kept and len(self._kept) >= ENVIRONMENTS_KEPT_MAX:
            self._kept = {}
        routes = self._kept[directory.environment] = Routes(directory, now)
        return routes


@dataclass(frozen=True, slots=True)
class _Standing:
    routes: Routes | None
    read_time: datetime


class RoutesFollowed:
    """The routes of environments for whoever follows the stream, which tells of every change of what is declared: nothing is read again
    before it says so, or KEPT_MAX is over. An environment without any rule has no routes."""

    def __init__(self, directories: Directories) -> None:
        self._directories = directories
        self._compiled = RoutesKept()
        self._standing: dict[str, _Standing] = {}

    def note(self, entries: Iterable[FeedEntry]) -> None:
        """These come next: what they tell of is read again."""
        for entry in entries:
            parts = () if entry.run else entry.subject.split("/")
            if 0 < len(parts) < 3 or (len(parts) > 3 and parts[2] in DECLARED):
                self._standing.pop(environment_of(entry.subject), None)

    def of(self, unit: Unit, environment: str, now: datetime) -> Routes | None:
        """Those of an environment."""
        known = self._standing.get(environment)
        if known is not None and timedelta() <= now - known.read_time < KEPT_MAX:
            return known.routes
        routes = None
        if unit.resources.names(ALERT_RULES.collection, environment):
            routes = self._compiled.of(self._directories.of(unit, environment), now)
        if len(self._standing) >= ENVIRONMENTS_KEPT_MAX:
            self._standing = {}
        self._standing[environment] = _Standing(routes, now)
        return routes

    def forget(self) -> None:
        """Everything is read again."""
        self._standing = {}
