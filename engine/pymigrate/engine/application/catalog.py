"""Declared objects in general: create, get, list, update and delete, with etags, masks, ownership and an audit entry for each write.

What is special to a kind (its checks, who still needs it) is told by a `Kind`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidDefinition,
    NotFound,
    NotOwned,
    Problem,
    StaleWrite,
)
from pymigrate.engine.domain.names import ID_RULE, is_id, last_segment, nearest, parent_of
from pymigrate.engine.ports.store import AuditEntry, Resource, Unit

M = TypeVar("M", bound=Message)
PAGE_DEFAULT = 100
PAGE_MAX = 1_000
NEIGHBOURS_MAX = 1_000
OUTPUT_ONLY = frozenset(
    {"name", "uid", "etag", "create_time", "update_time", "managed_by", "plan_hash", "definition_hash"}
)


def _stamp_nothing(before: object, message: object) -> None:
    del before, message


def _end_nothing(unit: Unit, message: Message) -> None:
    del unit, message


@dataclass(frozen=True, slots=True)
class Kind(Generic[M]):
    """A collection: its word, its message, the fields that have a life of their own, and its checks.

    `check` yields the problems of a message within the store; `check_delete` raises FailedPrecondition while somebody needs it.
    `output_only` are fields besides those of every kind that no caller sets; `stamp` sets them, given what was stored before (None:
    nothing). `on_delete` ends what goes with an object, in the same transaction.
    """

    collection: str
    message: Callable[[], M]
    check: Callable[[Unit, M], Iterable[Problem]]
    check_delete: Callable[[Unit, M], None]
    held_elsewhere: frozenset[str] = frozenset()
    output_only: frozenset[str] = frozenset()
    stamp: Callable[[M | None, M], None] = _stamp_nothing
    on_delete: Callable[[Unit, M], None] = _end_nothing

    @property
    def noun(self) -> str:
        """The singular, as requests name the field: `department` of `departments`, `alert_rule` of `alertRules`."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.collection[:-1]).lower()

    def settable(self) -> frozenset[str]:
        """The fields that a caller may set."""
        fields = frozenset(self.message().DESCRIPTOR.fields_by_name)
        return fields - OUTPUT_ONLY - self.held_elsewhere - self.output_only

    def read(self, resource: Resource) -> M:
        """The message as callers see it."""
        message: Any = self.message()
        message.ParseFromString(resource.body)
        message.name, message.uid, message.etag = resource.name, resource.uid, etag_of(resource)
        message.create_time.FromDatetime(resource.create_time)
        message.update_time.FromDatetime(resource.update_time)
        message.managed_by = resource.managed_by
        return message  # type: ignore[no-any-return]  # the message is handled by its descriptor above


def etag_of(resource: Resource) -> str:
    """Changes with every write, and is never that of another object."""
    return f"{resource.uid[:12]}-{resource.version}"


