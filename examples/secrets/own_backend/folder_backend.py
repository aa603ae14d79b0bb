"""A secret backend of one's own: a folder with a folder for each secret, and in it a file for each version, as in
`legacy/3.json`. A reference `mine://legacy#password` is a field of the newest one.

It is the whole of what a package needs: a kind that is opened with what was declared, and a backend that reads. What it gives is kept in
memory, told to the redactor and asked for again by PyMigrate.
"""

import json
from pathlib import Path

from pymigrate.engine.domain.errors import InvalidDefinition, Problem, SecretMissing, SecretsUnavailable
from pymigrate.engine.ports.secret_backend import PREVIOUS, BackendOptions, Lease, SecretDocument
from pymigrate.engine.ports.secrets import Secret, SecretRef


class FolderBackend:
    """Reads below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def login(self) -> str:
        """There is none, but the folder must be there: it may be mounted from elsewhere."""
        if not self._folder.is_dir():
            raise SecretsUnavailable(f"{self._folder} is not mounted")
        return "folder 1.0"

    def read(self, ref: SecretRef, version: str = "") -> SecretDocument:
        """A version. No error holds what is in a file."""
        self.login()
        place = self._folder / ref.location
        if not place.resolve().is_relative_to(self._folder.resolve()):
            raise SecretMissing(f"{ref}: leads out of the folder")
        versions = sorted((int(path.stem) for path in place.glob("*.json") if path.stem.isdecimal()), reverse=True)
        if version == PREVIOUS:
            versions = versions[1:]
        elif version:
            versions = [each for each in versions if str(each) == version]
        if not versions:
            raise SecretMissing(f"{ref}: there is no such secret or version")
        found = str(versions[0])
        try:
            document = json.loads((place / f"{found}.json").read_text())
        except (OSError, ValueError):
            raise SecretMissing(f"{ref}: version {found} is no JSON") from None
        return SecretDocument({key: Secret(str(value), found) for key, value in document.items()}, found)

    def renew(self, lease: Lease) -> Lease:
        """Nothing is made on demand."""
        raise SecretMissing("nothing is leased here")

    def revoke(self, lease: Lease) -> None:
        """Nothing is made on demand."""

    def close(self) -> None:
        """Nothing is open."""


class FolderKind:
    """What the entry point leads to."""

    kind = "folder"

    def open(self, options: BackendOptions) -> FolderBackend:
        """Nothing is looked at yet. Raises InvalidDefinition for what can't be meant."""
        folder = Path(options.options.get("folder", ""))
        if not folder.is_absolute():
            raise InvalidDefinition((Problem("plugin.options.folder", "must be an absolute path"),))
        return FolderBackend(folder)
