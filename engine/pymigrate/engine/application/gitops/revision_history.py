"""What a source has applied before, as going back looks at it: only as much of it is read as decides."""

import re
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC

from pymigrate.engine.domain.reversals import ABSENT, AppliedRevision
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import git_source_pb2

REVISIONS_MAX = 500
PAGE = 20
SOURCES_MAX = 1_000
_HASH = re.compile(rb"[0-9a-f]{64}")
STORED = frozenset({git_source_pb2.GIT_REVISION_STATE_APPLIED, git_source_pb2.GIT_REVISION_STATE_CORRECTED})


def stored_revisions(unit: Unit, uid: str) -> Iterator[tuple[int, git_source_pb2.GitRevision]]:
    """What was applied, the newest first, with its number, among the newest revisions."""
    for number, body in _bodies(unit, uid):
        revision = git_source_pb2.GitRevision.FromString(body)
        if revision.state in STORED:
            yield number, revision


class KnownHashes:
    """The hashes that revisions of sources tell of. What was read once is kept, so that only what has come since is looked at."""

    def __init__(self) -> None:
        self._sources: OrderedDict[str, tuple[int, set[bytes]]] = OrderedDict()

    def of(self, unit: Unit, uid: str, hashes: Collection[str] = ()) -> set[str]:
        """Those of these hashes that any revision of a source tells of."""
        last, known = self._sources.get(uid, (0, set[bytes]()))
        newest, found = last, set[bytes]()
        for number, body in _bodies(unit, uid):
            if number <= last:
                break
            newest = max(newest, number)
            found.update(_HASH.findall(body))
        known = known | found if found else known
        self._sources[uid] = newest, known
        self._sources.move_to_end(uid)
        if len(self._sources) > SOURCES_MAX:
            self._sources.popitem(last=False)
        return {each for each in hashes if each.encode() in known}


def newest_stored(unit: Unit, uid: str) -> git_source_pb2.GitRevision | None:
    """What was applied last."""
    return next((revision for _, revision in stored_revisions(unit, uid)), None)


def plans_of(revision: git_source_pb2.GitRevision) -> dict[str, str]:
    """The plans that a revision declares, with their hashes. Those that it deletes have none."""
    return {each.plan: each.plan_hash for each in revision.plans if each.plan_hash}


def history_of(unit: Unit, uid: str, wanted: Mapping[str, str]) -> tuple[list[AppliedRevision], bool]:
    """What was applied, the oldest first, as far as these plans are concerned: back to where each of them was last
    as it is wanted now (empty: not there). And whether that is everything from the first one on."""
    found: list[AppliedRevision] = []
    missing = set(wanted)
    for number, revision in stored_revisions(unit, uid):
        states = plans_of(revision)
        own = {plan: states[plan] for plan in wanted if plan in states}
        found.append(AppliedRevision(number, revision.commit, revision.time.ToDatetime(UTC), own))
        missing -= {plan for plan in missing if states.get(plan, ABSENT) == wanted[plan]}
        if not missing:
            return found[::-1], False
    return found[::-1], not _is_cut(unit, uid)


def has_been(unit: Unit, uid: str, tree: str) -> bool:
    """Whether the whole folder was so before what it is now."""
    trees = (revision.tree for _, revision in stored_revisions(unit, uid))
    return next(trees, tree) != tree and tree in trees


def _is_cut(unit: Unit, uid: str) -> bool:
    """Whether more is kept than is looked at."""
    return len(unit.git_records.revisions(uid, 0, REVISIONS_MAX + 1)) > REVISIONS_MAX


def unlike(before: Mapping[str, str], after: Mapping[str, str]) -> Collection[str]:
    """The plans that are not as they were, ordered by name."""
    return sorted(plan for plan in {*before, *after} if before.get(plan, ABSENT) != after.get(plan, ABSENT))


def _bodies(unit: Unit, uid: str) -> Iterator[tuple[int, bytes]]:
    """The newest one by itself, since most often that is enough; then page by page."""
    before, left, size = 0, REVISIONS_MAX, 1
    while left > 0:
        page = unit.git_records.revisions(uid, before, min(size, left))
        yield from page
        if len(page) < min(size, left):
            return
        before, left, size = page[-1][0], left - len(page), PAGE
