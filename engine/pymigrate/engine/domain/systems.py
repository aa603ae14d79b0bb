"""Departments and their systems as they are declared: who runs what, who needs whom, and what was agreed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

MONTH_SECONDS = 30 * 86_400.0


class Criticality(IntEnum):
    """How much the business depends on a system."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


@dataclass(frozen=True, slots=True)
class System:
    """A system. `dependencies` are those that it needs, as `system` of the same department or `department/system`; 0 stands for what
    was not agreed."""

    connection: str = ""
    criticality: Criticality = Criticality.MEDIUM
    rto_seconds: float = 0.0
    availability_percent: float = 0.0
    dependencies: tuple[str, ...] = ()

    @property
    def month_seconds_max(self) -> float | None:
        """The downtime that a month of 30 days has; None where nothing was agreed."""
        if not self.availability_percent:
            return None
        return round((100.0 - self.availability_percent) / 100.0 * MONTH_SECONDS, 6)

    @property
    def has_agreement(self) -> bool:
        """Whether anything was agreed of its outages."""
        return self.rto_seconds > 0 or self.availability_percent > 0


@dataclass(frozen=True, slots=True)
class Department:
    """A department. `hour_cost` is what an hour without its systems costs in `currency` (empty: not declared), and `read_only_share` the
    share of it that an hour costs in which they can only be read; `dependencies` are the departments all of whose systems it needs."""

    systems: Mapping[str, System] = field(default_factory=dict)
    users: int = 0
    currency: str = ""
    hour_cost: float = 0.0
    read_only_share: float = 1.0
    dependencies: tuple[str, ...] = ()


Node = tuple[str, str]  # a department and one of its systems


class Landscape:
    """Departments by name, with who needs whom looked up from the other end."""

    def __init__(self, departments: Mapping[str, Department]) -> None:
        self.departments = departments
        self._of_connection: dict[str, list[Node]] = {}
        self._needed_by: dict[Node, list[Node]] = {}
        self._department_needed_by: dict[str, list[str]] = {}
        unknowns: list[str] = []
        for name, department in sorted(departments.items()):
            for needed in department.dependencies:
                self._department_needed_by.setdefault(needed, []).append(name)
                if needed not in departments:
                    unknowns.append(f"{name} needs department {needed}, which is not declared.")
            for system_name, system in sorted(department.systems.items()):
                node = (name, system_name)
                if system.connection:
                    self._of_connection.setdefault(system.connection, []).append(node)
                for reference in system.dependencies:
                    needed_node = self._node(name, reference)
                    self._needed_by.setdefault(needed_node, []).append(node)
                    if self.system(needed_node) is None:
                        unknowns.append(f"{name}/{system_name} needs {'/'.join(needed_node)}, which is not declared.")
        self.unknowns = tuple(unknowns)

    def department(self, name: str) -> Department:
        """A department; one that nothing is known of where it is not declared."""
        return self.departments.get(name, UNDECLARED)

    def system(self, node: Node) -> System | None:
        """A system; None where it is not declared."""
        department = self.departments.get(node[0])
        return department.systems.get(node[1]) if department else None

    def of_connection(self, connection: str) -> list[Node]:
        """The systems that a connection reaches, ordered by department and name."""
        return self._of_connection.get(connection, [])

    def dependents(self, node: Node) -> list[Node]:
        """The systems that name this one as needed."""
        return self._needed_by.get(node, [])

    def department_dependents(self, name: str) -> list[Node]:
        """Every system of the departments that need this one; a department without systems stands as one without a name."""
        return [
            (other, system)
            for other in self._department_needed_by.get(name, ())
            for system in sorted(self.departments[other].systems) or [""]
        ]

    @staticmethod
    def _node(department: str, reference: str) -> Node:
        first, _, second = reference.partition("/")
        return (first, second) if second else (department, first)


UNDECLARED = Department()
