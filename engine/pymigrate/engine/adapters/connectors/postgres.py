"""PostgreSQL databases, as sources and targets."""

from pymigrate.engine.ports.capture import Capture, GrowingColumn
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.target import Target


class PostgresConnector:
    """Databases by `host`, `port`, `database` and `user`."""

    kind = "postgres"

    def open_source(self, system: SystemSpec) -> Source:
        """Connects, and reads under one snapshot. Raises SystemUnavailable where it can't connect."""
        from pymigrate.engine.adapters.connectors.postgres_source import PostgresSource

        return PostgresSource(system)

    def open_target(self, system: SystemSpec) -> Target:
        """Connects. Raises SystemUnavailable where it can't."""
        from pymigrate.engine.adapters.connectors.postgres_target import PostgresTarget

        return PostgresTarget(system)

    def open_capture(self, system: SystemSpec, column: GrowingColumn | None = None) -> Capture:
        """Connects. Raises SystemUnavailable where it can't."""
        if column is not None:
            from pymigrate.engine.adapters.connectors.postgres_column_capture import PostgresColumnCapture

            return PostgresColumnCapture(system, column)
        from pymigrate.engine.adapters.connectors.postgres_capture import PostgresCapture

        return PostgresCapture(system)
