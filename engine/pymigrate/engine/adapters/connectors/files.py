"""Folders of files: CSV, JSON Lines and Parquet as sources and targets."""

from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.target import Target


class FilesConnector:
    """Folders by `root`."""

    kind = "files"

    def open_source(self, system: SystemSpec) -> Source:
        """Opens the folder. Raises SourceMissing where it is not there."""
        from pymigrate.engine.adapters.connectors.files_source import FilesSource

        return FilesSource(system)

    def open_target(self, system: SystemSpec) -> Target:
        """Opens the folder, and makes it where it is missing."""
        from pymigrate.engine.adapters.connectors.files_target import FilesTarget

        return FilesTarget(system)
