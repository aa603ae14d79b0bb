"""Reading a trail again: is fed its entries in the order of the feed, and each seal behind the last entry that it sealed, and names the
first thing that does not hold. Of each chain it keeps the head alone, so that a trail of any length is verified in bounded memory.

What is missing is told apart by what comes later: at another place (reordered), something behind it (removed), nothing any more
(truncated).
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pymigrate.engine.domain.audit_chain import (
    NOTHING,
    UNLINKED,
    Head,
    Seal,
    Written,
    canonical,
    link_hash,
    merkle_root,
    seal_hash,
    seal_message,
)

# Whether a message is signed by the key of that id, and the key is one of the engine's: id, message, signature.
IsSigned = Callable[[bytes, bytes, bytes], bool]
_NONE = 0, NOTHING, 0


class FaultKind(StrEnum):
    """What is wrong with a trail."""

    ALTERED = "altered"
    REMOVED = "removed"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    SEAL_BROKEN = "seal_broken"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that does not hold. `sequence` is the entry that it shows at, of what is missing the one behind it, and 0 where nothing is;
    `seal` the seal that shows it, 0 where the chain itself does."""

    kind: FaultKind
    sequence: int
    chain: str
    place: int
    seal: int
    description: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a whole trail was found to be. `unsealed_count` entries are covered by no seal: what was cut off of these shows nowhere."""

    event_count: int
    chain_count: int
    seal_count: int
    fault: Fault | None
    unsealed_count: int


class Verification:
    """One reading. `known` is a seal that was kept elsewhere, and must be among those that are read. `is_kept`: what is read was taken
    elsewhere and gone on with, so that its bases are those of when it was begun, and later seals may hold later ones."""

    def __init__(
        self, bases: Iterable[Head], is_signed: IsSigned, known: Seal | None = None, *, is_kept: bool = False
    ) -> None:
        bases_by_chain = [replace(base, is_base=True) for base in bases]
        self._bases = {base.chain: base for base in bases_by_chain}
        # Place, hash and sequence of the last link of each chain.
        self._heads = {each.chain: (each.place, each.hash, 0) for each in bases_by_chain if each.chain != UNLINKED}
        self._unlinked_max = self._bases[UNLINKED].place if UNLINKED in self._bases else 0
        self._unlinked_count = 0
        self._is_signed = is_signed
        self._known = known
        self._is_known_met = known is None
        self._sealed: dict[str, int] = {}
        self._sealed_bases: dict[str, Head] = {}
        self._is_kept = is_kept
        self._last_seal: Seal | None = None
        self._event_count = self._seal_count = 0
        self._fault: Fault | None = None
        self._missing: Fault | None = None  # what may turn out to be there, but elsewhere

    @property
    def is_settled(self) -> bool:
        """Whether the first fault is known, and reading on would change nothing of it."""
        return self._fault is not None

    @property
    def has_found(self) -> bool:
        """Whether something does not hold already, though what it is may yet depend on what comes."""
        return self._fault is not None or self._missing is not None

    def entries(self, entries: Sequence[Written]) -> None:
        """The next entries."""
        self._event_count += len(entries)
        if self._fault is not None:
            return
        if self._missing is not None:
            self._look_for_missing(entries)
            return
        heads, sha256 = self._heads, hashlib.sha256
        for at, entry in enumerate(entries):
            chain, place = entry[4], entry[3]
            before, previous, _ = heads.get(chain) or _NONE
            # As `link_hash`, without the call: this is what a million entries spend their time with.
            if place == before + 1 and sha256(previous + canonical(entry)).digest() == entry[-1]:
                heads[chain] = place, entry[-1], entry[0]
            elif not self._is_unlinked(entry):
                self._stray(entry, before)
                self._look_for_missing(entries[at + 1 :])
                return

    def seal(self, seal: Seal, heads: Sequence[Head]) -> None:
        """The next seal, with the heads and bases that it holds; all that it sealed was fed before."""
        self._seal_count += 1
        if self._known is not None and seal.number == self._known.number:
            self._is_known_met = True
        if self._fault is not None or self._missing is not None:
            return
        if said := self._trouble(seal, heads):
            self._fault = Fault(FaultKind.SEAL_BROKEN, 0, "", 0, seal.number, said)
            return
        self._last_seal = seal
        for head in heads:
            if head.is_base:
                if not self._is_kept or self._bases.get(head.chain) == head:
                    self._sealed_bases[head.chain] = head
            elif self._missing is None:
                self._compare(seal.number, head)

    def finish(self) -> Verdict:
        """The verdict, when everything was fed."""
        fault = self._fault or self._missing or self._left_over()
        unsealed = sum(
            place - max(self._sealed.get(chain, 0), self._bases[chain].place if chain in self._bases else 0)
            for chain, (place, _, _) in self._heads.items()
        )
        return Verdict(self._event_count, len(self._heads), self._seal_count, fault, max(unsealed, 0))

    def _is_unlinked(self, entry: Written) -> bool:
        """Whether it is one of those that were written before there were chains."""
        if entry.hash or entry.chain != UNLINKED or self._unlinked_count == self._unlinked_max:
            return False
        self._unlinked_count += 1
        return True

    def _stray(self, entry: Written, before: int) -> None:
        """Something that does not go on from the head of its chain."""
        if entry.place == before + 1 or not entry.hash or entry.chain == UNLINKED:
            said = (
                "its hash is not that of what it says behind the link before it"
                if entry.hash and entry.chain != UNLINKED
                else "it is in no chain, and was not written before there were chains"
            )
            self._fault = _fault(FaultKind.ALTERED, entry, entry.place, said)
        elif moved := self._home(entry):
            said = f"it was written as place {moved.place:,} of the chain {moved.chain}"
            self._fault = _fault(FaultKind.ALTERED, entry, entry.place, said)
        elif entry.place <= before:
            said = f"it stands behind place {before:,} of its chain"
            self._fault = _fault(FaultKind.REORDERED, entry, entry.place, said)
        else:
            said = f"place {before + 1:,} of its chain is missing before it"
            self._missing = _fault(FaultKind.REMOVED, entry, before + 1, said)

    def _home(self, entry: Written) -> Head | None:
        """Where the entry would be the next link, if only its chain or place was altered."""
        for chain, (place, previous, _) in self._heads.items():
            placed = entry._replace(chain=chain, place=place + 1)
            if link_hash(previous, placed) == entry.hash:
                return Head(chain, place + 1, entry.hash)
        first = entry._replace(chain=entry.run or entry.chain, place=1)
        is_first = first.chain not in self._heads and link_hash(NOTHING, first) == entry.hash
        return Head(first.chain, 1, entry.hash) if is_first else None

    def _look_for_missing(self, entries: Sequence[Written]) -> None:
        """Whether what is missing comes later."""
        missing = self._missing
        if missing is None:
            return
        for entry in entries:
            if entry.chain != missing.chain or not entry.hash:
                continue
            if entry.place == missing.place:
                said = f"place {entry.place:,} of its chain stands behind what came after it"
                self._missing, self._fault = None, _fault(FaultKind.REORDERED, entry, entry.place, said)
                return
            if not missing.sequence:
                missing = replace(missing, kind=FaultKind.REMOVED, sequence=entry.sequence)
                self._missing = missing

    def _trouble(self, seal: Seal, heads: Sequence[Head]) -> str:
        """What is wrong with a seal by itself; empty where nothing is."""
        last = self._last_seal
        if seal.number != (last.number if last else 0) + 1:
            return f"seal {(last.number if last else 0) + 1:,} is missing before it"
        if seal.previous != (seal_hash(last) if last else b""):
            return "it does not name the seal before it as that is"
        if seal.head_count != len(heads) or seal.root != merkle_root(heads):
            return "its root is not that of the heads that are kept with it"
        if self._known is not None and self._known.number == seal.number and not _is_same(seal, self._known):
            return "it is another one than the seal that is known"
        message = seal_message(seal.number, seal.time, seal.head_count, seal.root, seal.previous)
        if not self._is_signed(seal.key_id, message, seal.signature):
            return "it is not signed by a key of this engine"
        return ""

    def _compare(self, number: int, sealed: Head) -> None:
        """A sealed head with the chain as it was read."""
        place, digest, sequence = self._heads.get(sealed.chain, _NONE)
        base = self._bases.get(sealed.chain)
        self._sealed[sealed.chain] = max(self._sealed.get(sealed.chain, 0), sealed.place)
        if place == sealed.place:
            if digest != sealed.hash:
                said = (
                    "the chain was sealed with another hash at this place: this link or one before it was written anew"
                )
                self._fault = self._fault or Fault(
                    FaultKind.ALTERED, sequence, sealed.chain, sealed.place, number, said
                )
        elif place < sealed.place:
            said = f"the chain ends with place {place:,}, and was sealed up to {sealed.place:,}"
            self._missing = Fault(FaultKind.TRUNCATED, 0, sealed.chain, place + 1, number, said)
        elif base is None or base.place < sealed.place:
            said = (
                f"the chain {sealed.chain} had come to place {place:,} already, and was sealed up to {sealed.place:,}"
            )
            self._fault = self._fault or Fault(FaultKind.SEAL_BROKEN, 0, sealed.chain, sealed.place, number, said)

    def _left_over(self) -> Fault | None:
        """What shows at the end alone."""
        if self._known is not None and not self._is_known_met:
            said = f"seal {self._known.number:,} is known, and there is none of that number: it was cut off with all behind it"
            return Fault(FaultKind.SEAL_BROKEN, 0, "", 0, self._known.number, said)
        if self._unlinked_count < self._unlinked_max:
            said = f"of {self._unlinked_max:,} entries from before there were chains {self._unlinked_count:,} are left"
            return Fault(FaultKind.REMOVED, 0, UNLINKED, 0, 0, said)
        if self._last_seal is None:
            return None
        for chain, base in sorted(self._bases.items()):
            if self._sealed_bases.get(chain) != base:
                said = f"the chain {chain or 'of what is in no chain'} begins behind place {base.place:,}, and no seal says so"
                return Fault(FaultKind.REMOVED, 0, chain, base.place, 0, said)
        for chain, base in sorted(self._sealed_bases.items()):
            if chain not in self._bases:
                said = f"a seal says that the chain {chain} begins behind place {base.place:,}, and its base is gone"
                return Fault(FaultKind.SEAL_BROKEN, 0, chain, base.place, self._last_seal.number, said)
        return None


def _fault(kind: FaultKind, entry: Written, place: int, said: str) -> Fault:
    return Fault(kind, entry.sequence, entry.chain, place, 0, said)


def _is_same(seal: Seal, known: Seal) -> bool:
    return seal_hash(seal) == seal_hash(known)
