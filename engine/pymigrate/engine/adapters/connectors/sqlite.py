"""SQLite database files, as sources and targets."""

from pathlib import Path

from pymigrate.engine.adapters.engine_homes import refuse_engine_home
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.ports.capture import Capture, GrowingColumn
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.target import Target


class SqliteConnector:
    """SQLite files by `path`."""

    kind = "sqlite"

    def open_source(self, system: SystemSpec) -> Source:
        """Opens the file read only. Raises SourceMissing where it is not there or no database."""
        from pymigrate.engine.adapters.connectors.sqlite_source import SqliteSource

        refuse_engine_home(Path(system.options.get("path", "")), "sqlite.path")
        return SqliteSource(system)

    def open_target(self, system: SystemSpec) -> Target:
        """Opens the file, and makes it where it is missing."""
        from pymigrate.engine.adapters.connectors.sqlite_target import SqliteTarget

        refuse_engine_home(Path(system.options.get("path", "")), "sqlite.path")
        return SqliteTarget(system)

    def open_capture(self, system: SystemSpec, column: GrowingColumn | None = None) -> Capture:
        """Opens the file. Raises FailedPrecondition without a column, and SystemUnavailable where it can't."""
        from pymigrate.engine.adapters.connectors.sqlite_column_capture import SqliteColumnCapture

        if column is None:
            raise FailedPrecondition(
                "no log of SQLite is read: say which column grows with every insert and update",
                field="catch_up.logical",
            )
        refuse_engine_home(Path(system.options.get("path", "")), "sqlite.path")
        return SqliteColumnCapture(system, column)
