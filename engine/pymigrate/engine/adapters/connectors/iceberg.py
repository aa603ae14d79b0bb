"""Iceberg tables of an SQL catalogue in a SQLite file, as targets."""

from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.target import Target


class IcebergConnector:
    """Catalogues by `catalog_path`, with their `warehouse`."""

    kind = "iceberg"

    def open_source(self, system: SystemSpec) -> Source:
        """Raises FailedPrecondition."""
        raise FailedPrecondition(
            f"{system.name} is an Iceberg catalogue, which is a target only", field="source.connection"
        )

    def open_target(self, system: SystemSpec) -> Target:
        """Opens the catalogue, and makes it where it is missing."""
        from pymigrate.engine.adapters.connectors.iceberg_target import IcebergTarget

        return IcebergTarget(system)
