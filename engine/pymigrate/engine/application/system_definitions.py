"""What may be declared of a department's systems: what is agreed of them, and which others they need.

A system of another department may be declared later, or not at all: an impact tells what leads nowhere.
"""

from collections.abc import Iterator, Mapping

from pymigrate.engine.application.field_definitions import DESCRIPTION_MAX, id_problems, length_problems
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import ID_RULE, is_id, nearest
from pymigrate.v1 import environment_pb2

DEPENDENCIES_MAX = 1_000


def system_problems(systems: Mapping[str, environment_pb2.System]) -> Iterator[Problem]:
    """Problems of one department's systems."""
    for name, system in sorted(systems.items()):
        path = f"systems.{name}"
        yield from id_problems(path, name)
        yield from length_problems(f"{path}.description", system.description, DESCRIPTION_MAX)
        if system.rto_seconds < 0:
            yield Problem(f"{path}.rto_seconds", "can't be negative: give seconds, or 0 where none is agreed")
        if not 0 <= system.availability_percent <= 100:
            yield Problem(f"{path}.availability_percent", "must be a number from 0 to 100; 0: none is agreed")
        yield from _dependency_problems(f"{path}.dependencies", name, system, systems)


def _dependency_problems(
    path: str, name: str, system: environment_pb2.System, systems: Mapping[str, environment_pb2.System]
) -> Iterator[Problem]:
    if len(system.dependencies) > DEPENDENCIES_MAX:
        yield Problem(path, f"has at most {DEPENDENCIES_MAX:,} entries")
    if len(set(system.dependencies)) < len(system.dependencies):
        yield Problem(path, "names a system twice")
    for needed in system.dependencies:
        parts = needed.split("/")
        if len(parts) > 2 or not all(map(is_id, parts)):
            yield Problem(
                path, f"`{needed}` names no system: write `system` or `department/system`, where each is {ID_RULE}"
            )
        elif needed == name:
            yield Problem(path, f"`{needed}` is the system itself")
        elif len(parts) == 1 and needed not in systems:
            others = systems.keys() - {name}
            yield Problem(path, f"the department has no other system `{needed}`{nearest(needed, others)}")
