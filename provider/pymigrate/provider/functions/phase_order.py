"""provider::pymigrate::phase_order: phases in an order in which each comes after what it depends on."""

import heapq
from collections.abc import Iterable, Mapping
from typing import Any

from tf.function import FunctionSignature, Parameter, Return

from pymigrate.provider.sdk.function import ArgumentRefused, Dynamic, Function
from pymigrate.provider.sdk.schema import TEXTS
from pymigrate.provider.sdk.values import Unknown

Needs = Mapping[str, frozenset[str]]


class PhaseOrder(Function):
    """Orders a map of phases."""

    @classmethod
    def get_name(cls) -> str:
        """`phase_order`."""
        return "phase_order"

    @classmethod
    def get_signature(cls) -> FunctionSignature:
        """Phases to their names."""
        return FunctionSignature(
            parameters=[
                Parameter(
                    "phases",
                    Dynamic(),
                    "Phases by their ids. Of each, `dependencies`, `department` and `department_dependencies` are looked at.",
                    allow_unknown_values=True,
                )
            ],
            return_type=Return(TEXTS),
            summary="Orders phases by their dependencies",
            description=(
                "The ids of the phases, each after those that it depends on, by name where there is a choice. Phases that depend on one "
                "another in a circle, and a dependency that is none of them, are refused. What is not known yet makes the order unknown."
            ),
        )

    def call(self, *arguments: Any) -> Any:
        """The order."""
        needs = _needs(arguments[0])
        return Unknown if needs is Unknown else ordered(needs)


def ordered(needs: Needs) -> list[str]:
    """The names, each after what it needs. Raises ArgumentRefused for a circle."""
    left = {name: len(each) for name, each in needs.items()}
    needed_by: dict[str, list[str]] = {}
    for name, each in needs.items():
        for other in each:
            needed_by.setdefault(other, []).append(name)
    ready = [name for name, count in left.items() if not count]
    heapq.heapify(ready)
    order: list[str] = []
    while ready:
        name = heapq.heappop(ready)
        order.append(name)
        for other in needed_by.get(name, ()):
            left[other] -= 1
            if not left[other]:
                heapq.heappush(ready, other)
    if len(order) < len(needs):
        ring = _circle({name: sorted(needs[name] - set(order)) for name in needs.keys() - set(order)})
        raise ArgumentRefused(
            0, f"phases depend on one another in a circle: {' → '.join(ring)}; drop one of these dependencies"
        )
    return order


def _needs(phases: Any) -> Any:
    """What each phase needs; Unknown where that is not known."""
    if phases is Unknown:
        return Unknown
    if not isinstance(phases, dict) or not all(each is Unknown or isinstance(each, dict) for each in phases.values()):
        raise ArgumentRefused(0, "must be a map of phases by their ids, each an object")
    looked_at = ("dependencies", "department", "department_dependencies")
    if any(each is Unknown or any(_is_vague(each.get(part)) for part in looked_at) for each in phases.values()):
        return Unknown
    of_department: dict[str, list[str]] = {}
    for name, phase in phases.items():
        if phase.get("department"):
            of_department.setdefault(phase["department"], []).append(name)
    needs = {}
    for name, phase in phases.items():
        named = _texts(name, phase, "dependencies")
        if strange := [each for each in named if each not in phases]:
            raise ArgumentRefused(0, f"phase `{name}` depends on `{strange[0]}`, which is none of them")
        departments = _texts(name, phase, "department_dependencies")
        needs[name] = frozenset([*named, *(other for each in departments for other in of_department.get(each, ()))])
    return needs


def _is_vague(value: Any) -> bool:
    return value is Unknown or (isinstance(value, list) and any(item is Unknown for item in value))


def _texts(name: str, phase: Mapping[str, Any], part: str) -> Iterable[str]:
    value = phase.get(part)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ArgumentRefused(0, f"`{part}` of phase `{name}` must be a list of names")
    return value


def _circle(needs: Mapping[str, list[str]]) -> list[str]:
    """One circle, from its smallest name back to it. Every phase here needs another one here."""
    name, seen = min(needs), []
    while name not in seen:
        seen.append(name)
        name = needs[name][0]
    ring = seen[seen.index(name) :]
    start = ring.index(min(ring))
    ring = ring[start:] + ring[:start]
    return [*ring, ring[0]]
