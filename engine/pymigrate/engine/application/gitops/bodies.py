"""Definitions as they would be stored, kept from one pass to the next: of a file that is as it was, readers give the same message again."""

from typing import Any

from pymigrate.engine.application.kind import Kind

KEPT_MAX = 50_000


class Bodies:
    """What is made of messages, by the messages themselves, which nobody writes to."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], tuple[Any, Any, bytes]] = {}

    def of(self, kind: Kind[Any], name: str, message: Any) -> tuple[Any, bytes]:
        """The message under its name, with nothing that is kept elsewhere, and what the contract encodes it as."""
        known = self._known.get((id(message), name))
        if known is not None and known[0] is message:
            return known[1], known[2]
        wanted = kind.message()
        wanted.CopyFrom(message)
        wanted.name = name
        wanted.etag = ""
        for field in kind.held_elsewhere:
            wanted.ClearField(field)
        body = wanted.SerializeToString(deterministic=True)
        if len(self._known) >= KEPT_MAX:
            self._known.clear()
        self._known[id(message), name] = message, wanted, body
        return wanted, body
