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


@dataclass(frozen=True, slots=True)
class _Known:
    connections: Bodies
    digest: str


class PlanHashes:
    """Digests by what they are made of, those that were not asked for longest forgotten first."""

    def __init__(self) -> None:
        self._held: OrderedDict[Bodies, _Known] = OrderedDict()
        self._declared: OrderedDict[Bodies, str] = OrderedDict()

    def held(self, resources: ResourcesRead, plan: str, connections: Mapping[str, bytes]) -> str:
        """The hash of a plan that a run of it would have. `connections` are the environment's, as they hold."""
        bodies = tuple((each.name, each.resolved or each.body) for each in _phases(resources, plan))
        known = self._held.get(bodies)
        if known is not None and all(connections.get(name) == body for name, body in known.connections):
            self._held.move_to_end(bodies)
            return known.digest
        phases = {last_segment(name): PHASES.message().FromString(body) for name, body in bodies}
        used = tuple((name, connections[name]) for name in used_connections(phases) if name in connections)
        digest = plan_hash(phases, {name: CONNECTIONS.message().FromString(body) for name, body in used})
        self._held[bodies] = _Known(used, digest)
        if len(self._held) > KEPT_MAX:
            self._held.popitem(last=False)
        return digest

    def declared(self, resources: ResourcesRead, plan: str) -> str:
        """The digest of a plan as its environment declares it: equal where two environments declare the same."""
        own = [each for each in _phases(resources, plan) if each.managed_by != INHERITANCE]
        bodies = tuple((each.name, each.body) for each in own)
        if bodies in self._declared:
            self._declared.move_to_end(bodies)
        else:
            phases = {last_segment(name): PHASES.message().FromString(body) for name, body in bodies}
            self._declared[bodies] = plan_hash(phases, {})
            if len(self._declared) > KEPT_MAX:
                self._declared.popitem(last=False)
        return self._declared[bodies]


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
