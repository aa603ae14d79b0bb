"""Links, chains and seals of the audit trail: what is hashed of an entry, of the heads of chains, and of a seal.

Every field is hashed with its length, so that nothing can be moved from one into the next, and anybody can compute it again. Heads and
seals are rows of netstrings (https://cr.yp.to/proto/netstrings.txt, without the comma); entries, of which there are millions, are packed.
"""

import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pymigrate.engine.domain.run import Failure

# What comes before the first link of a chain.
NOTHING = bytes(32)
# The chain that those entries count as which were written before there were chains.
UNLINKED = ""
ENTRY_TAG = b"pymigrate-audit/link"
SEAL_TAG = "pymigrate-audit/seal"
TEXTS = 17
_sizes = struct.Struct(f">3q{TEXTS}I").pack
_LEAF, _NODE = b"\x00", b"\x01"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Written(NamedTuple):
    """An entry as it is hashed: all but `sequence` and `hash`. `time_microseconds` counts from 1970, `failure` is `failure_text`. An entry
    of before there were chains has no hash. Numbers come first, so that one slice takes all texts."""

    sequence: int
    time_microseconds: int
    version: int
    place: int
    chain: str
    principal: str
    origin: str
    action: str
    subject: str
    method: str
    run: str
    revision: str
    from_state: str
    to_state: str
    before_digest: str
    after_digest: str
    detail: str
    failure: str
    outcome: str
    request_id: str
    trace_id: str
    hash: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """The last link of a chain, as a seal holds it; `is_base`: the last one that retention took away, with which the rest begins."""

    chain: str
    place: int
    hash: bytes
    is_base: bool = False


@dataclass(frozen=True, slots=True)
class Seal:
    """A signed root over the heads that have moved since the seal before. `position` is how far the stream was sealed, as a cursor of the
    feed; it is not signed, for the heads say the same."""

    number: int
    time: datetime
    head_count: int
    root: bytes
    previous: bytes
    signature: bytes
    key_id: bytes
    position: str = ""


def canonical(entry: Written) -> bytes:
    """What is hashed of an entry: the tag; time, version and place in eight bytes each; of each text the length in UTF-8 bytes in four; the
    texts. All numbers are big-endian."""
    texts = entry[4:-1]
    text = "".join(texts)
    # Of ASCII there are as many bytes as characters, and a string knows whether it is.
    sizes = map(len, texts if text.isascii() else [each.encode() for each in texts])
    return ENTRY_TAG + _sizes(*entry[1:4], *sizes) + text.encode()


def link_hash(previous: bytes, entry: Written) -> bytes:
    """The hash of a link whose predecessor has the hash `previous`; NOTHING before the first."""
    return hashlib.sha256(previous + canonical(entry)).digest()


def failure_text(failure: Failure | None) -> str:
    """A failure as it is hashed and stored; empty where there is none."""
    return "" if failure is None else json.dumps(asdict(failure), ensure_ascii=False, separators=(",", ":"))


def heads_in_order(heads: Iterable[Head]) -> list[Head]:
    """The heads of a seal in the order of its leaves."""
    return sorted(heads, key=lambda head: (head.is_base, head.chain))


def merkle_root(heads: Iterable[Head]) -> bytes:
    """The root of the tree over heads, made as in RFC 6962: leaves and nodes can't be taken for each other."""
    level = [hashlib.sha256(_LEAF + _leaf(head)).digest() for head in heads_in_order(heads)]
    while len(level) > 1:
        joined = [
            hashlib.sha256(_NODE + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)
        ]
        level = joined + level[len(joined) * 2 :]
    return level[0] if level else hashlib.sha256(b"").digest()


def seal_message(number: int, time: datetime, head_count: int, root: bytes, previous: bytes) -> bytes:
    """What is signed of a seal."""
    moment = str(microseconds_of(time))
    return _netstrings((SEAL_TAG, str(number), moment, str(head_count), root.hex(), previous.hex()))


def seal_hash(seal: Seal) -> bytes:
    """What the next seal names as the one before it."""
    message = seal_message(seal.number, seal.time, seal.head_count, seal.root, seal.previous)
    return hashlib.sha256(message + seal.signature).digest()


def microseconds_of(time: datetime) -> int:
    """What is counted of a time since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def _leaf(head: Head) -> bytes:
    kind = "base" if head.is_base else "head"
    return _netstrings((kind, head.chain, str(head.place), head.hash.hex()))


def _netstrings(texts: Sequence[str]) -> bytes:
    parts = [text.encode() for text in texts]
    return b"".join(b"%d:%b" % (len(part), part) for part in parts)
