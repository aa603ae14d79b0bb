"""Values that must not arrive: pseudonyms from a key, or nothing at all.

`hash` is HMAC-SHA-256 of the value's text under the key, as 64 hexadecimal digits. `tokenise` is the first 128 bits of HMAC-SHA-256 under a
key derived from it, as `tok_` and 26 characters of base 32 in lower case. Both are the same for the same text in every column, lane, run
and machine that has the key, so that what was joined before can be joined after. NULL stays NULL.
"""

import base64
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.arrow_types import arrow_schema
from pymigrate.engine.ports.transform import Mask, Masked, MaskMethod, Outcome
from pymigrate.engine.transfer.transforms.casting import cast
from pymigrate.engine.transfer.transforms.problems import column_of, raise_if_any, unknown
from pymigrate.engine.transfer.transforms.sql import SqlEngine, quote

TOKEN_MARK = "tok_"  # noqa: S105 (what every pseudonym begins with)
TOKEN_BYTES = 16
KEY_BYTES_MIN = 16
REDACTED = "[redacted]"
STRING = ColumnType("string")
_TOKEN_PURPOSE = b"pymigrate/tokenise/1"


def hashed(key: bytes, text: str) -> str:
    """The hash of a value's text."""
    return hmac.digest(key, text.encode(), "sha256").hex()


def token(key: bytes, text: str) -> str:
    """The pseudonym of a value's text."""
    own = hmac.digest(key, _TOKEN_PURPOSE, "sha256")
    digest = hmac.digest(own, text.encode(), "sha256")[:TOKEN_BYTES]
    return TOKEN_MARK + base64.b32encode(digest).decode().rstrip("=").lower()


class MaskStep:
    """See the port. A masked column is text, whatever it was."""

    is_stateful = False

    def __init__(self, given: Sequence[ColumnInfo], spec: Mask, texts: Mapping[str, str], engine: SqlEngine) -> None:
        self.columns = tuple(
            ColumnInfo(column.name, STRING, column.is_required) if column.name in spec.columns else column
            for column in given
        )
        self.origins = {column.name: column.name for column in given if column.name not in spec.columns}
        self._methods = {name: _method(masked, spec.key) for name, masked in spec.columns.items()}
        self._texts = dict(texts)
        self._engine = engine
        self._schema = arrow_schema(self.columns)

    def apply(self, batch: pa.RecordBatch) -> Outcome:
        """Each distinct text of a batch is masked once."""
        found = self._engine.run(batch, self._texts)
        arrays = [
            _masked(found.column(name), self._methods[name]) if name in self._methods else batch.column(name)
            for name in self._schema.names
        ]
        return Outcome(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        """Gives up its DuckDB."""
        self._engine.close()


def bind_mask(spec: Mask, given: Sequence[ColumnInfo]) -> MaskStep:
    """Raises InvalidDefinition for columns that are not there or have no text, and for a key that is too short to keep a secret."""
    raise_if_any(unknown("mask.columns", spec.columns, given))
    engine, texts = SqlEngine(), dict[str, str]()
    try:
        raise_if_any(_problems(spec, given, engine, texts))
    except BaseException:
        engine.close()
        raise
    return MaskStep(given, spec, texts, engine)


def _problems(spec: Mask, given: Sequence[ColumnInfo], engine: SqlEngine, texts: dict[str, str]) -> Iterator[Problem]:
    is_keyed = any(masked.method is not MaskMethod.REDACT for masked in spec.columns.values())
    if is_keyed and len(spec.key) < KEY_BYTES_MIN:
        yield Problem(
            "mask.key", f"leads to a key of fewer than {KEY_BYTES_MIN} bytes: its pseudonyms could be guessed"
        )
    for name in spec.columns:
        column = column_of(name, given)
        native = engine.type_of(quote(name), given)
        how = cast(quote(name), native, STRING)
        if column.type.kind == "bytes":
            texts[name] = f"lower(hex({quote(name)}))"
        elif how is None:
            yield Problem(f"mask.columns.{name}", f"is {native}, which has no text of its own")
        else:
            texts[name] = how.value


def _method(masked: Masked, key: bytes) -> Callable[[str], str | None]:
    match masked.method:
        case MaskMethod.HASH:
            return lambda text: hashed(key, text)
        case MaskMethod.TOKENISE:
            return lambda text: token(key, text)
        case MaskMethod.REDACT:
            return lambda _: masked.text or REDACTED


def _masked(column: pa.ChunkedArray, method: Callable[[str], str | None]) -> pa.Array:
    encoded = pc.dictionary_encode(column.cast(pa.string()).combine_chunks())
    values = pa.array([method(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return values.take(encoded.indices)
