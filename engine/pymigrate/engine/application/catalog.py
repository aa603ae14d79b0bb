"""Declared objects in general: create, get, list, update and delete, with etags, masks, ownership and an audit entry for each write.

What is special to a kind (its checks, who still needs it) is told by a `Kind`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from pymigrate.engine.application.audit.declared import Difference, created, deleted, updated
from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.environment_checks import Changed
from pymigrate.engine.application.environment_layers import INHERITANCE
from pymigrate.engine.application.inheriting import Inheriting, resolved_body
from pymigrate.engine.application.inheriting_troubles import Found, is_layered
from pymigrate.engine.application.kind import Kind, etag_of
from pymigrate.engine.application.kinds import is_template
from pymigrate.engine.application.literal_secrets import without_literals
from pymigrate.engine.application.masked_fields import merge_masked, refuse_another_system, settable_copy
from pymigrate.engine.application.pages import PAGE_MAX, page_limit
from pymigrate.engine.application.required_objects import require_parent, required
from pymigrate.engine.application.resolved_views import resolved_view
from pymigrate.engine.application.trying import afterwards, tried
from pymigrate.engine.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    Inherited,
    InvalidDefinition,
    NotOwned,
    Problem,
    StaleWrite,
)
from pymigrate.engine.domain.names import ID_RULE, environment_of, is_id, last_segment, parent_of
from pymigrate.engine.ports.store import AuditEntry, Resource, Unit
from pymigrate.v1 import environment_pb2

M = TypeVar("M", bound=Message)
IsSuspended = Callable[[Unit, str], bool]


def _never(unit: Unit, owner: str) -> bool:
    del unit, owner
    return False


class Catalog:
    """The use cases over one unit of work; `surroundings` gives time and identifiers."""

    def __init__(self, surroundings: Surroundings, is_suspended: IsSuspended = _never) -> None:
        """`is_suspended` tells whether an owner lets other sides change its objects for now."""
        self._surroundings = surroundings
        self._is_suspended = is_suspended
        self._inheriting = Inheriting(surroundings)

    def create(
        self,
        unit: Unit,
        kind: Kind[M],
        parent: str,
        object_id: str,
        message: M,
        caller: Caller,
        *,
        is_dry: bool = False,
        is_checked: bool = False,
    ) -> M:
        """Stores a new object. Raises InvalidDefinition, NotFound for the parent, AlreadyExists. `is_dry`: nothing is kept. `is_checked`:
        the caller has checked it, as a part of a whole that only together is right, and calls `follow` for the whole."""
        unit = tried(unit) if is_dry else unit
        require_parent(unit, parent)
        name = f"{parent}/{kind.collection}/{object_id}" if parent else f"{kind.collection}/{object_id}"
        if not is_id(object_id):
            raise InvalidDefinition((Problem(f"{kind.noun}_id", f"`{object_id}` is no name: use {ID_RULE}"),))
        fresh = settable_copy(kind, message)
        fresh.name = name
        held = self._checked(unit, kind, fresh, is_checked=is_checked)
        self._refuse_taken(unit, name)
        for each in (fresh,) if held is fresh else (fresh, held):
            kind.stamp(None, each)
        now, uid, body = self._surroundings.clock.now(), self._surroundings.new_id(), _body(fresh)
        resolved = resolved_body(body, held)
        resource = Resource(name, kind.collection, parent, uid, 1, body, now, now, caller.managed_by, resolved)
        unit.resources.insert(resource)
        self.audit(unit, caller, "create", resource.name, 1, created(body))
        if not is_checked:
            self.follow(unit, caller, [name])
        return kind.read(resource)

    def get(self, unit: Unit, kind: Kind[M], name: str) -> M:
        """One object. Raises NotFound with the nearest name."""
        return kind.read(required(unit, kind, name))

    def as_used(self, unit: Unit, kind: Kind[M], name: str) -> M:
        """One object with the values of parameters in their places; in a template those that there are. Raises NotFound."""
        return kind.held(required(unit, kind, name))

    def usable(self, unit: Unit, kind: Kind[M], name: str) -> M:
        """One object as it is used. Raises NotFound, and FailedPrecondition in a template, in which nothing is."""
        resource = required(unit, kind, name)
        environment = environment_of(name)
        if is_template(unit, environment):
            raise FailedPrecondition(
                f"{environment} is a template, in which nothing runs: use {last_segment(name)} in an environment that inherits from it"
            )
        return kind.held(resource)

    def resolve(
        self, unit: Unit, request: environment_pb2.ResolveEnvironmentRequest
    ) -> environment_pb2.ResolveEnvironmentResponse:
        """What holds in an environment, and where each value comes from. Raises NotFound and InvalidDefinition."""
        return resolved_view(unit, self._inheriting.layers, request)

    def list(self, unit: Unit, kind: Kind[M], parent: str, page_size: int, page_token: str) -> tuple[list[M], str]:
        """A page of objects ordered by name, and the token of the next page."""
        require_parent(unit, parent)
        size = page_limit(page_size)
        found = unit.resources.list(kind.collection, parent, page_token, size + 1)
        token = found[size - 1].name if len(found) > size else ""
        return [kind.read(resource) for resource in found[:size]], token

    def all(self, unit: Unit, kind: Kind[M], parent: str) -> Iterator[M]:
        """Every object below a parent, page by page."""
        after = ""
        while page := unit.resources.list(kind.collection, parent, after, PAGE_MAX):
            yield from (kind.read(resource) for resource in page)
            after = page[-1].name

    def update(
        self,
        unit: Unit,
        kind: Kind[M],
        message: M,
        mask: FieldMask,
        caller: Caller,
        *,
        is_dry: bool = False,
        is_checked: bool = False,
    ) -> M:
        """Changes the fields of the mask; writing what is there already changes nothing. Raises as `create`, StaleWrite, NotOwned."""
        unit = tried(unit) if is_dry else unit
        wanted: Any = message
        resource = required(unit, kind, wanted.name)
        self.require_unchanged(resource, wanted.etag)
        self.require_owner(unit, resource, caller)
        fresh: Any = kind.message()
        fresh.ParseFromString(resource.body)
        before = _body(fresh)
        merge_masked(kind, fresh, message, mask)
        if _body(fresh) == before:
            return kind.read(resource)
        stored: Any = kind.read(resource)
        refuse_another_system(kind, stored, fresh)
        held = self._checked(unit, kind, fresh, is_checked=is_checked)
        for each in (fresh,) if held is fresh else (fresh, held):
            kind.stamp(stored, each)
        now, body = self._surroundings.clock.now(), _body(fresh)
        resolved = resolved_body(body, held)
        changed = replace(resource, version=resource.version + 1, body=body, update_time=now, resolved=resolved)
        unit.resources.update(changed, resource.version)
        self.audit(unit, caller, "update", changed.name, changed.version, updated(kind, resource.body, body))
        if not is_checked:
            self.follow(unit, caller, [changed.name], is_layered=is_layered(stored, fresh))
        return kind.read(changed)

    def delete(
        self, unit: Unit, kind: Kind[M], name: str, etag: str, caller: Caller, *, is_followed: bool = True
    ) -> None:
        """Removes an object. Raises NotFound, StaleWrite, NotOwned, FailedPrecondition while something needs it. Without `is_followed` the
        caller calls `follow` for a whole."""
        resource = required(unit, kind, name)
        self.require_unchanged(resource, etag)
        self.require_owner(unit, resource, caller)
        kind.check_delete(unit, kind.read(resource))
        if kind.collection == "environments":
            self._inheriting.drop(unit, name)
        if unit.resources.has_children(name):
            raise FailedPrecondition(f"{name} still holds objects: delete them first")
        unit.resources.delete(name, resource.version)
        afterwards(unit, partial(_end, kind, kind.read(resource)))
        self.audit(unit, caller, "delete", name, resource.version, deleted(resource.body))
        if is_followed and kind.collection != "environments":
            self.follow(unit, caller, [name])

    def follow(self, unit: Unit, caller: Caller, names: Sequence[str], *, is_layered: bool = True) -> None:
        """Makes what inherits from objects of one environment, or from the environment, what it now is. `is_layered`: something was written
        that others inherit. Raises InvalidDefinition with every problem in every environment, and FailedPrecondition for what is in use."""
        if not is_layered or not names or not names[0].startswith("environments/"):
            return
        if names[0].count("/") == 1:
            self._inheriting.follow_environment(unit, caller, names[0])
        else:
            self._inheriting.follow_objects(unit, caller, names)

    def follow_all(self, unit: Unit, caller: Caller, changed: Mapping[str, Changed], environments: Set[str]) -> Found:
        """Checks and follows what was written of many environments, by their last segments, without being checked. `environments` were
        written themselves."""
        return self._inheriting.follow_all(unit, caller, changed, environments)

    def held(self, unit: Unit, kind: Kind[M], environment: str, message: M) -> M:
        """An object as it would hold in an environment that declares it. Raises InvalidDefinition for parameters that there are not."""
        held = self._inheriting.held(unit, kind, environment, message)
        if held.problems:
            raise InvalidDefinition(tuple(_told(kind, environment, problem) for problem in held.problems))
        return held.message  # type: ignore[no-any-return]  # the same kind of message

    def audit(self, unit: Unit, caller: Caller, action: str, subject: str, version: int, said: Difference) -> None:
        """Notes who did what."""
        entry = AuditEntry(self._surroundings.clock.now(), caller.principal, action, subject, version, said.detail)
        unit.audit.append(replace(entry, before_digest=said.before_digest, after_digest=said.after_digest))

    def require_writable(self, unit: Unit, kind: Kind[M], name: str, etag: str, caller: Caller) -> M:
        """One object that the caller may change as it is. Raises NotFound, StaleWrite, NotOwned."""
        resource = required(unit, kind, name)
        self.require_unchanged(resource, etag)
        self.require_owner(unit, resource, caller)
        return kind.read(resource)

    def require_owner(self, unit: Unit, resource: Resource, caller: Caller) -> None:
        """Raises NotOwned when another side declares the object, Inherited when another environment does."""
        if resource.managed_by == INHERITANCE:
            raise Inherited(resource.name, self._inheriting.where_from(unit, resource))
        if resource.managed_by != caller.managed_by and not self.is_open(unit, resource):
            raise NotOwned(resource.name, resource.managed_by, caller.managed_by)

    def is_open(self, unit: Unit, resource: Resource) -> bool:
        """Whether the object's owner lets other sides change it for now."""
        return self._is_suspended(unit, resource.managed_by)

    def require_unchanged(self, resource: Resource, etag: str) -> None:
        """Raises StaleWrite when the caller read another state."""
        if etag and etag != etag_of(resource):
            raise StaleWrite(
                f"{resource.name} was changed since it was read: read it again and repeat the change", field="etag"
            )

    def _checked(self, unit: Unit, kind: Kind[M], message: M, *, is_checked: bool) -> M:
        """The message as it holds. Raises InvalidDefinition; of a template, what still lacks a value is checked where it gets one."""
        name: Any = message
        environment = environment_of(name.name) if parent_of(name.name) else ""
        held = self._inheriting.held(unit, kind, environment, message)
        found = held.problems
        if not found and held.is_complete and not is_checked:
            found = list(kind.check(unit, held.message))
        if problems := without_literals(message, found):
            raise InvalidDefinition(tuple(_told(kind, environment, problem) for problem in problems))
        return held.message  # type: ignore[no-any-return]  # the same kind of message

    def _refuse_taken(self, unit: Unit, name: str) -> None:
        resource = unit.resources.get(name)
        if resource is None:
            return
        if resource.managed_by == INHERITANCE:
            raise _inherited(name, self._inheriting.where_from(unit, resource))
        raise AlreadyExists(f"{name} exists already: choose another name, or update or import that one")

    def is_hidden(self, unit: Unit, name: str) -> bool:
        """Whether the environment inherits an object of that name."""
        return bool(self._inheriting.hidden_by(unit, name))

    def refuse_hidden(self, unit: Unit, name: str) -> None:
        """Raises AlreadyExists where an object that was just created lies over one that its environment inherits."""
        if layer := self._inheriting.hidden_by(unit, name):
            raise _inherited(name, layer)


def _inherited(name: str, layer: str) -> AlreadyExists:
    _, environment, key = name.split("/", 2)
    return AlreadyExists(
        f"{name} is inherited from `{layer}`: say in environments/{environment} what is different, by overrides of"
        f" `{key}`, or leave it out there by is_excluded first"
    )


def _told(kind: Kind[Any], environment: str, problem: Problem) -> Problem:
    """A problem of an object by the request's field, or of what its environment says otherwise of it by the environment's."""
    place, _, key = problem.field.partition(".")
    is_override = place == "overrides" and "/" in key.partition(".")[0]
    return problem.at(f"{environment}: {problem.field}" if is_override else f"{kind.noun}.{problem.field}")


def _body(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def _end(kind: Kind[M], message: M, unit: Unit) -> None:
    kind.on_delete(unit, message)
