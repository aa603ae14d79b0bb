"""The order in which definitions are applied: each after those that it names."""

import heapq
from collections.abc import Iterable, Iterator

from pymigrate.engine.application.gitops.definition import Definition
from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS
from pymigrate.engine.domain.names import environment_of, parent_of

_PLACES = {word: place for place, word in enumerate(DEFINITION_KINDS)}


def in_order(found: Iterable[Definition]) -> Iterator[Definition]:
    """Definitions, each after those that it names, and an environment after everything of its bases.

    Where that leaves a choice, by their kinds and as they were given. What goes round in a circle comes last: the checks tell what is
    wrong with it.
    """
    given = sorted(found, key=lambda each: _PLACES[each.word])
    within: dict[str, list[int]] = {}
    for place, each in enumerate(given):
        within.setdefault(environment_of(each.name), []).append(place)
    places = {each.name: place for place, each in enumerate(given)}
    needed_by: dict[int, list[int]] = {}
    open_needs: list[int] = []
    for place, each in enumerate(given):
        bases = each.message.bases if each.word == "Environment" else ()
        needs = {other for base in bases for other in within.get(f"environments/{base}", ())}
        needs |= {places[name] for name in _names(each) if name in places}
        needs.discard(place)
        open_needs.append(len(needs))
        for other in needs:
            needed_by.setdefault(other, []).append(place)
    ready = [place for place, count in enumerate(open_needs) if not count]  # in order, which is a heap
    left = dict(enumerate(given))
    while ready:
        place = heapq.heappop(ready)
        yield left.pop(place)
        for other in needed_by.get(place, ()):
            open_needs[other] -= 1
            if not open_needs[other]:
                heapq.heappush(ready, other)
    yield from left.values()


def _names(found: Definition) -> Iterator[str]:
    """The environment of an object, and the other objects of its kind that it names."""
    if not DEFINITION_KINDS[found.word].is_top:
        yield environment_of(found.name)
    siblings = f"{parent_of(found.name)}/{found.kind.collection}"
    if found.word in {"Department", "Plan"}:
        yield from (f"{siblings}/{other}" for other in found.message.dependencies)
    elif found.word == "GitSource" and found.message.promotion.promoted_from:
        yield f"{found.kind.collection}/{found.message.promotion.promoted_from}"
    elif found.word == "AlertRule" and found.message.parent_rule:
        yield f"{siblings}/{found.message.parent_rule}"
