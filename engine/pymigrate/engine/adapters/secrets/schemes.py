"""Chooses where a secret is read by its reference's scheme, and tells the redactor of every value that was read."""

from collections.abc import Mapping

from pymigrate.engine.domain.errors import SecretMissing
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secrets import Secret, SecretRef, Secrets


class SecretsByScheme:
    """Reads from one place for each scheme."""

    def __init__(self, places: Mapping[str, Secrets], redactor: Redactor) -> None:
        self._places = places
        self._redactor = redactor

    def read(self, ref: SecretRef) -> Secret:
        """The value. Raises SecretMissing, also for a scheme that there is none for."""
        place = self._places.get(ref.scheme)
        if place is None:
            known = ", ".join(f"{scheme}://" for scheme in sorted(self._places))
            raise SecretMissing(f"{ref.scheme}:// is no place for secrets: use one of {known}")
        secret = place.read(ref)
        self._redactor.note(secret)
        return secret
