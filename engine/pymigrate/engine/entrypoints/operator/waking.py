"""Has looked at again what waits for something of an environment, and plans whose hash may be another: once for all that was applied
together, as a call to the engine brings many objects."""

import asyncio
from collections.abc import Callable, Iterable

from pymigrate.engine.entrypoints.operator.dependents import Dependents
from pymigrate.engine.entrypoints.operator.objects import Key

WAKE_SECONDS = 0.05


class Waking:
    """`later` has a key looked at in so many seconds; `plans` are those of an environment."""

    def __init__(
        self,
        dependents: Dependents,
        later: Callable[[Key, float], None],
        plans: Callable[[str], Iterable[Key]],
    ) -> None:
        self._dependents = dependents
        self._later = later
        self._plans = plans
        self._changed: set[str] = set()
        self._hashed: set[str] = set()
        self._is_due = False

    def wake(self, environment: str) -> None:
        """Something of an environment was applied or deleted; an empty one: of all."""
        self._changed.add(environment)
        self._due()

    def hash_turned(self, environment: str) -> None:
        """What a run of its plans would do may be something else now."""
        self._hashed.add(environment)
        self._due()

    def _due(self) -> None:
        """After everybody who has an answer by now has gone on."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._do)

    def _do(self) -> None:
        self._is_due = False
        changed, self._changed = self._changed, set()
        hashed, self._hashed = self._hashed, set()
        for environment in changed:
            for key in self._dependents.wake(environment):
                self._later(key, WAKE_SECONDS)
        for environment in hashed:
            for key in self._plans(environment):
                self._later(key, WAKE_SECONDS)
