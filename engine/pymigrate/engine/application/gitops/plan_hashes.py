"""The digests of plans as they stand in a unit of work, kept from one pass to the next: most plans are what they were."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from pymigrate.engine.application.environment_layers import INHERITANCE
from pymigrate.engine.application.kind import PAGE_MAX
from pymigrate.engine.application.kinds import CONNECTIONS, PHASES
from pymigrate.engine.application.revisions import plan_hash, used_connections
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.ports.store import Resource, ResourcesRead

KEPT_MAX = 50_000
Bodies = tuple[tuple[str, bytes], ...]
"""Names, and what holds."""
_Key = tuple[tuple[str, bytes, bytes, bool], ...]


@dataclass(frozen=True, slots=True)
class Hashes:
    """`held` is the hash of the plan that a run of it would have; `declared` that of what its environment declares, before parameters,
    overrides and connections."""

    held: str
    declared: str


class PlanHashes:
    """Hashes by what they are made of, those that were not asked for longest forgotten first."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, tuple[Bodies, Hashes]] = OrderedDict()

    def of(self, resources: ResourcesRead, plan: str, connections: Mapping[str, bytes]) -> Hashes:
        """Those of a plan. `connections` are its environment's, as they hold."""
        phases = _phases(resources, plan)
        key = tuple((each.name, each.body, each.resolved, each.managed_by == INHERITANCE) for each in phases)
        known = self._known.get(key)
        if known is not None and all(connections.get(name, b"") == body for name, body in known[0]):
            self._known.move_to_end(key)
            return known[1]
        held = {last_segment(each.name): PHASES.message().FromString(each.resolved or each.body) for each in phases}
        own = [each for each in phases if each.managed_by != INHERITANCE]
        declared = {last_segment(each.name): PHASES.message().FromString(each.body) for each in own}
        used = tuple((name, connections.get(name, b"")) for name in used_connections(held))
        opened = {name: CONNECTIONS.message().FromString(body) for name, body in used if body}
        hashes = Hashes(plan_hash(held, opened), plan_hash(declared, {}))
        self._known[key] = used, hashes
        if len(self._known) > KEPT_MAX:
            self._known.popitem(last=False)
        return hashes


def connection_bodies(resources: ResourcesRead, environment: str) -> dict[str, bytes]:
    """The connections of an environment as they hold, by their last segments."""
    found: dict[str, bytes] = {}
    after = ""
    while page := resources.list("connections", environment, after, PAGE_MAX):
        found |= {last_segment(each.name): each.resolved or each.body for each in page}
        after = page[-1].name
    return found


def _phases(resources: ResourcesRead, plan: str) -> list[Resource]:
    found: list[Resource] = []
    while page := resources.list("phases", plan, found[-1].name if found else "", PAGE_MAX):
        found += page
        if len(page) < PAGE_MAX:
            break
    return found
