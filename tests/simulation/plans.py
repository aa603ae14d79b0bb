"""Plans drawn by chance: phases of several departments over sources that need a secret, into a shared target and a file of one writer."""

import random
from dataclasses import dataclass, field

from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.testing.simulated_route import Rows, SimulatedSystems
from pymigrate.v1 import connection_pb2, environment_pb2, plan_pb2

COLUMNS = (ColumnInfo("id", ColumnType("int64")), ColumnInfo("name", ColumnType("string")))
FOLLOWED_COLUMNS = (*COLUMNS, ColumnInfo("version", ColumnType("int64"), is_required=True))
SOURCES = ("crm", "erp")
TARGETS = ("lake", "cellar")
CELLAR_PATH = "/cellar.duckdb"
ROWS_MAX = 40
PHASES_MAX = 5
DATASETS_MAX = 2
ONLINE = 0.15
LAG_SECONDS_MAX = 30
LATE_MAX = 3  # by how much a version may be lower than one that was written before it
Place = tuple[str, str]


@dataclass
class DrawnPlan:
    """A plan and what lies behind it. `sources` and `targets` are (connection, relation) by (phase, dataset); `before` is what targets
    held before anything ran; `followed` are the datasets of online phases, each with how it follows its source."""

    phases: dict[str, plan_pb2.Phase] = field(default_factory=dict)
    sources: dict[Place, Place] = field(default_factory=dict)
    targets: dict[Place, Place] = field(default_factory=dict)
    before: dict[Place, Rows] = field(default_factory=dict)
    followed: dict[Place, str] = field(default_factory=dict)

    def added(self, place: Place, rows: Rows) -> Rows:
        """What of a published relation's rows was published: without those that an append found there."""
        phase, name = place
        if self.phases[phase].datasets[name].target.load_mode != plan_pb2.LOAD_MODE_APPEND:
            return rows
        found = self.before[self.targets[place]]
        return rows[len(found) :] if rows[: len(found)] == found else rows

    def needs(self, phase: str) -> tuple[str, ...]:
        """The phases that must be published before it starts."""
        return tuple(self.phases[phase].dependencies)

    def datasets_of(self, phase: str) -> list[Place]:
        """Its datasets."""
        return [(phase, name) for name in sorted(self.phases[phase].datasets)]


def rows_of(rng: random.Random, mark: str) -> Rows:
    """A relation's content: some rows, or none."""
    return tuple(
        (number, f"{mark}{number}") for number in range(rng.choice([0, 1, 4, 9, rng.randint(2, ROWS_MAX), ROWS_MAX]))
    )


def draw_plan(
    rng: random.Random, systems: SimulatedSystems, online: random.Random, online_share: float = ONLINE
) -> DrawnPlan:
    """Up to five phases, with everything that they read and replace already there. `online` draws whether one of them is online, so that
    every other seed is what it was without; `online_share` is how likely that is."""
    plan = DrawnPlan()
    for at in range(rng.randint(1, PHASES_MAX)):
        name = f"p{at}"
        needs = rng.sample(sorted(plan.phases), rng.randint(0, min(at, 2)))
        phase = plan_pb2.Phase(department=rng.choice(["sales", "stock"]), dependencies=sorted(needs))
        phase.priority = rng.choice([0, 0, 5])
        for number in range(rng.randint(1, DATASETS_MAX)):
            _add_dataset(rng, systems, plan, phase, (name, f"d{number}"))
        _adorn(rng, phase)
        plan.phases[name] = phase
    if online.random() < online_share:
        name = online.choice(sorted(plan.phases))
        _put_online(online, systems, plan, name)
    return plan


