"""The text of a file from a place on, unpacked on the way where it is packed.

A place in a packed file is an offset into what it unpacks to, with the CRC-32 of everything before: going on there means unpacking up
to it again, and what is unpacked is confirmed to be the same.
"""

import io
import json
import zlib
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, cast

import pyarrow as pa

from pymigrate.engine.adapters.connectors.stored_files import StoredFile
from pymigrate.engine.domain.errors import DataRefused, SourceChanged
from pymigrate.engine.ports.file_formats import packing_of
from pymigrate.engine.ports.ranges import Position

BUFFER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """How far a text was read: bytes, records, and for a packed one the CRC-32 of those bytes."""

    offset: int = 0
    row: int = 0
    crc: int | None = None

    def position(self) -> Position:
        """As a text that `place_of` reads."""
        place = {"offset": self.offset, "row": self.row}
        return Position(json.dumps(place if self.crc is None else {**place, "crc": self.crc}))

    def after(self, block: bytes, rows: int) -> "Place":
        """The place behind these bytes, which hold so many records."""
        crc = None if self.crc is None else zlib.crc32(block, self.crc)
        return Place(self.offset + len(block), self.row + rows, crc)


def place_of(position: Position | None, start: Place) -> Place:
    """A position's place; the start without one."""
    if position is None:
        return start
    place = json.loads(position)
    return Place(int(place["offset"]), int(place["row"]), place.get("crc"))


def start_of(file: StoredFile) -> Place:
    """The place before everything."""
    return Place(crc=0 if packing_of(file.name) else None)


class TextStream:
    """Reads forward from a place. Raises DataRefused for packed data that is damaged or cut off, and SourceChanged where the place is
    no longer there."""

    def __init__(self, file: StoredFile, place: Place) -> None:
        self._file = file
        self._raw: BinaryIO = file.open()
        self._text: BinaryIO = self._raw
        self._packing = packing_of(file.name)
        self.row = place.row
        try:
            self._go_to(place)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "TextStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, size: int) -> bytes:
        """The next bytes; fewer only at the end."""
        try:
            return self._text.read(size)
        except OSError as error:
            raise self._damaged(error) from error

    def readline(self, size: int) -> bytes:
        """The next line with its end, or the first bytes of a longer one."""
        try:
            return self._text.readline(size)
        except OSError as error:
            raise self._damaged(error) from error

    def close(self) -> None:
        """Closes the file. May be called again."""
        if self._text is not self._raw:
            self._text.close()
        self._raw.close()

    def _go_to(self, place: Place) -> None:
        if self._packing is None:
            self._seek(place)
            return
        unpacked = pa.CompressedInputStream(pa.PythonFile(self._raw, "r"), self._packing)
        self._text = io.BufferedReader(_Unpacked(unpacked), BUFFER_BYTES)
        crc, left = 0, place.offset
        while left and (block := self.read(min(left, BUFFER_BYTES))):
            crc, left = zlib.crc32(block, crc), left - len(block)
        if left or crc != place.crc:
            raise self._changed(place)

    def _seek(self, place: Place) -> None:
        """To a place, behind which something follows only if a line ends before it."""
        if place.offset == 0:
            return
        self._raw.seek(place.offset - 1)
        end = self._raw.read(1)
        if not end or (end != b"\n" and self._raw.read(1)):
            raise self._changed(place)
        self._raw.seek(place.offset)

    def _changed(self, place: Place) -> SourceChanged:
        return SourceChanged(
            f"{self._file.name} no longer holds the {place.row:,} records that were read of it (up to byte {place.offset:,}): it "
            "changed since; stop what writes to it, then retry the run",
            field="source.relation",
        )

    def _damaged(self, error: OSError) -> DataRefused | OSError:
        """The error of the unpacking; one of the file itself stays as it is."""
        if self._packing is None or error.errno is not None:
            return error
        return DataRefused(
            f"{self._file.name}, after row {self.row}: the {self._packing} data is damaged or cut off ({error}): "
            "write the file anew, or fetch it again",
            field="source.relation",
        )


class _Unpacked(io.RawIOBase):
    """Arrow's stream as Python's."""

    def __init__(self, stream: pa.NativeFile) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        return cast(int, self._stream.readinto(buffer))
