"""Role bindings as declared objects: their kind, and what is wrong with one. No kind for Git or Kubernetes: who may write there must not
give itself a role."""

from collections.abc import Iterator

from pymigrate.engine.application.field_definitions import text_problems
from pymigrate.engine.application.kind import Kind
from pymigrate.engine.domain.access import Grant, Role
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import ID_RULE, is_id, matches
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import access_pb2

COLLECTION = "roleBindings"
BINDINGS_MAX = 1_000
MEMBERS_MAX = 100
MEMBER_CHARACTERS_MAX = 200
PLANS_MAX = 100
# `local` is admin always, and what the engine starts has a role by what it shows: neither is bound.
MEMBER_KINDS = ("service", "oidc", "kubernetes", "certificate", "group")
ROLES = {
    access_pb2.ROLE_VIEWER: Role.VIEWER,
    access_pb2.ROLE_OPERATOR: Role.OPERATOR,
    access_pb2.ROLE_APPROVER: Role.APPROVER,
    access_pb2.ROLE_EDITOR: Role.EDITOR,
    access_pb2.ROLE_ADMIN: Role.ADMIN,
    access_pb2.ROLE_LANE_WORKER: Role.LANE_WORKER,
}
NUMBERS = {role: number for number, role in ROLES.items()}


def binding_problems(binding: access_pb2.RoleBinding) -> Iterator[Problem]:
    """Problems of a role binding by itself. An environment or a plan need not be there yet."""
    yield from text_problems(binding)
    if binding.role not in ROLES:
        yield Problem("role", f"is required: one of {', '.join(ROLES.values())}")
    if not 1 <= len(binding.members) <= MEMBERS_MAX:
        yield Problem("members", f"has 1 to {MEMBERS_MAX} entries")
    for at, member in enumerate(binding.members[:MEMBERS_MAX]):
        yield from _member_problems(f"members[{at}]", member)
    environment = binding.environment
    if environment and not (matches(environment, "environments") and is_id(environment.partition("/")[2])):
        yield Problem("environment", "is an environment's name, as environments/prod, or empty for all")
    if binding.plans and not environment:
        yield Problem("plans", "are plans of an environment: name it")
    if binding.role == access_pb2.ROLE_LANE_WORKER and environment:
        yield Problem("environment", "a lane worker takes tasks of all environments: leave it empty")
    if len(binding.plans) > PLANS_MAX:
        yield Problem("plans", f"has at most {PLANS_MAX} entries")
    for at, plan in enumerate(binding.plans[:PLANS_MAX]):
        if not is_id(plan):
            yield Problem(f"plans[{at}]", f"`{plan[:MEMBER_CHARACTERS_MAX]}` is no plan's id: use {ID_RULE}")


def _member_problems(path: str, member: str) -> Iterator[Problem]:
    kind, _, rest = member.partition("/")
    if kind not in MEMBER_KINDS or not rest:
        known = ", ".join(f"{each}/…" for each in MEMBER_KINDS)
        yield Problem(path, f"`{member[:MEMBER_CHARACTERS_MAX]}` is no principal and no group: use one of {known}")
    if len(member) > MEMBER_CHARACTERS_MAX or not member.isprintable():
        yield Problem(path, f"has at most {MEMBER_CHARACTERS_MAX} characters, and no line breaks")


def grant_of(binding: access_pb2.RoleBinding) -> Grant:
    """What a binding gives each of its members."""
    environment = binding.environment.partition("/")[2]
    return Grant(ROLES[binding.role], environment, frozenset(binding.plans), binding.name)


def grant_message(grant: Grant) -> access_pb2.Grant:
    """A grant as it is told."""
    environment = f"environments/{grant.environment}" if grant.environment else ""
    return access_pb2.Grant(
        role=NUMBERS[grant.role], environment=environment, plans=sorted(grant.plans), role_binding=grant.binding
    )


def _check(unit: Unit, binding: access_pb2.RoleBinding) -> Iterator[Problem]:
    yield from binding_problems(binding)
    names = set(unit.resources.names(COLLECTION, "")) | {binding.name}
    if len(names) > BINDINGS_MAX:
        yield Problem("name", f"there are {BINDINGS_MAX:,} role bindings, and no more may be: bind groups instead")


def _free(unit: Unit, binding: access_pb2.RoleBinding) -> None:
    del unit, binding


ROLE_BINDINGS = Kind(COLLECTION, access_pb2.RoleBinding, _check, _free)
