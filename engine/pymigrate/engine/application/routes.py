"""The compiled rules of environments, kept for as long as what they declare stays the same."""

from datetime import datetime

from pymigrate.engine.domain.notices import Directory
from pymigrate.engine.domain.routing import Routes

ENVIRONMENTS_KEPT_MAX = 1_000


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
