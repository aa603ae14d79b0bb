"""What the rules of environments watch, read from the store no more often than they are written. Of everything else that is declared of
notifications nothing is read: there may be thousands of stakeholders, and figures are looked at twice a second."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pymigrate.engine.application.condition_watches import Watch, watches_of
from pymigrate.engine.application.declared_notices import rule_of
from pymigrate.engine.application.kinds import children
from pymigrate.engine.application.notification_kinds import ALERT_RULES
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Store, Unit

AGE_SECONDS_MAX = 2.0


@dataclass(frozen=True, slots=True)
class _Kept:
    """What an environment's rules watch, with the uid and version of each that it was read from."""

    states: frozenset[tuple[str, int]]
    watches: Sequence[Watch]


class RuleWatches:
    """The watches of the environments that were asked for last; at most AGE_SECONDS_MAX old."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._good_until = float("-inf")

    async def of(self, environments: Collection[str]) -> Mapping[str, Sequence[Watch]]:
        """Those of each of these environments."""
        if self._clock.monotonic() >= self._good_until or not set(environments) <= self._kept.keys():
            before = self._kept
            self._kept = await self._store.read(lambda unit: {name: _read(unit, name, before) for name in environments})
            self._good_until = self._clock.monotonic() + AGE_SECONDS_MAX
        return {name: self._kept[name].watches for name in environments}


def _read(unit: Unit, environment: str, before: Mapping[str, _Kept]) -> _Kept:
    resources = list(children(unit, ALERT_RULES.collection, environment))
    states = frozenset((each.uid, each.version) for each in resources)
    known = before.get(environment)
    if known is not None and known.states == states:
        return known
    return _Kept(states, watches_of(rule_of(ALERT_RULES.held(each)) for each in resources))
