"""What KPIs can be told of, by resource name."""

from dataclasses import dataclass
from enum import Enum, auto

from pymigrate.engine.application.kinds import children, departments_of, phases_of
from pymigrate.engine.domain.errors import NotFound
from pymigrate.engine.domain.names import environment_of, last_segment, matches, nearest, parent_of
from pymigrate.engine.ports.store import Unit

NEIGHBOURS_MAX = 1_000


class SubjectKind(Enum):
    """What a name is the name of."""

    ENVIRONMENT = auto()
    DEPARTMENT = auto()
    PLAN = auto()
    PLAN_PHASE = auto()
    RUN = auto()
    RUN_PHASE = auto()
    RUN_LANE = auto()


_COLLECTIONS = {
    ("environments",): SubjectKind.ENVIRONMENT,
    ("environments", "departments"): SubjectKind.DEPARTMENT,
    ("environments", "plans"): SubjectKind.PLAN,
    ("environments", "plans", "phases"): SubjectKind.PLAN_PHASE,
    ("environments", "plans", "runs"): SubjectKind.RUN,
    ("environments", "plans", "runs", "phases"): SubjectKind.RUN_PHASE,
    ("environments", "plans", "runs", "lanes"): SubjectKind.RUN_LANE,
}


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that KPIs are told of. `id` is its last segment, `parent` the name that it lies under."""

    kind: SubjectKind
    name: str

    @property
    def id(self) -> str:
        """`sales` of `environments/prod/departments/sales`."""
        return last_segment(self.name)

    @property
    def parent(self) -> str:
        """`environments/prod` of `environments/prod/departments/sales`."""
        return parent_of(self.name)

    @property
    def environment(self) -> str:
        """The environment that it lies in."""
        return environment_of(self.name)


def subject_of(name: str) -> Subject:
    """Reads a resource name. Raises NotFound for one of which there are no KPIs."""
    for collections, kind in _COLLECTIONS.items():
        if matches(name, *collections):
            return Subject(kind, name)
    raise NotFound(
        f"there are no KPIs of `{name}`: name an environment, a department, a plan or a phase of it, a run, or a phase or lane of a run, "
        "such as `environments/prod/plans/warehouse`",
        field="name",
    )


def require_declared(unit: Unit, subject: Subject) -> None:
    """Raises NotFound with the nearest name unless an environment, department, plan or phase of a plan is declared."""
    if unit.resources.get(subject.name) is not None:
        return
    match subject.kind:
        case SubjectKind.ENVIRONMENT:
            known = {last_segment(found.name) for found in unit.resources.list("environments", "", "", NEIGHBOURS_MAX)}
        case SubjectKind.DEPARTMENT:
            known = departments_of(unit, subject.environment)
        case SubjectKind.PLAN:
            known = {last_segment(found.name) for found in children(unit, "plans", subject.environment)}
        case _:
            known = set(phases_of(unit, subject.parent))
    raise missing(subject, known)


def missing(subject: Subject, known: set[str]) -> NotFound:
    """The error for one that is not there."""
    return NotFound(f"there is no {subject.name}{nearest(subject.id, known)}", field="name")
