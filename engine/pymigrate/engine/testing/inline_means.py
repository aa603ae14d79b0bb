"""Means of the data plane for virtual time: sources are read on the thread that asks, and rows are hashed without a database."""

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

import numpy as np
import pyarrow as pa

from pymigrate.engine.ports.source import Source
from pymigrate.engine.transfer.checksum import MODULUS, RowHasher
from pymigrate.engine.transfer.means import Means
from pymigrate.engine.transfer.reading import Result, SourceReader

HASH_BYTES = 8


class InlineReader(SourceReader):
    """Reads ahead before the chunk before is used, rather than while."""

    def start(self, use: Callable[[Source], Result]) -> "Future[Result]":
        """Does it at once."""
        done: Future[Result] = Future()
        try:
            done.set_result(use(self._opened()))
        except Exception as error:  # noqa: BLE001 (whoever waits for it raises it)
            done.set_exception(error)
        return done

    def close(self) -> None:
        """Closes the source."""
        self._close()


class PlainHasher(RowHasher):
    """Hashes rows by their text."""

    def __init__(self) -> None:
        """Nothing is opened."""

    def total(self, batches: Iterable[pa.RecordBatch]) -> int:
        """The sum of the rows' hashes modulo 2^64."""
        return sum(_hashes(batches)) % MODULUS

    def each(self, batches: Iterable[pa.RecordBatch]) -> Any:
        """Every row's hash."""
        return np.array(_hashes(batches), np.uint64)

    def close(self) -> None:
        """Nothing is open."""


INLINE = Means(InlineReader, PlainHasher)


def _hashes(batches: Iterable[pa.RecordBatch]) -> list[int]:
    return [
        _hash(row) for batch in batches for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    ]


def _hash(row: tuple[object, ...]) -> int:
    return int.from_bytes(hashlib.blake2b(repr(row).encode(), digest_size=HASH_BYTES).digest(), "big")
