"""The revision of a plan that a run freezes, and the digests that tell one revision, and one run, from another."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from pymigrate.engine.application import definitions, works
from pymigrate.engine.application.declared_backends import declared_backends
from pymigrate.engine.application.kinds import PLANS, connections_of, departments_of, is_template, phases_of
from pymigrate.engine.application.policies import demand_problems, policy_of
from pymigrate.engine.application.references import is_reference, undeclared_problems
from pymigrate.engine.application.run_approvals import ask_for_approvals, name_problems
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.run import DatasetRun, PhaseRun, Run, RunAggregate
from pymigrate.engine.domain.run_states import Point
from pymigrate.engine.ports.store import Resource, Unit
from pymigrate.v1 import connection_pb2, plan_pb2, run_pb2
from pymigrate.v1.shape import enum_word

# What can change without another run being due: how a thing is called and steered, and which secret opens it.
_NO_MATTER = frozenset(
    {
        *("name", "display_name", "description", "labels", "uid", "etag", "create_time", "update_time", "managed_by"),
        *("plan_hash", "definition_hash", "lanes_max", "priority", "deletion_protection", "phases", "schedule"),
        *(
            "department_lanes_max",
            "rollback_window_seconds",
            "latency_factor_max",
            "bytes_per_second_max",
            "rows_per_second_max",
        ),
    }
)
# How a system is opened and spoken to, of which the same holds; and so does every secret reference among its headers and options.
_OPENED = ("password", "ssl_mode", "timeout_seconds", "retries_max", "requests_per_second_max", "ca_file")
_OPENED_WITH = frozenset({"headers", "options"})
_GATES = {
    plan_pb2.GATE_POINT_UNSPECIFIED: Point.BEFORE_PUBLICATION,
    plan_pb2.GATE_POINT_BEFORE_START: Point.BEFORE_START,
    plan_pb2.GATE_POINT_BEFORE_PUBLICATION: Point.BEFORE_PUBLICATION,
}
_LIVE = frozenset({plan_pb2.DOWNTIME_POLICY_READ_ONLY, plan_pb2.DOWNTIME_POLICY_ONLINE})
LAG_SECONDS_MAX_DEFAULT = 10
_STEPS = {
    plan_pb2.STEP_POINT_UNSPECIFIED: Point.AFTER_PUBLICATION,
    plan_pb2.STEP_POINT_BEFORE_START: Point.BEFORE_START,
    plan_pb2.STEP_POINT_AFTER_PUBLICATION: Point.AFTER_PUBLICATION,
}


def freeze(unit: Unit, plan: Resource) -> tuple[run_pb2.PlanRevision, tuple[Problem, ...]]:
    """The plan as it stands with the connections that it uses, and every problem that keeps a run from starting."""
    environment = environment_of(plan.name)
    phases, connections = phases_of(unit, plan.name), connections_of(unit, environment)
    revision = run_pb2.PlanRevision(plan=PLANS.held(plan), policy=policy_of(unit, environment))
    for name, phase in phases.items():
        revision.plan.phases[name].CopyFrom(phase)
    for name in used_connections(phases):
        if name in connections:
            revision.connections[name].CopyFrom(connections[name])
    declared = declared_backends(unit, environment)
    problems = (
        *definitions.plan_problems(phases, connections, departments_of(unit, environment)),
        *demand_problems(revision.policy, environment, phases),
        *name_problems(revision),
        *(
            problem
            for name, connection in sorted(revision.connections.items())
            for problem in undeclared_problems(connection, declared, prefix=f"connections.{name}.")
        ),
        *undeclared_problems(revision.plan, declared),
    )
    if not phases:
        problems = (Problem("phases", "the plan has no phase yet: there is nothing to run"),)
    if is_template(unit, environment):
        problems = (
            Problem("plan", f"{environment} is a template: run the plan in an environment that inherits from it"),
        )
    revision.plan.plan_hash = plan_hash(phases, connections)
    return revision, problems


def aggregate_of(run: Run, revision: run_pb2.PlanRevision) -> RunAggregate:
    """A new run of a revision, with all its phases and datasets."""
    aggregate = RunAggregate(run)
    dependencies = definitions.phase_dependencies(revision.plan.phases)
    for name, phase in sorted(revision.plan.phases.items()):
        aggregate.phases[name] = PhaseRun(
            name,
            phase.department,
            dependencies[name],
            phase.priority,
            gates={gate: _GATES[each.point] for gate, each in sorted(phase.gates.items())},
            steps={step: _STEPS[each.point] for step, each in sorted(phase.steps.items())},
            final_steps=tuple(sorted(step for step, each in phase.steps.items() if not each.HasField("undo"))),
            is_live=phase.downtime_policy in _LIVE,
            is_online=phase.downtime_policy == plan_pb2.DOWNTIME_POLICY_ONLINE,
        )
        for dataset_id, dataset in sorted(phase.datasets.items()):
            inspection = revision.inspections[f"{name}/{dataset_id}"]
            aggregate.datasets[name, dataset_id] = DatasetRun(
                phase=name,
                id=dataset_id,
                source_connection=dataset.source.connection,
                source_relation=dataset.source.relation,
                target_connection=dataset.target.connection,
                target_relation=dataset.target.relation,
                affinity=works.dataset_affinity(
                    revision.connections[dataset.source.connection], revision.connections[dataset.target.connection]
                ),
                rows_expected=inspection.source.rows,
                path=inspection.path,
                path_reason=inspection.path_reason,
                delivery=enum_word(run_pb2.Delivery.DESCRIPTOR, inspection.delivery) if inspection.delivery else "",
                ranges=tuple(inspection.ranges),
                schema_notes=tuple(inspection.ddl.notes),
                lag_seconds_max=float(dataset.catch_up.lag_seconds_max or LAG_SECONDS_MAX_DEFAULT),
            )
    ask_for_approvals(aggregate, revision)
    return aggregate


def plan_hash(phases: Mapping[str, plan_pb2.Phase], connections: Mapping[str, connection_pb2.Connection]) -> str:
    """Digest of everything that a run would do, 64 hexadecimal digits; the same for the same definitions in every version."""
    return hash_of(phase_hashes(phases, connections))


def hash_of(hashes: Mapping[str, str]) -> str:
    """The plan's digest, given those of all its phases."""
    return _digest(hashes)


