"""What others answered, as errors and the ledger keep it: one line, not too long, and without any secret, nor the beginning of one."""

from collections.abc import Iterable

from pymigrate.engine.ports.channel import ANSWER_CHARACTERS_MAX
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.secrets import HIDDEN, Secret

ANSWER_BYTES_MAX = 4_096
SPELLING_MAX = 3  # a percent-encoded one is that much longer


class Answers:
    """Writes what receivers said without the secrets that it was told of."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._redactor = Redactor()
        self._longest = 0
        for secret in secrets:
            self.note(secret)

    def note(self, secret: Secret) -> None:
        """From now on this secret is taken out."""
        self._longest = max(self._longest, SPELLING_MAX * len(secret.reveal()))
        self._redactor.note(secret)

    def said(self, text: str, *, is_cut: bool = False) -> str:
        """The text as one line. Where it `is_cut`, its end may hold the beginning of a secret, and is left out."""
        cleaned = self._redactor.clean(text)
        if is_cut and self._longest:
            cleaned = cleaned[: -self._longest] + HIDDEN
        if not cleaned.isprintable():
            cleaned = "".join(character if character.isprintable() else " " for character in cleaned)
        return " ".join(cleaned.split())[:ANSWER_CHARACTERS_MAX]
