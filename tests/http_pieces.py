"""HTTP/1.1 as a proxy of tests reads and writes it: heads, bodies with a length or in chunks, byte for byte."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

HEAD_BYTES_MAX = 256 * 1024
PIECE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Head:
    """The first line and the fields, whose names are in small letters."""

    line: str
    fields: dict[str, str]
    raw: bytes

    @property
    def is_chunked(self) -> bool:
        """Whether a body comes in chunks."""
        return "chunked" in self.fields.get("transfer-encoding", "").lower()

    @property
    def length(self) -> int:
        """Of a body that does not."""
        return int(self.fields.get("content-length", "0"))

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.line.split(" ", 2)[1])


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next one; None where the other side has ended."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    line, *rest = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
    return Head(line, fields, raw)


async def pieces(reader: asyncio.StreamReader, head: Head) -> AsyncIterator[bytes]:
    """A body's content, as it comes in, without the marks of chunks."""
    if head.is_chunked:
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readuntil(b"\r\n")
        return
    left = head.length
    while left:
        piece = await reader.read(min(left, PIECE_BYTES))
        if not piece:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(piece)
        yield piece


async def whole(reader: asyncio.StreamReader, head: Head) -> bytes:
    """A body to its end."""
    return b"".join([piece async for piece in pieces(reader, head)])


def chunk(content: bytes) -> bytes:
    """Content as one chunk; nothing as the last."""
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


def answer(status: int, fields: dict[str, str], content: bytes) -> bytes:
    """A whole answer."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Said\r\n{lines}Content-Length: {len(content)}\r\n\r\n".encode("latin-1") + content
