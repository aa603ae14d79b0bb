"""The stream of a watch: JSON documents, one a line, which come in pieces that end anywhere."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from pymigrate.engine.adapters.kubernetes.answers import Answer, error_of
from pymigrate.engine.ports.cluster import Change, ChangeKind, ClusterUnavailable

# etcd takes objects up to 1.5 MiB; as JSON, with what the API adds, they are less than this.
LINE_BYTES_MAX = 16 * 1024 * 1024


class Lines:
    """Puts lines together. What is not at its end yet is kept in pieces, so that a long line is copied once."""

    def __init__(self, asked: str) -> None:
        self._asked = asked
        self._pieces: list[bytes] = []
        self._bytes = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The lines that end in this piece, without empty ones. Raises ClusterUnavailable at a line without end."""
        first, *rest = piece.split(b"\n")
        self._keep(first)
        for following in rest:
            line = b"".join(self._pieces)
            self._pieces.clear()
            self._bytes = 0
            self._keep(following)
            if line.strip():
                yield line

    def end(self) -> None:
        """Raises ClusterUnavailable where the stream ended within a line."""
        if self._bytes:
            raise ClusterUnavailable(
                f"{self._asked}: the stream ended within a line, of which {self._bytes} bytes came"
            )

    def _keep(self, piece: bytes) -> None:
        self._bytes += len(piece)
        if self._bytes > LINE_BYTES_MAX:
            raise ClusterUnavailable(f"{self._asked}: a line has more than {LINE_BYTES_MAX} bytes, and no end")
        if piece:
            self._pieces.append(piece)


def change_of(line: bytes, asked: str) -> Change:
    """What a line tells. Raises what an ERROR means."""
    try:
        document = orjson.loads(line)
        kind, found = document["type"], document["object"]
    except (orjson.JSONDecodeError, TypeError, KeyError) as error:
        raise ClusterUnavailable(
            f"{asked}: the stream holds a line of {len(line)} bytes that tells no change"
        ) from error
    if kind == "ERROR":
        raise error_of(Answer(asked, _code(found), found if isinstance(found, Mapping) else {}))
    try:
        return Change(ChangeKind(kind), found)
    except ValueError as error:
        raise ClusterUnavailable(f"{asked}: the stream tells of `{kind}`, which is no kind of change") from error


def _code(found: Any) -> int:
    code = found.get("code") if isinstance(found, Mapping) else None
    return code if isinstance(code, int) else 500
