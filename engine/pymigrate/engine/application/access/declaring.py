"""What several documents declare at once, checked one by one: each by its kind, where it lies and what it inherits from."""

from collections.abc import Iterable

from pymigrate.engine.application.access.authorizer import Authorizer
from pymigrate.engine.application.gitops.applying import Scope
from pymigrate.engine.application.gitops.definition import Definition
from pymigrate.engine.application.kinds import ENVIRONMENTS
from pymigrate.engine.domain.access import Permission, place_of, place_of_environment
from pymigrate.v1 import definition_pb2

# By the collection of a name: what only an admin of the place declares.
ADMINISTERED = frozenset({"environments", "secretBackends", "gitSources"})


def permission_of(name: str) -> Permission:
    """What it takes to declare an object of that name."""
    collection = name.split("/")[-2] if "/" in name else ""
    return Permission.ADMINISTER if collection in ADMINISTERED else Permission.DECLARE


def require_scope(authorizer: Authorizer, scope: Scope) -> None:
    """Raises NotPermitted for who would take objects over from another side without being an admin there, and for who would have deleted
    what is declared no longer without declaring anything there: what is there is not looked at before."""
    if scope.prune_policy == definition_pb2.PRUNE_POLICY_DELETE:
        place = place_of(f"environments/{scope.environment}")
        authorizer.require((Permission.DECLARE, Permission.ADMINISTER), place, "delete what is declared no longer")
    if scope.taken_over_sides:
        place = place_of(f"environments/{scope.environment}") if scope.environment else place_of("")
        authorizer.require((Permission.ADMINISTER,), place, "take objects over from another side")


def require_declared(authorizer: Authorizer, definitions: Iterable[Definition]) -> None:
    """Raises NotPermitted for the first document that the caller may not declare, whether it changes anything or not. An environment gets
    only bases that its caller may read: what they hold would be told as the environment's own."""
    for each in definitions:
        authorizer.require((permission_of(each.name),), place_of(each.name), f"declare {each.name}")
        if each.kind is ENVIRONMENTS:
            for base in each.message.bases:
                authorizer.require((Permission.READ,), place_of_environment(base), f"inherit from {base}")


def require_changed(authorizer: Authorizer, changes: Iterable[definition_pb2.DefinitionChange]) -> None:
    """Raises NotPermitted for the first object that would be changed, or deleted as it is declared no longer, where the caller may not."""
    for each in changes:
        authorizer.require((permission_of(each.name),), place_of(each.name), f"change {each.name}")
