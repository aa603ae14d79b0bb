"""The layers that an environment is made of: its bases in their order, each after its own bases, then itself. One that is met in several
ways counts once, where it comes first, so that order alone decides what overrides what."""

from collections.abc import Iterator, Mapping, Sequence

from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.graph import spell
from pymigrate.engine.domain.names import nearest

BASES_MAX = 16
LEVELS_MAX = 16
FIELD = "bases"
Bases = Mapping[str, Sequence[str]]


def layers_of(environment: str, bases: Bases) -> tuple[str, ...]:
    """The layers, the most general first and the environment last. Raises InvalidDefinition, with every problem at `bases`."""
    if problems := tuple(_own_problems(environment, bases)):
        raise InvalidDefinition(problems)
    layers: dict[str, int] = {}  # each with its level: how many lie below one another down to it
    path = [environment]
    waiting = [list(reversed(bases[environment]))]
    while path:
        if waiting[-1]:
            base = waiting[-1].pop()
            if base in path:
                raise InvalidDefinition((_circle([*path[path.index(base) :], base]),))
            if base not in layers:
                path.append(base)
                waiting.append([each for each in reversed(bases.get(base, ())) if each in bases])
            continue
        waiting.pop()
        layer = path.pop()
        layers[layer] = 1 + max((layers[base] for base in bases[layer] if base in layers), default=0)
    if layers[environment] > LEVELS_MAX:
        raise InvalidDefinition(
            (
                Problem(
                    FIELD, f"lie {layers[environment]} levels deep; at most {LEVELS_MAX} are allowed: leave some out"
                ),
            )
        )
    return tuple(layers)


def heirs_of(environment: str, bases: Bases) -> tuple[str, ...]:
    """Every environment that inherits from this one, each after those that it inherits from itself."""
    below: dict[str, list[str]] = {}
    for name, others in sorted(bases.items()):
        for base in others:
            below.setdefault(base, []).append(name)
    found: dict[str, None] = {}
    path = [environment]
    waiting = [list(below.get(environment, ()))]
    while path:
        if waiting[-1]:
            heir = waiting[-1].pop()
            if heir not in found and heir not in path:
                path.append(heir)
                waiting.append(list(below.get(heir, ())))
            continue
        waiting.pop()
        found[path.pop()] = None
    return tuple(name for name in reversed(found) if name != environment)


def _own_problems(environment: str, bases: Bases) -> Iterator[Problem]:
    own = bases[environment]
    if len(own) > BASES_MAX:
        yield Problem(FIELD, f"has at most {BASES_MAX} entries")
    if len(set(own)) < len(own):
        yield Problem(FIELD, "names an environment twice")
    for base in own:
        if base not in bases:
            said = f"there is no environment `{base}`{nearest(base, bases.keys() - {environment})}"
            yield Problem(FIELD, said, is_missing=True)


def _circle(path: Sequence[str]) -> Problem:
    return Problem(
        FIELD, f"environments inherit from one another in a circle: {spell(path)}; leave one of these bases out"
    )
