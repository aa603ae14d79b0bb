"""MySQL and MariaDB databases, as sources."""

from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.ports.connector import Source, SystemSpec, Target


class MysqlConnector:
    """Databases by `host`, `port`, `database` and `user`."""

    kind = "mysql"

    def open_source(self, system: SystemSpec) -> Source:
        """Connects, and reads under one snapshot. Raises SystemUnavailable where it can't connect."""
        from pymigrate.engine.adapters.connectors.mysql_source import MysqlSource

        return MysqlSource(system)

    def open_target(self, system: SystemSpec) -> Target:
        """There is none."""
        raise FailedPrecondition(f"`{system.name}` is a MySQL database, which is a source only")
