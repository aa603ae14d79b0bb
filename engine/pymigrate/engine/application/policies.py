"""The policy of an environment: what it is after inheritance, what is wrong with one, and who it lets do what."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.field_definitions import LANES_MAX, range_problems
from pymigrate.engine.application.schedules import schedule_problems
from pymigrate.engine.domain.errors import NotPermitted, Problem
from pymigrate.engine.domain.layering import layers_of
from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import environment_pb2, plan_pb2
from pymigrate.v1.shape import enum_word

APPROVALS_MAX = 10
PRINCIPALS_MAX = 100
PRINCIPAL_CHARACTERS_MAX = 200
_DEMANDS = (
    plan_pb2.VERIFICATION_LEVEL_NONE,
    plan_pb2.VERIFICATION_LEVEL_COUNT,
    plan_pb2.VERIFICATION_LEVEL_SAMPLED,
    plan_pb2.VERIFICATION_LEVEL_FULL,
)


def policy_of(unit: Unit, environment: str) -> environment_pb2.EnvironmentPolicy:
    """What holds in the environment: of each field, what the last of its layers says that sets it. Nothing for one that is not there."""
    declared: dict[str, environment_pb2.Environment] = {}
    waiting = [last_segment(environment)]
    while waiting:
        name = waiting.pop()
        stored = unit.resources.get(f"environments/{name}")
        if name in declared or stored is None:
            continue
        declared[name] = environment_pb2.Environment.FromString(stored.body)
        waiting.extend(declared[name].bases)
    own = last_segment(environment)
    if own not in declared:
        return environment_pb2.EnvironmentPolicy()
    layers = layers_of(own, {name: tuple(each.bases) for name, each in declared.items()})
    return laid_policy({layer: declared[layer].policy for layer in layers})[0]


def laid_policy(
    said: Mapping[str, environment_pb2.EnvironmentPolicy],
) -> tuple[environment_pb2.EnvironmentPolicy, dict[str, str]]:
    """What holds of what layers say, the most general first: of each field, what the last layer says that sets it;
    and which layer that is, by the field's name."""
    policy, origins = environment_pb2.EnvironmentPolicy(), dict[str, str]()
    for layer, own in said.items():
        for field, _ in own.ListFields():
            policy.ClearField(field.name)
            origins[field.name] = layer
        policy.MergeFrom(own)
    return policy, origins


def lanes_max_of(unit: Unit, environment: str, policy: environment_pb2.EnvironmentPolicy) -> int:
    """The most lanes that run in the environment at once: what it says itself, or else its policy. 0: no limit."""
    stored = unit.resources.get(environment)
    own = environment_pb2.Environment.FromString(stored.body) if stored else environment_pb2.Environment()
    return own.lanes_max or policy.lanes_max


def policy_problems(policy: environment_pb2.EnvironmentPolicy) -> Iterator[Problem]:
    """Problems of a policy as an environment declares it."""
    yield from range_problems("policy.approvals_min", policy.approvals_min, 0, APPROVALS_MAX)
    yield from range_problems("policy.lanes_max", policy.lanes_max, 0, LANES_MAX)
    for field, principals in (("approvers", policy.approvers), ("runners", policy.runners)):
        if len(principals) > PRINCIPALS_MAX:
            yield Problem(f"policy.{field}", f"has at most {PRINCIPALS_MAX} entries")
        if any(not 0 < len(each) <= PRINCIPAL_CHARACTERS_MAX for each in principals):
            yield Problem(f"policy.{field}", f"each is a principal of 1 to {PRINCIPAL_CHARACTERS_MAX} characters")
        if any("${" in each for each in principals):
            yield Problem(f"policy.{field}", "a policy holds no parameters: name the principals themselves")
    if policy.revert_policy not in environment_pb2.RevertPolicy.values():
        yield Problem("policy.revert_policy", "is a value that this engine does not know")
    yield from schedule_problems("policy.schedule", policy.schedule)


def demand_problems(
    policy: environment_pb2.EnvironmentPolicy, environment: str, phases: Mapping[str, plan_pb2.Phase]
) -> Iterator[Problem]:
    """Datasets that would be compared less than the environment demands, at their paths in the plan."""
    demand = policy.verification_level_min
    if not demand:
        return
    for name, phase in sorted(phases.items()):
        for dataset_id, dataset in sorted(phase.datasets.items()):
            level = dataset.verification or plan_pb2.VERIFICATION_LEVEL_SAMPLED
            if _DEMANDS.index(level) < _DEMANDS.index(demand):
                said, least = (_word(each) for each in (level, demand))
                yield Problem(
                    f"phases.{name}.datasets.{dataset_id}.verification",
                    f"compares `{said}`, and the policy of {environment} demands `{least}` at least",
                )


def require_runner(policy: environment_pb2.EnvironmentPolicy, environment: str, caller: Caller) -> None:
    """Raises NotPermitted for who may not start, resume, retry or scale runs here."""
    _require(policy.runners, environment, caller, "run anything", "runners")


def require_approver(policy: environment_pb2.EnvironmentPolicy, environment: str, caller: Caller) -> None:
    """Raises NotPermitted for who may not approve here."""
    _require(policy.approvers, environment, caller, "approve", "approvers")


def _require(allowed: Sequence[str], environment: str, caller: Caller, deed: str, field: str) -> None:
    if allowed and not any(fnmatchcase(caller.principal, _plain(each)) for each in allowed):
        raise NotPermitted(
            f"{caller.principal} may not {deed} in {environment}: its policy names who may, as `policy.{field}`"
        )


def _plain(pattern: str) -> str:
    """A pattern in which `*` alone stands for something else."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


def _word(level: "plan_pb2.VerificationLevel.ValueType") -> str:
    return enum_word(plan_pb2.VerificationLevel.DESCRIPTOR, level)
