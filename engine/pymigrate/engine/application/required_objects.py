"""What is stored under a name, or NotFound: which says what the name may have meant."""

from typing import Any

from pymigrate.engine.application.kind import Kind
from pymigrate.engine.domain.errors import NotFound
from pymigrate.engine.domain.names import last_segment, nearest, parent_of
from pymigrate.engine.ports.store import Resource, Unit

NEIGHBOURS_MAX = 1_000
NAME_CHARACTERS_TOLD = 300
SEGMENTS_MAX = 12  # twice as deep as anything is


def required(unit: Unit, kind: Kind[Any], name: str) -> Resource:
    """The object of a kind. Raises NotFound with the nearest name."""
    resource = unit.resources.get(name)
    if resource is None or resource.kind != kind.collection:
        raise not_found(unit, name)
    return resource


def require_parent(unit: Unit, parent: str) -> None:
    """Raises NotFound, with the nearest name, unless the parent exists; the top needs none."""
    if parent and unit.resources.get(parent) is None:
        raise not_found(unit, parent)


def not_found(unit: Unit, name: str) -> NotFound:
    """Of all that a name names, from the top, what is not there."""
    parts = name.split("/")
    if not 2 <= len(parts) <= SEGMENTS_MAX or len(parts) % 2:
        return NotFound(
            f"`{name[:NAME_CHARACTERS_TOLD]}` is no resource name: write it as environments/prod/plans/warehouse"
        )
    while (parent := parent_of(name)) and unit.resources.get(parent) is None:
        name = parent
    *_, collection, key = name.split("/")
    known = [last_segment(found.name) for found in unit.resources.list(collection, parent, "", NEIGHBOURS_MAX)]
    return NotFound(f"there is no {name}{nearest(key, known)}", field="name")