def phase_hash(phase: plan_pb2.Phase, connections: Mapping[str, connection_pb2.Connection]) -> str:
    """Digest of what a run of the phase would move, from where and to where."""
    return phase_hashes({"": phase}, connections)[""]


def phase_hashes(
    phases: Mapping[str, plan_pb2.Phase], connections: Mapping[str, connection_pb2.Connection]
) -> dict[str, str]:
    """The digests of many phases; what they share is looked at once."""
    contents = {name: content_of(connections[name]) for name in used_connections(phases) if name in connections}
    return phase_digests(phases, contents)[0]


def phase_digests(
    phases: Mapping[str, plan_pb2.Phase], *contents: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, str], ...]:
    """The digests of many phases, with the contents of connections in several ways; phases are looked at once."""
    found: tuple[dict[str, str], ...] = tuple({} for _ in contents)
    for name, phase in phases.items():
        moved, wanted = content_of(phase), used_connections({"": phase})
        for digests, known in zip(found, contents, strict=True):
            used = {each: known[each] for each in wanted if each in known}
            digests[name] = _digest({"phase": moved, "connections": used})
    return found


def used_connections(phases: Mapping[str, plan_pb2.Phase]) -> list[str]:
    """The connections that phases read, look up in and write to, ordered by name."""
    datasets = [dataset for phase in phases.values() for dataset in phase.datasets.values()]
    looked_up = {t.lookup.source.connection for d in datasets for t in d.transforms if t.HasField("lookup")}
    return sorted({d.source.connection for d in datasets} | {d.target.connection for d in datasets} | looked_up)


def opened_now(frozen: connection_pb2.Connection, declared: connection_pb2.Connection) -> connection_pb2.Connection:
    """A connection that a run froze, opened as it is declared now; as it was frozen where another system is declared by now."""
    system = frozen.WhichOneof("system")
    if system is None or getattr(frozen, system) == getattr(declared, system):
        return frozen
    if content_of(frozen).get(system) != content_of(declared).get(system):
        return frozen
    found = connection_pb2.Connection()
    found.CopyFrom(frozen)
    getattr(found, system).CopyFrom(getattr(declared, system))
    return found


def run_key(plan: str, revision_hash: str, triggers: Mapping[str, str]) -> str:
    """Digest that makes a run of a plan's revision the same run, however often it is asked for."""
    return _digest({"plan": plan, "plan_hash": revision_hash, "triggers": dict(triggers)})


def content_of(message: Message) -> dict[str, Any]:
    """What of a phase or a connection a run would move, and from where and to where."""
    content: dict[str, Any] = MessageToDict(message, preserving_proto_field_name=True)
    for field in _NO_MATTER & content.keys():
        del content[field]
    if isinstance(message, connection_pb2.Connection) and (system := message.WhichOneof("system")):
        content[system] = _without_opening(content[system])
    if isinstance(message, plan_pb2.Phase):
        content["dependencies"] = sorted(message.dependencies)
        if message.department_dependencies:
            content["department_dependencies"] = sorted(message.department_dependencies)
        for dataset in content.get("datasets", {}).values():
            dataset.pop("declared", None)  # for estimates alone: nothing is moved otherwise because of it
    return content


def _without_opening(system: Mapping[str, Any]) -> dict[str, Any]:
    """What is reached, without what opens it."""
    kept = {name: value for name, value in system.items() if name not in _OPENED}
    for name in _OPENED_WITH & kept.keys():
        plain = {entry: value for entry, value in kept[name].items() if not is_reference(value)}
        if plain:
            kept[name] = plain
        else:
            del kept[name]
    return kept


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
