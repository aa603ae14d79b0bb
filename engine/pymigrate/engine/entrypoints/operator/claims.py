"""Which custom resource speaks for a name in the engine where several would: the one that has it, or was there first."""

from collections import defaultdict
from collections.abc import Sequence

from pymigrate.engine.entrypoints.operator.objects import Key

Claim = tuple[bool, str, str, Key]


class Claims:
    """By resource names in the engine. Whoever has one there keeps it; otherwise the time of creation decides, and the uid between those of
    one second."""

    def __init__(self) -> None:
        self._claims: defaultdict[str, set[Claim]] = defaultdict(set)
        self._own: dict[Key, tuple[str, Claim]] = {}

    def claim(self, name: str, created: str, uid: str, key: Key, *, has_it: bool = False) -> Key:
        """Who speaks for a name, now that this one would too; a resource has one name at a time."""
        claim = (not has_it, created, uid, key)
        if self._own.get(key) != (name, claim):
            self.drop(key)
            self._claims[name].add(claim)
            self._own[key] = (name, claim)
        return min(self._claims[name])[-1]

    def is_claimed(self, name: str) -> bool:
        """Whether anybody would speak for it."""
        return name in self._claims

    def drop(self, key: Key) -> Sequence[Key]:
        """It is gone, or is called otherwise; those that would speak for its name besides."""
        name, claim = self._own.pop(key, ("", None))
        if claim is None:
            return ()
        others = self._claims[name]
        others.discard(claim)
        if not others:
            del self._claims[name]
        return sorted(each[-1] for each in others)
