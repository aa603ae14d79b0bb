"""MySQL and MariaDB databases, as sources and targets."""

from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.ports.capture import Capture, GrowingColumn
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.target import Target


class MysqlConnector:
    """Databases by `host`, `port`, `database` and `user`."""

    kind = "mysql"

    def open_source(self, system: SystemSpec) -> Source:
        """Connects, and reads under one snapshot. Raises SystemUnavailable where it can't connect."""
        from pymigrate.engine.adapters.connectors.mysql_source import MysqlSource

        return MysqlSource(system)

    def open_target(self, system: SystemSpec) -> Target:
        """Connects. Raises SystemUnavailable where it can't."""
        from pymigrate.engine.adapters.connectors.mysql_target import MysqlTarget

        return MysqlTarget(system)

    def open_capture(self, system: SystemSpec, column: GrowingColumn | None = None) -> Capture:
        """Connects. Raises FailedPrecondition without a column, and SystemUnavailable where it can't."""
        from pymigrate.engine.adapters.connectors.mysql_column_capture import MysqlColumnCapture

        if column is None:
            raise FailedPrecondition(
                "no log of MySQL is read: say which column grows with every insert and update", field="catch_up.logical"
            )
        return MysqlColumnCapture(system, column)
