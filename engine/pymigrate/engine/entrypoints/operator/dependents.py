"""Which custom resources wait for something of their environment, to be looked at again once anything there was applied or deleted."""

from collections import defaultdict
from collections.abc import Collection

from pymigrate.engine.entrypoints.operator.objects import Key


def plan_place(namespace: str, plan: str) -> str:
    """Where those wait that wait for a resource which declares a plan."""
    return f"{namespace}/{plan}"


class Dependents:
    """By the last segments of environments, or by `plan_place`. Nobody says what exactly is missing: there may be much, and what is there
    may be wrong."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[Key]] = defaultdict(set)
        self._environments: dict[Key, str] = {}
        self._asked: dict[Key, bool] = {}

    def __len__(self) -> int:
        return len(self._environments)

    def ask(self, environment: str, key: Key) -> None:
        """It waits, and the engine is asked about it: what happens until it has answered counts only if it refuses."""
        self.wait(environment, key)
        self._asked[key] = False

    def answered(self, key: Key) -> bool:
        """The engine has answered, or does not. Whether what still waits is to be looked at again at once, as something happened since."""
        return self._asked.pop(key, False)

    def wait(self, environment: str, key: Key) -> None:
        """From now on."""
        self.forget(key)
        self._environments[key] = environment
        self._waiting[environment].add(key)

    def forget(self, key: Key) -> None:
        """It waits no longer."""
        self._asked.pop(key, None)
        environment = self._environments.pop(key, None)
        if environment is not None:
            self._waiting[environment].discard(key)
            if not self._waiting[environment]:
                del self._waiting[environment]

    def wake(self, environment: str) -> Collection[Key]:
        """Those that wait for something there, as something happened; of those that the engine is asked about it is noted."""
        found = self.of(environment)
        for key in found:
            if key in self._asked:
                self._asked[key] = True
        return [key for key in found if key not in self._asked]

    def of(self, environment: str) -> Collection[Key]:
        """Those that wait for something there; of an empty name, all."""
        return tuple(self._waiting.get(environment, ()) if environment else self._environments)
