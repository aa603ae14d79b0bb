"""What was found to be as it is declared, so that to find it so again takes no more than a look at whether anything was written since."""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from pymigrate.engine.application.gitops.definition import Definition
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import definition_pb2

DEFINITIONS_MAX = 50_000
States = Sequence[tuple[str, str, int]]


@dataclass(frozen=True, slots=True)
class Settled:
    """Definitions that made no difference, the states of everything that this hung on, and how their plans hash."""

    messages: Sequence[Any]
    states: Sequence[States]
    environments: frozenset[str]
    plans: Sequence[definition_pb2.PlanChange] = field(default=())


class Unchanged:
    """By what was asked for, that which was not asked for longest forgotten first. Several threads may ask at once."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, Settled] = OrderedDict()
        self._definitions = 0
        self._lock = Lock()

    def find(self, unit: Unit, scope: Hashable, owner: str, definitions: Sequence[Definition]) -> Settled | None:
        """What was kept of exactly these definitions, unless anything that it hung on was written since."""
        known = self._known.get(scope)
        if known is None or len(known.messages) != len(definitions):
            return None
        pairs = zip(known.messages, definitions, strict=True)
        if any(one is not other.message and one != other.message for one, other in pairs):
            return None
        if known.states != _states(unit, owner, known.environments):
            return None
        with self._lock:
            if scope in self._known:
                self._known.move_to_end(scope)
        return known

    def keep(
        self,
        unit: Unit,
        scope: Hashable,
        owner: str,
        definitions: Sequence[Definition],
        plans: Sequence[definition_pb2.PlanChange],
    ) -> None:
        """Keeps that these definitions make no difference. Everything that they declare is the owner's, and of the rest it hangs on
        connections alone, which plans' hashes are made of."""
        environments = frozenset(environment_of(each.plan) for each in plans)
        states = _states(unit, owner, environments)
        settled = Settled([each.message for each in definitions], states, environments, tuple(plans))
        with self._lock:
            self._drop(scope)
            self._known[scope] = settled
            self._definitions += len(definitions)
            while self._definitions > DEFINITIONS_MAX:
                self._drop(next(iter(self._known)))

    def _drop(self, scope: Hashable) -> None:
        known = self._known.pop(scope, None)
        self._definitions -= len(known.messages) if known is not None else 0


def _states(unit: Unit, owner: str, environments: Iterable[str]) -> Sequence[States]:
    return [
        unit.resources.owned(owner),
        *(unit.resources.states("connections", environment) for environment in sorted(environments)),
    ]
