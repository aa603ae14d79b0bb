"""What of a run never changes: the order of its phases, their urgency, and which systems their datasets use. Worked out once, and shared by
all cores over the same plan."""

from pymigrate.engine.domain.precedence import Precedence
from pymigrate.engine.domain.run import RunAggregate

ALL = ""


def department_pool(department: str) -> str:
    """The lanes of a department."""
    return f"department/{department}"


def connection_pool(connection: str) -> str:
    """The lanes that read or write a connection."""
    return f"connection/{connection}"


def live_pool(connection: str) -> str:
    """The lanes that read a connection whose system is in use."""
    return f"live/{connection}"


class RunLayout:
    """`datasets` and `urgencies` by phase; `targets`: the datasets of each phase by target, in order; `pools` by (phase, dataset): what a
    lane is counted in within its run."""

    def __init__(self, aggregate: RunAggregate) -> None:
        phases = aggregate.phases
        self.precedence = Precedence({phase.id: phase.dependencies for phase in phases.values()})
        self.datasets: dict[str, list[str]] = {phase: [] for phase in phases}
        self.pools: dict[tuple[str, str], tuple[str, ...]] = {}
        targets: dict[str, dict[str, list[str]]] = {phase: {} for phase in phases}
        weights = dict.fromkeys(phases, 0.0)
        for (phase, name), dataset in aggregate.datasets.items():
            self.datasets[phase].append(name)
            weights[phase] += max(dataset.rows_expected, 1)
            targets[phase].setdefault(dataset.target_connection, []).append(name)
            source, record = dataset.source_connection, phases[phase]
            pools = [ALL, department_pool(record.department)]
            pools.extend(dict.fromkeys(connection_pool(each) for each in (source, dataset.target_connection)))
            if record.is_live:
                pools.append(live_pool(source))
            self.pools[phase, name] = tuple(pools)
        self.targets = {phase: dict(sorted(found.items())) for phase, found in targets.items()}
        criticality = self.precedence.criticality(weights)
        self.urgencies = {name: (-phase.priority, -criticality.rank(name)) for name, phase in phases.items()}