class Catalog:
    """The use cases over one unit of work; `surroundings` gives time and identifiers."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings

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
        """Stores a new object. Raises InvalidDefinition, NotFound for the parent, AlreadyExists. `is_checked`: the caller has
        checked it, as a part of a whole that only together is right."""
        self.require_parent(unit, parent)
        name = f"{parent}/{kind.collection}/{object_id}" if parent else f"{kind.collection}/{object_id}"
        if not is_id(object_id):
            raise InvalidDefinition((Problem(f"{kind.noun}_id", f"`{object_id}` is no name: use {ID_RULE}"),))
        fresh = self._settable_copy(kind, message)
        fresh.name = name
        if not is_checked:
            self._refuse_problems(unit, kind, fresh)
        kind.stamp(None, fresh)
        if unit.resources.get(name) is not None:
            raise AlreadyExists(f"{name} exists already: choose another name, or update or import that one")
        now = self._surroundings.clock.now()
        resource = Resource(
            name, kind.collection, parent, self._surroundings.new_id(), 1, _body(fresh), now, now, caller.managed_by
        )
        if not is_dry:
            unit.resources.insert(resource)
            self.audit(unit, caller, "create", resource.name, resource.version)
        return kind.read(resource)

    def get(self, unit: Unit, kind: Kind[M], name: str) -> M:
        """One object. Raises NotFound with the nearest name."""
        return kind.read(self._require(unit, kind, name))

    def list(self, unit: Unit, kind: Kind[M], parent: str, page_size: int, page_token: str) -> tuple[list[M], str]:
        """A page of objects ordered by name, and the token of the next page."""
        self.require_parent(unit, parent)
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
        wanted: Any = message
        resource = self._require(unit, kind, wanted.name)
        self.require_unchanged(resource, wanted.etag)
        self.require_owner(resource, caller)
        fresh: Any = kind.message()
        fresh.ParseFromString(resource.body)
        before = _body(fresh)
        self._merge(kind, fresh, message, mask)
        if _body(fresh) == before:
            return kind.read(resource)
        stored: Any = kind.read(resource)
        _refuse_another_system(kind, stored, fresh)
        if not is_checked:
            self._refuse_problems(unit, kind, fresh)
        kind.stamp(stored, fresh)
        changed = replace(
            resource, version=resource.version + 1, body=_body(fresh), update_time=self._surroundings.clock.now()
        )
        if not is_dry:
            unit.resources.update(changed, resource.version)
            self.audit(unit, caller, "update", changed.name, changed.version)
        return kind.read(changed)

    def delete(self, unit: Unit, kind: Kind[M], name: str, etag: str, caller: Caller) -> None:
        """Removes an object. Raises NotFound, StaleWrite, NotOwned, FailedPrecondition while something needs it."""
        resource = self._require(unit, kind, name)
        self.require_unchanged(resource, etag)
        self.require_owner(resource, caller)
        kind.check_delete(unit, kind.read(resource))
        if unit.resources.has_children(name):
            raise FailedPrecondition(f"{name} still holds objects: delete them first")
        unit.resources.delete(name, resource.version)
        kind.on_delete(unit, kind.read(resource))
        self.audit(unit, caller, "delete", name, resource.version)

    def audit(self, unit: Unit, caller: Caller, action: str, subject: str, version: int) -> None:
        """Notes who did what."""
        unit.audit.append(AuditEntry(self._surroundings.clock.now(), caller.principal, action, subject, version))

    def require_parent(self, unit: Unit, parent: str) -> None:
        """Raises NotFound, with the nearest name, unless the parent exists; the top needs none."""
        if parent and unit.resources.get(parent) is None:
            self._raise_not_found(unit, parent)

    def require_writable(self, unit: Unit, kind: Kind[M], name: str, etag: str, caller: Caller) -> M:
        """One object that the caller may change as it is. Raises NotFound, StaleWrite, NotOwned."""
        resource = self._require(unit, kind, name)
        self.require_unchanged(resource, etag)
        self.require_owner(resource, caller)
        return kind.read(resource)

    def require_owner(self, resource: Resource, caller: Caller) -> None:
        """Raises NotOwned when another side declares the object."""
        if resource.managed_by != caller.managed_by:
            raise NotOwned(resource.name, resource.managed_by, caller.managed_by)

    def require_unchanged(self, resource: Resource, etag: str) -> None:
        """Raises StaleWrite when the caller read another state."""
        if etag and etag != etag_of(resource):
            raise StaleWrite(
                f"{resource.name} was changed since it was read: read it again and repeat the change", field="etag"
            )

    def _require(self, unit: Unit, kind: Kind[M], name: str) -> Resource:
        resource = unit.resources.get(name)
        if resource is None or resource.kind != kind.collection:
            self._raise_not_found(unit, name)
        assert resource is not None  # noqa: S101 (for the type checker: the line above raises)
        return resource

    def _raise_not_found(self, unit: Unit, name: str) -> None:
        parts = name.split("/")
        parent = parent_of(name)
        if len(parts) < 2 or len(parts) % 2:
            raise NotFound(f"`{name}` is no resource name: write it as environments/prod/plans/warehouse")
        if parent and unit.resources.get(parent) is None:
            self._raise_not_found(unit, parent)
        known = [last_segment(found.name) for found in unit.resources.list(parts[-2], parent, "", NEIGHBOURS_MAX)]
        raise NotFound(f"there is no {name}{nearest(parts[-1], known)}", field="name")

    def _refuse_problems(self, unit: Unit, kind: Kind[M], message: M) -> None:
        problems = tuple(Problem(f"{kind.noun}.{p.field}", p.description) for p in kind.check(unit, message))
        if problems:
            raise InvalidDefinition(problems)

    def _settable_copy(self, kind: Kind[M], message: M) -> Any:
        copy = kind.message()
        copy.CopyFrom(message)
        for field in OUTPUT_ONLY | kind.held_elsewhere | kind.output_only:
            if field in copy.DESCRIPTOR.fields_by_name:
                copy.ClearField(field)
        return copy

    def _merge(self, kind: Kind[M], stored: Message, wanted: M, mask: FieldMask) -> None:
        settable = kind.settable()
        source = self._settable_copy(kind, wanted)
        if not mask.paths or list(mask.paths) == ["*"]:
            kept = {field: getattr(stored, field) for field in ("name", *kind.output_only)}
            stored.CopyFrom(source)
            for field, value in kept.items():
                setattr(stored, field, value)
            return
        for path in mask.paths:
            if path.split(".")[0] not in settable:
                raise InvalidDefinition((Problem("update_mask", f"`{path}` can't be set{nearest(path, settable)}"),))
        if not mask.IsValidForDescriptor(stored.DESCRIPTOR):
            raise InvalidDefinition(
                (Problem("update_mask", f"names a field that does not exist: {', '.join(mask.paths)}"),)
            )
        for path in mask.paths:
            _clear(stored, path)  # so that an unset value in the request clears it
        mask.MergeMessage(source, stored, True, True)


def page_limit(page_size: int) -> int:
    """The size of a page. Raises InvalidDefinition for a negative one; a larger one than allowed is cut, as AIP-158 has it."""
    if page_size < 0:
        raise InvalidDefinition((Problem("page_size", "can't be negative"),))
    return min(page_size or PAGE_DEFAULT, PAGE_MAX)


def _body(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def _clear(message: Message, path: str) -> None:
    *outer, last = path.split(".")
    for name in outer:
        if not message.HasField(name):
            return
        message = getattr(message, name)
    message.ClearField(last)


def _refuse_another_system(kind: Kind[M], before: Message, after: Message) -> None:
    oneof = next((name for name in ("system", "backend") if name in before.DESCRIPTOR.oneofs_by_name), "")
    if not oneof:
        return
    was, becomes = before.WhichOneof(oneof), after.WhichOneof(oneof)
    if becomes and was != becomes:
        raise InvalidDefinition(
            (
                Problem(
                    f"{kind.noun}.{becomes}",
                    f"the {kind.noun.replace('_', ' ')} is {was} and can't become {becomes}: create another one",
                ),
            )
        )
