"""What an Iceberg target keeps beside the catalogue: staged parts, checkpoints, and a journal of publications."""

from dataclasses import dataclass
from pathlib import Path

from pymigrate.engine.adapters.connectors.parts_store import PartsStore, Publication, read_json
from pymigrate.engine.ports.staging import StagingId


@dataclass(frozen=True, slots=True)
class IcebergPublication(Publication):
    """A journal document. `table` is the UUID of the table that was there, `parent` its snapshot then; `is_kept` says that there was a
    table at all. `snapshots` are what was committed, the newest first; `data` is the folder of the published parts below the root."""

    table: str = ""
    parent: int | None = None
    snapshots: tuple[int, ...] = ()
    data: str = ""


class IcebergStore(PartsStore):
    """The folder `.pymigrate` of a warehouse."""

    def publication(self, staging: StagingId) -> IcebergPublication | None:
        """The journal's document of the staging."""
        document = read_json(self._publication_path(staging))
        if document is None:
            return None
        del document["files"]
        snapshots = tuple(int(snapshot) for snapshot in document.pop("snapshots"))
        return IcebergPublication(**document, snapshots=snapshots)

    def data(self, publication: IcebergPublication) -> Path:
        """Where the published parts lie."""
        return self.root / publication.data
