"""Who is hit by a phase: the systems behind its connections, and everything that needs its sources' systems, however far.

What needs a system that is down is without it, and so is down too. What needs one that can only be read, or that is merely read from,
goes on. What is written to or looked up in is loaded, and nothing further follows from that. Of several chains to a system the shortest is
told, of equally long ones the first by name.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from pymigrate.engine.domain.systems import Criticality, Landscape, Node


class Effect(StrEnum):
    """How a system is hit, the gravest first."""

    DOWN = "down"
    READ_ONLY = "read_only"
    LOAD = "load"
    DOWNSTREAM = "downstream"


_GRAVITY = {effect: gravity for gravity, effect in enumerate(Effect)}


@dataclass(frozen=True, slots=True)
class Hit:
    """A system that is hit. `department` is empty where no department declares a system with the connection; `via` is the chain to it as
    `department/system`, empty where it is hit itself. `is_down`: it is down, or without what it needs; `is_source`: it is what is read."""

    department: str
    system: str
    connection: str
    effect: Effect
    via: tuple[str, ...]
    criticality: Criticality
    is_down: bool
    is_source: bool = False

    @property
    def label(self) -> str:
        """`department/system`, or the connection's name."""
        return f"{self.department}/{self.system}" if self.department else self.system


@dataclass(frozen=True, slots=True)
class Reach:
    """The systems that are hit, ordered by department and name; the departments whose own systems or data are, and those that need
    them; and the source connections that no department declares."""

    hits: tuple[Hit, ...]
    direct: frozenset[str]
    downstream: frozenset[str]
    undeclared: tuple[str, ...]

    @property
    def departments(self) -> frozenset[str]:
        """Every department that is hit."""
        return self.direct | self.downstream


def gravest(hits: Iterable[Hit]) -> tuple[Hit, ...]:
    """Each system once, as it is hit most gravely, ordered by department and name."""
    found: dict[Node, Hit] = {}
    for hit in sorted(
        hits, key=lambda hit: (not hit.is_down, _GRAVITY[hit.effect], not hit.is_source, len(hit.via), hit.via)
    ):
        found.setdefault((hit.department, hit.system), hit)
    return tuple(found[node] for node in sorted(found))


def reach(
    landscape: Landscape, department: str, sources: Collection[str], effect: Effect, loaded: Collection[str] = ()
) -> Reach:
    """Whom a phase of the department hits whose sources are `down`, `read_only` or under `load` meanwhile, and which loads other
    connections."""
    hits: dict[Node, Hit] = {}
    starts: list[tuple[tuple[str, ...], Node]] = []
    undeclared: list[str] = []
    for connection in sorted(set(sources)):
        nodes = landscape.of_connection(connection)
        for node in nodes:
            hits[node] = replace(_hit(landscape, node, effect, (), is_down=effect is Effect.DOWN), is_source=True)
            starts.append((("/".join(node),), node))
        if not nodes:
            undeclared.append(connection)
            hits["", connection] = replace(_unowned(connection, effect), is_source=True)
    direct = {department, *(node[0] for _, node in starts)}
    if all(node[0] != department for _, node in starts):
        # Its data is moved, out of a system that it does not declare: whoever needs the department is hit all the same.
        first = starts[0][0] if starts else tuple(undeclared[:1])
        starts.append((first, (department, "")))
    downstream = _follow(landscape, starts, hits, is_down=effect is Effect.DOWN)
    for connection in sorted(set(loaded)):
        nodes = landscape.of_connection(connection)
        for node in nodes:
            if node not in hits or (hits[node].effect is Effect.DOWNSTREAM and effect is Effect.LOAD):
                hits[node] = _hit(landscape, node, Effect.LOAD, (), is_down=False)
        if not nodes:
            hits.setdefault(("", connection), _unowned(connection, Effect.LOAD))
    ordered = tuple(hits[node] for node in sorted(hits) if node[1])
    return Reach(ordered, frozenset(direct), frozenset(downstream - direct), tuple(undeclared))


def _follow(
    landscape: Landscape, starts: list[tuple[tuple[str, ...], Node]], hits: dict[Node, Hit], *, is_down: bool
) -> set[str]:
    """Adds everything that needs the starts, level by level; the departments that it belongs to."""
    departments: set[str] = set()
    followed: set[str] = set()
    seen = {node for _, node in starts}
    level = sorted(starts)
    while level:
        following: list[tuple[tuple[str, ...], Node]] = []
        for chain, node in level:
            waiting = landscape.dependents(node)
            if node[0] not in followed:
                followed.add(node[0])
                waiting = [*waiting, *landscape.department_dependents(node[0])]
            for needing in waiting:
                if needing in seen:
                    continue
                seen.add(needing)
                departments.add(needing[0])
                hits[needing] = _hit(landscape, needing, Effect.DOWNSTREAM, chain, is_down=is_down)
                following.append(((*chain, "/".join(filter(None, needing))), needing))
        level = sorted(following)
    return departments


def _hit(landscape: Landscape, node: Node, effect: Effect, via: tuple[str, ...], *, is_down: bool) -> Hit:
    system = landscape.system(node)
    connection, criticality = (system.connection, system.criticality) if system else ("", Criticality.MEDIUM)
    return Hit(*node, connection, effect, via, criticality, is_down)


def _unowned(connection: str, effect: Effect) -> Hit:
    return Hit("", connection, connection, effect, (), Criticality.MEDIUM, effect is Effect.DOWN)