def _put_online(rng: random.Random, systems: SimulatedSystems, plan: DrawnPlan, name: str) -> None:
    """Lets the sources of a phase be written to while they are moved."""
    phase = plan.phases[name]
    phase.downtime_policy = plan_pb2.DOWNTIME_POLICY_ONLINE
    for place in plan.datasets_of(name):
        dataset, (system, relation) = phase.datasets[place[1]], plan.sources[place]
        dataset.key[:] = ["id"]
        if dataset.target.load_mode == plan_pb2.LOAD_MODE_APPEND:
            dataset.target.load_mode = plan_pb2.LOAD_MODE_REPLACE
        dataset.catch_up.lag_seconds_max = LAG_SECONDS_MAX
        dataset.catch_up.opens_source = rng.random() < 0.4
        plan.followed[place] = rng.choice(["logical", "logical", "column"])
        if plan.followed[place] == "column":
            dataset.catch_up.column.name, dataset.catch_up.column.overlap = "version", LATE_MAX
            if dataset.verification == plan_pb2.VERIFICATION_LEVEL_COUNT:
                dataset.verification = plan_pb2.VERIFICATION_LEVEL_FULL
        else:
            dataset.catch_up.logical.SetInParent()
        rows = tuple((*row, at) for at, row in enumerate(systems.versions.pop((system, relation))[-1]))
        del systems.database(system).relations[relation]
        systems.put(system, relation, FOLLOWED_COLUMNS, rows, ("id",))


def _add_dataset(
    rng: random.Random, systems: SimulatedSystems, plan: DrawnPlan, phase: plan_pb2.Phase, place: Place
) -> None:
    dataset = phase.datasets[place[1]]
    relation = f"{place[0]}_{place[1]}"
    source, target = (rng.choice(SOURCES), relation), (rng.choice(TARGETS), relation)
    dataset.source.connection, dataset.source.relation = source
    dataset.target.connection, dataset.target.relation = target
    dataset.verification = rng.choice(
        [
            plan_pb2.VERIFICATION_LEVEL_COUNT,
            plan_pb2.VERIFICATION_LEVEL_SAMPLED,
            plan_pb2.VERIFICATION_LEVEL_FULL,
        ]
    )
    if rng.random() < 0.5:
        dataset.key.append("id")
    if rng.random() < 0.4:
        dataset.lanes = rng.randint(2, 3)
    if (drawn := rng.random()) < 0.3:
        is_append = drawn < 0.1 and not dataset.key
        dataset.target.load_mode = plan_pb2.LOAD_MODE_APPEND if is_append else plan_pb2.LOAD_MODE_REPLACE
        plan.before[target] = ((0, "old"), (1, "older"))
        systems.database(target[0]).put(relation, COLUMNS, plan.before[target])
    plan.sources[place], plan.targets[place] = source, target
    systems.put(source[0], relation, COLUMNS, rows_of(rng, f"{relation}:"))


def _adorn(rng: random.Random, phase: plan_pb2.Phase) -> None:
    if rng.random() < 0.15:
        phase.gates["go"].point = rng.choice([plan_pb2.GATE_POINT_BEFORE_START, plan_pb2.GATE_POINT_BEFORE_PUBLICATION])
    if rng.random() < 0.2:
        step = phase.steps["call"]
        step.point = rng.choice([plan_pb2.STEP_POINT_BEFORE_START, plan_pb2.STEP_POINT_AFTER_PUBLICATION])
        step.call.url, step.undo.url = "http://outside.test/do", "http://outside.test/undo"


def connections() -> dict[str, connection_pb2.Connection]:
    """The systems: sources that ask for a password, a target that many write to, and one that only one process opens."""
    found = {
        name: connection_pb2.Connection(
            postgres=connection_pb2.PostgresSystem(
                host="127.0.0.1", database=name, user="reader", password=f"env://{name.upper()}", ssl_mode="disable"
            )
        )
        for name in (*SOURCES, "lake")
    }
    found["cellar"] = connection_pb2.Connection(duckdb=connection_pb2.DuckdbSystem(path=CELLAR_PATH))
    return found


def departments() -> dict[str, environment_pb2.Department]:
    """Who has what."""
    return {"sales": environment_pb2.Department(), "stock": environment_pb2.Department()}
