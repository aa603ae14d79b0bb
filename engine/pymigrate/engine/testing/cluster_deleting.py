"""How objects go: finalizers, grace, and what becomes of what they own, which the garbage collector decides."""

from collections.abc import Iterator, Mapping
from typing import Any

from pymigrate.engine.ports.cluster import Object, Propagation
from pymigrate.engine.testing.cluster_history import ClusterHistory, Key
from pymigrate.engine.testing.cluster_types import NAMESPACES, ServedType, ServedTypes

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
OF_PROPAGATION = {Propagation.FOREGROUND: FOREGROUND, Propagation.ORPHAN: ORPHAN}
GRACE_SECONDS = 30
ROUNDS_MAX = 1_000
ENDED = frozenset({"Succeeded", "Failed"})


class ClusterDeletion:
    """Removes objects from a history, at once or once nothing holds them any more."""

    def __init__(self, history: ClusterHistory, types: ServedTypes) -> None:
        self._history = history
        self._types = types

    def begin(
        self, served: ServedType, key: Key, propagation: Propagation, grace_seconds: int | None, moment: str
    ) -> None:
        """Removes an object, or marks it where something holds it still."""
        former = self._history.objects(served.kind)[key]
        metadata = dict(former["metadata"])
        grace = _grace(served, former, grace_seconds)
        if "deletionTimestamp" in metadata:
            if grace >= metadata.get("deletionGracePeriodSeconds", 0):
                return
        else:
            kept = [each for each in metadata.get("finalizers") or () if each not in OF_PROPAGATION.values()]
            if added := OF_PROPAGATION.get(propagation):
                kept.append(added)
            metadata["finalizers"] = kept
            metadata["deletionTimestamp"] = moment
            if "generation" in metadata:
                metadata["generation"] += 1
            if served.kind == NAMESPACES:
                kept.append("kubernetes")
        metadata["deletionGracePeriodSeconds"] = grace
        if not metadata.get("finalizers"):
            metadata.pop("finalizers", None)
        self.keep(served, key, {**former, "metadata": metadata})

    def keep(self, served: ServedType, key: Key, changed: Object) -> Object:
        """Writes an object; one that is being deleted goes where nothing holds it any more."""
        metadata = changed["metadata"]
        is_held = bool(metadata.get("finalizers")) or metadata.get("deletionGracePeriodSeconds", 0) > 0
        if "deletionTimestamp" in metadata and not is_held:
            self._history.remove(served.kind, key)
            return changed
        return self._history.put(served.kind, key, changed)

    def collect(self, moment: str) -> None:
        """What the garbage collector and the namespaces' controller would have done in the end."""
        for _ in range(ROUNDS_MAX):
            if not self._round(moment):
                return
        raise AssertionError(f"garbage is not collected after {ROUNDS_MAX} rounds")

    def _round(self, moment: str) -> bool:
        version = self._history.version
        found = list(self._all())
        uids = {item["metadata"]["uid"] for _, _, item in found}
        for served, key, item in found:
            if self._history.get(served.kind, key) is not item:
                continue  # it has changed in this round: the next one sees to it
            metadata = item["metadata"]
            if served.kind == NAMESPACES and "deletionTimestamp" in metadata:
                self._empty(served, key, item, found, moment)
            elif "deletionTimestamp" in metadata:
                self._release(served, key, item, found, moment)
            elif references := metadata.get("ownerReferences"):
                self._owned(served, key, item, references, uids, moment)
        return self._history.version != version

    def _all(self) -> Iterator[tuple[ServedType, Key, Object]]:
        for kind in self._types.kinds():
            served = self._types.find(kind)
            for key, item in self._history.objects(kind).items():
                yield served, key, item

    def _empty(
        self, served: ServedType, key: Key, item: Object, found: list[tuple[ServedType, Key, Object]], moment: str
    ) -> None:
        inside = [(each, at) for each, at, _ in found if each.kind.is_namespaced and at[0] == key[1]]
        for each, at in inside:
            if at in self._history.objects(each.kind):
                self.begin(each, at, Propagation.BACKGROUND, None, moment)
        if not inside:
            self._drop_finalizer(served, key, item, "kubernetes")

    def _release(
        self, served: ServedType, key: Key, item: Object, found: list[tuple[ServedType, Key, Object]], moment: str
    ) -> None:
        finalizers = item["metadata"].get("finalizers") or ()
        owned = [
            (each, at, dependent)
            for each, at, dependent in found
            if any(one["uid"] == item["metadata"]["uid"] for one in dependent["metadata"].get("ownerReferences") or ())
            and self._history.get(each.kind, at) is dependent
        ]
        if ORPHAN in finalizers:
            for each, at, dependent in owned:
                self._disown(each, at, dependent, {item["metadata"]["uid"]})
            self._drop_finalizer(served, key, item, ORPHAN)
        elif FOREGROUND in finalizers:
            blocking = False
            for each, at, dependent in owned:
                blocking = blocking or _blocks(dependent, item["metadata"]["uid"])
                if "deletionTimestamp" not in dependent["metadata"]:
                    self.begin(each, at, Propagation.BACKGROUND, None, moment)
            if not blocking:
                self._drop_finalizer(served, key, item, FOREGROUND)

    def _owned(
        self, served: ServedType, key: Key, item: Object, references: list[Any], uids: set[str], moment: str
    ) -> None:
        gone = {one["uid"] for one in references if self._types.named(one["apiVersion"], one["kind"])} - uids
        if gone and gone == {one["uid"] for one in references}:
            self.begin(served, key, Propagation.BACKGROUND, None, moment)
        elif gone:
            self._disown(served, key, item, gone)

    def _disown(self, served: ServedType, key: Key, item: Object, uids: set[str]) -> None:
        metadata = dict(item["metadata"])
        left = [one for one in metadata.pop("ownerReferences", ()) if one["uid"] not in uids]
        self.keep(served, key, {**item, "metadata": metadata | ({"ownerReferences": left} if left else {})})

    def _drop_finalizer(self, served: ServedType, key: Key, item: Object, name: str) -> None:
        metadata = dict(item["metadata"])
        left = [each for each in metadata.pop("finalizers", ()) if each != name]
        self.keep(served, key, {**item, "metadata": metadata | ({"finalizers": left} if left else {})})


def _blocks(dependent: Object, uid: str) -> bool:
    references = dependent["metadata"].get("ownerReferences") or ()
    return any(one["uid"] == uid and one.get("blockOwnerDeletion") for one in references)


def _grace(served: ServedType, former: Object, asked: int | None) -> int:
    spec: Mapping[str, Any] = former.get("spec") or {}
    # A pod that is on no node, or has ended, has nobody to wait for.
    if not served.is_graceful or not spec.get("nodeName") or (former.get("status") or {}).get("phase") in ENDED:
        return 0
    return int(spec.get("terminationGracePeriodSeconds", GRACE_SECONDS)) if asked is None else asked
