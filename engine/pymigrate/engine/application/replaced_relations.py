"""The relations that a run's phases replace, by the system that they lie in, whatever environments and plans call its connection."""

from pymigrate.engine.application.revisions import content_of, hash_of
from pymigrate.v1 import plan_pb2, run_pb2


def replaced_relations(revision: run_pb2.PlanRevision) -> dict[str, frozenset[str]]:
    """By phase; those that replace nothing are left out. A relation is told apart by its name as it is written."""
    systems: dict[str, str] = {}
    found: dict[str, frozenset[str]] = {}
    for name, phase in revision.plan.phases.items():
        targets = [
            each.target for each in phase.datasets.values() if each.target.load_mode == plan_pb2.LOAD_MODE_REPLACE
        ]
        for connection in {each.connection for each in targets} - systems.keys():
            systems[connection] = hash_of(content_of(revision.connections[connection]))
        if targets:
            found[name] = frozenset(f"{systems[each.connection]}/{each.relation}" for each in targets)
    return found
