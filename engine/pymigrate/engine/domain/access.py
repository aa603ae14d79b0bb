"""Who may do what where: roles, the permissions that each holds, places, and the grants that give somebody a role at a place. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

ANY_SEGMENT = "-"


class Role(StrEnum):
    """What somebody is allowed, as one word."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    EDITOR = "editor"
    ADMIN = "admin"
    LANE_WORKER = "lane_worker"


class Permission(StrEnum):
    """What a method of the contract asks of who calls it."""

    READ = "read"
    OPERATE = "operate"
    APPROVE = "approve"
    DECLARE = "declare"
    ADMINISTER = "administer"
    WORK = "work"


ALLOWED: Mapping[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.READ}),
    Role.OPERATOR: frozenset({Permission.READ, Permission.OPERATE}),
    Role.APPROVER: frozenset({Permission.READ, Permission.APPROVE}),
    Role.EDITOR: frozenset({Permission.READ, Permission.DECLARE}),
    Role.ADMIN: frozenset(set(Permission) - {Permission.WORK}),
    Role.LANE_WORKER: frozenset({Permission.WORK}),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is done: an environment and a plan by their last segments. Without a plan it is the whole environment, and without an
    environment it is everywhere: whatever can't be placed is there."""

    environment: str = ""
    plan: str = ""

    def __str__(self) -> str:
        if not self.environment:
            return "everywhere"
        plan = f"/plans/{self.plan}" if self.plan else ""
        return f"environments/{self.environment}{plan}"


EVERYWHERE = Place()


@dataclass(frozen=True, slots=True)
class Grant:
    """A role that somebody has: everywhere, in one environment, or for some of its plans. `binding` is the name of what gives it, empty
    where the credential itself does."""

    role: Role
    environment: str = ""
    plans: frozenset[str] = frozenset()
    binding: str = ""

    def covers(self, place: Place) -> bool:
        """Whether it holds at all of that place."""
        if not self.environment:
            return True
        if place.environment != self.environment:
            return False
        return not self.plans or place.plan in self.plans


def allows(grants: Iterable[Grant], permission: Permission, place: Place) -> bool:
    """Whether one of the grants gives the permission at all of that place."""
    return any(permission in ALLOWED[grant.role] and grant.covers(place) for grant in grants)


def allows_somewhere(grants: Iterable[Grant], permission: Permission) -> bool:
    """Whether one of the grants gives the permission at any place."""
    return any(permission in ALLOWED[grant.role] for grant in grants)


def roles_with(permission: Permission) -> tuple[Role, ...]:
    """The roles that hold a permission, in the order in which they are told."""
    return tuple(role for role in Role if permission in ALLOWED[role])


def place_of(name: str, child: str = "") -> Place:
    """Where an object of that resource name lies; `child` is the last segment of a plan that is about to be made below the name. A name
    with `-` for any environment, and one that is none of an environment, is everywhere; `-` for any plan is the whole environment."""
    collection, _, rest = name.partition("/")
    environment, _, below = rest.partition("/")
    if collection != "environments" or environment in {"", ANY_SEGMENT}:
        return EVERYWHERE
    kind, _, tail = below.partition("/")
    plan = tail.partition("/")[0] if kind == "plans" else ""
    return Place(environment, child if not plan else "" if plan == ANY_SEGMENT else plan)


def place_of_environment(key: str) -> Place:
    """Where an environment lies that is named by its last segment; what is no such segment is everywhere, whatever it begins with."""
    return EVERYWHERE if "/" in key else place_of(f"environments/{key}")


def is_member(member: str, principal: str, groups: Iterable[str]) -> bool:
    """Whether a principal, or one of its groups, is meant by a binding's member, in which `*` stands for any characters behind the first
    slash."""
    kind, slash, rest = member.partition("/")
    if not slash or "*" in kind:
        return False
    pattern = rest.replace("[", "[[]").replace("?", "[?]")
    if kind == "group":
        return any(fnmatchcase(group, pattern) for group in groups)
    own_kind, own_slash, own = principal.partition("/")
    return bool(own_slash) and own_kind == kind and fnmatchcase(own, pattern)
