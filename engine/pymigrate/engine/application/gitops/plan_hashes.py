"""The digests of plans as they stand in a unit of work, kept from one pass to the next: most plans are what they were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from pymigrate.engine.application.environment_layers import INHERITANCE
from pymigrate.engine.application.kinds import CONNECTIONS, PHASES
from pymigrate.engine.application.pages import PAGE_MAX
from pymigrate.engine.application.revisions import content_of, hash_of, phase_digests, used_connections
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.ports.store import Resource, ResourcesRead

KEPT_MAX = 20_000
CONNECTIONS_MAX = 10_000
Bodies = tuple[tuple[str, bytes], ...]
"""Names, and what holds."""


@dataclass(frozen=True, slots=True)
class Hashes:
    """`held` is the hash of the plan that a run of it would have; `declared` that of what its environment declares, before parameters,
    overrides and connections."""

    held: str
    declared: str


class PlanHashes:
    """Hashes by what they are made of. Several threads may ask at once."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Bodies, Hashes]] = {}
        self._contents: dict[bytes, Mapping[str, Any]] = {}

    def of(self, resources: ResourcesRead, plan: str, connections: Mapping[str, bytes]) -> Hashes:
        """Those of a plan. `connections` are its environment's, as they hold."""
        phases = _phases(resources, plan)
        key = _key(phases)
        known = self._known.get(key)
        if known is not None and all(connections.get(name, b"") == body for name, body in known[0]):
            return known[1]
        held = {last_segment(each.name): PHASES.message().FromString(each.resolved or each.body) for each in phases}
        used = tuple((name, connections.get(name, b"")) for name in used_connections(held))
        contents = {name: self._content(body) for name, body in used if body}
        if any(each.resolved or each.managed_by == INHERITANCE for each in phases):
            own = [each for each in phases if each.managed_by != INHERITANCE]
            declared = {last_segment(each.name): PHASES.message().FromString(each.body) for each in own}
            digests = (*phase_digests(held, contents), *phase_digests(declared, {}))
        else:
            digests = phase_digests(held, contents, {})
        hashes = Hashes(*map(hash_of, digests))
        if len(self._known) >= KEPT_MAX:
            self._known.clear()
        self._known[key] = used, hashes
        return hashes

    def _content(self, connection: bytes) -> Mapping[str, Any]:
        """What of a connection counts; most are used by many plans."""
        known = self._contents.get(connection)
        if known is None:
            if len(self._contents) >= CONNECTIONS_MAX:
                self._contents.clear()
            self._contents[connection] = known = content_of(CONNECTIONS.message().FromString(connection))
        return known


def connection_bodies(resources: ResourcesRead, environment: str) -> dict[str, bytes]:
    """The connections of an environment as they hold, by their last segments."""
    found: dict[str, bytes] = {}
    after = ""
    while page := resources.list("connections", environment, after, PAGE_MAX):
        found |= {last_segment(each.name): each.resolved or each.body for each in page}
        after = page[-1].name
    return found


def _key(phases: Sequence[Resource]) -> bytes:
    """A digest of everything of phases that makes a difference; each part tells its length, so that none is taken for another."""
    digest = blake2b(digest_size=16)
    for each in phases:
        is_own = b"" if each.managed_by == INHERITANCE else b"own"
        for part in (each.name.encode(), each.body, each.resolved, is_own):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def _phases(resources: ResourcesRead, plan: str) -> list[Resource]:
    found: list[Resource] = []
    while page := resources.list("phases", plan, found[-1].name if found else "", PAGE_MAX):
        found += page
        if len(page) < PAGE_MAX:
            break
    return found
