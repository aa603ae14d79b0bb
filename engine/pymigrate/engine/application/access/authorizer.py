"""What one caller may do, asked for at one place after another: by the door for each call, and by use cases that touch several places."""

from collections.abc import Callable, Sequence

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.domain.access import Grant, Permission, Place, Role, allows, allows_somewhere, roles_with
from pymigrate.engine.domain.errors import NotPermitted

LOCAL = "local"
# The engine's own processes: a worker host that it started, and a dispatcher.
WORKER, DISPATCHER = "worker", "dispatcher"
GrantsOf = Callable[[Caller], Sequence[Grant]]
_LOCAL_GRANTS = (Grant(Role.ADMIN), Grant(Role.LANE_WORKER))


def own_grants(caller: Caller) -> Sequence[Grant]:
    """What a principal may do without any binding: who holds the engine's token everything, so that nobody can be locked out of it, and
    what the engine started its own work."""
    kind = caller.principal.partition("/")[0]
    if caller.principal == LOCAL:
        return _LOCAL_GRANTS
    if kind == LOCAL:
        return _LOCAL_GRANTS[:1]
    return _LOCAL_GRANTS[1:] if kind in {WORKER, DISPATCHER} else ()


class Authorizer:
    """The grants of one caller."""

    def __init__(self, caller: Caller, grants: Sequence[Grant]) -> None:
        self._caller = caller
        self.grants = grants

    def may(self, permission: Permission, place: Place | None) -> bool:
        """Whether the caller has a permission at all of a place; None: at any place."""
        if place is None:
            return allows_somewhere(self.grants, permission)
        return allows(self.grants, permission, place)

    def require(self, permissions: Sequence[Permission], place: Place | None, deed: str) -> None:
        """Raises NotPermitted, with the roles that would do, unless the caller has one of the permissions there."""
        if any(self.may(permission, place) for permission in permissions):
            return
        roles = list(dict.fromkeys(role for permission in permissions for role in roles_with(permission)))
        words = " or ".join(f"`{role}`" for role in roles)
        where = "in any place" if place is None else str(place) if not place.environment else f"in {place}"
        raise NotPermitted(
            f"{self._caller.principal} may not {deed} {where}: it needs the role {words} there, which an admin gives with "
            "`pymigrate access bind`"
        )
