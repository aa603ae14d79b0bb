"""A trail that a test writes, with real links and real seals, and a store that gives it: what is exported can be verified."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pymigrate.engine.domain.audit_chain import NOTHING, Head, Seal, link_hash, merkle_root, seal_hash, seal_message
from pymigrate.engine.ports.audit import AuditFilter, Found
from pymigrate.engine.ports.feed import FeedEntry, Position, as_written, read_position

RUN = "environments/prod/plans/p/runs/r"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
LOOKED = 5


@dataclass
class Trail:
    """Entries in the feed's order, their seals, and the bases of what is gone. `looked` is how many entries a search looks at."""

    entries: list[FeedEntry] = field(default_factory=list)
    seals: list[tuple[Seal, list[Head]]] = field(default_factory=list)
    bases: list[Head] = field(default_factory=list)
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    looked: int = LOOKED
    reads: int = 0
    seal_lists: int = 0
    before_read: Callable[[int], None] = lambda number: None

    def __post_init__(self) -> None:
        self._heads: dict[str, Head] = {}
        self._moved: dict[str, Head] = {}

    @property
    def public_key(self) -> str:
        """As the engine tells it."""
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def add(
        self, type_: str = "create", subject: str = "environments/prod", chain: str = "w1", **more: Any
    ) -> FeedEntry:
        """Writes an entry at the end of its chain."""
        head = self._heads.get(chain, Head(chain, 0, NOTHING))
        number = len(self.entries) + 1
        entry = FeedEntry(
            id=number,
            position=str(Position(0, number)),
            time=EPOCH + timedelta(seconds=number),
            type=type_,
            subject=subject,
            actor=more.pop("actor", "service/ann"),
            chain=chain,
            place=head.place + 1,
            sequence=head.place + 1 if more.get("run") else 0,
            **more,
        )
        entry = replace(entry, hash=link_hash(head.hash, as_written(entry)))
        self.entries.append(entry)
        self._heads[chain] = self._moved[chain] = Head(chain, entry.place, entry.hash)
        return entry

    def fill(self, count: int, **more: Any) -> None:
        """Writes so many."""
        for _ in range(count):
            self.add(**more)

    def seal(self) -> Seal:
        """Seals what has moved."""
        number = len(self.seals) + 1
        heads = sorted([*self._moved.values(), *self.bases], key=lambda head: (head.is_base, head.chain))
        previous = seal_hash(self.seals[-1][0]) if self.seals else b""
        time, root = EPOCH + timedelta(hours=number), merkle_root(heads)
        message = seal_message(number, time, len(heads), root, previous)
        key_id = sha256(self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
        position = self.entries[-1].position if self.entries else ""
        sealed = Seal(number, time, len(heads), root, previous, self.key.sign(message), key_id, position)
        self.seals.append((sealed, heads))
        self._moved = {}
        return sealed

    async def read(self, work: Callable[[Any], Any]) -> Any:
        """As a store does."""
        self.reads += 1
        self.before_read(self.reads)
        return work(SimpleNamespace(feed=self, seals=_Seals(self), audit=self))

    def after(self, cursor: str, limit: int) -> tuple[Sequence[FeedEntry], str]:
        """As the feed does."""
        place = read_position(cursor)
        found = [entry for entry in self.entries if read_position(entry.position) > place][:limit]
        return found, found[-1].position if found else cursor

    def end(self) -> str:
        """As the feed does."""
        return self.entries[-1].position if self.entries else ""

    def find(self, asked: AuditFilter, after: int, limit: int) -> Found:
        """As the trail does: a few are looked at."""
        behind = [entry for entry in self.entries if entry.id > after]
        seen, found = behind[: self.looked], []
        for entry in seen:
            if not asked.principal or entry.actor == asked.principal:
                found.append(entry)
            if len(found) == limit:
                return Found(found, entry.id, entry is behind[-1])
        return Found(found, seen[-1].id if seen else after, len(seen) == len(behind))


class _Seals:
    def __init__(self, trail: Trail) -> None:
        self._trail = trail

    def list(self, after: int, limit: int) -> Sequence[Seal]:
        self._trail.seal_lists += 1
        return [seal for seal, _ in self._trail.seals if seal.number > after][:limit]

    def heads(self, number: int) -> Sequence[Head]:
        return next(heads for seal, heads in self._trail.seals if seal.number == number)

    def bases(self) -> Sequence[Head]:
        return sorted(self._trail.bases, key=lambda head: head.chain)


def make() -> Trail:
    """A run's chain and two writers', sealed twice, with two entries behind that no seal is over."""
    trail = Trail()
    for number in range(4):
        trail.add("create", f"environments/e{number}", "w1")
        trail.add("run.started", RUN, RUN, run=RUN)
    trail.seal()
    for _ in range(4):
        trail.add("update", chain="w2")
        trail.add("run.failed", RUN, RUN, run=RUN)
    trail.seal()
    trail.add(chain="w2")
    trail.add(chain="w3")
    return trail
