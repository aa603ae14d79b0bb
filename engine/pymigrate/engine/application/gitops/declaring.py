"""Writes definitions into a stage through the catalogue, each for its owner, and notes what was written where. Nothing is checked that the
whole decides."""

from dataclasses import replace
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.audit.declared import Difference
from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.environment_checks import Changed
from pymigrate.engine.application.environment_layers import INHERITANCE
from pymigrate.engine.application.gitops.definition import Definition
from pymigrate.engine.application.gitops.git_source_kinds import source_of
from pymigrate.engine.application.gitops.problems_told import ProblemsTold
from pymigrate.engine.application.gitops.staged import Staged
from pymigrate.engine.application.inherited_runs import require_unused
from pymigrate.engine.application.inheriting_troubles import is_layered
from pymigrate.engine.application.kind import Kind
from pymigrate.engine.application.kinds import ENVIRONMENTS, PHASES, PLANS, children
from pymigrate.engine.domain.errors import FailedPrecondition, PermanentError
from pymigrate.engine.domain.names import last_segment, parent_of
from pymigrate.engine.ports.store import Resource


class Declaring:
    """Writes for one caller, whose side is the owner. `changed` and `environments` are by the last segments of environments."""

    def __init__(
        self,
        catalog: Catalog,
        staged: Staged,
        caller: Caller,
        taken_over_sides: frozenset[str],
        problems: ProblemsTold,
    ) -> None:
        self._catalog = catalog
        self._staged = staged
        self._unit = staged.as_unit
        self._caller = caller
        self._taken_over_sides = taken_over_sides
        self._problems = problems
        self.changed: dict[str, Changed] = {}
        self.environments: set[str] = set()

    def declare(self, definition: Definition) -> None:
        """Writes an object, of a plan with its phases exactly those that are declared."""
        environment = "/".join(definition.name.split("/")[:2])
        if (
            environment != definition.name
            and self._problems.has(environment)
            and self._problems.is_invalid(environment)
        ):
            return  # what is below it can't be told apart from what is wrong with it
        try:
            self._write(definition.kind, definition.name, definition.message)
        except PermanentError as error:
            self._problems.raised(definition, error)
            return
        if definition.kind is PLANS:
            self._declare_phases(definition)

    def delete(self, kind: Kind[Any], resource: Resource) -> None:
        """Deletes an object of the owner's. Raises FailedPrecondition while something needs it."""
        self._catalog.delete(self._unit, kind, resource.name, "", self._caller, is_followed=False)
        self._note(resource.name, is_deleted=True)

    def _declare_phases(self, definition: Definition) -> None:
        plan = definition.name
        stored = {last_segment(each.name): each for each in children(self._unit, "phases", plan)}
        wanted = definition.message.phases
        for name in sorted(stored.keys() - wanted.keys()):
            if stored[name].managed_by == INHERITANCE:
                continue
            try:
                self._require_ours(stored[name])
                self.delete(PHASES, self._adopted(stored[name]))
            except PermanentError as error:
                self._problems.refused(definition, error.message, "phases")
        for name in sorted(wanted):
            try:
                self._write(PHASES, f"{plan}/phases/{name}", wanted[name])
            except PermanentError as error:
                self._problems.raised(definition, error, name)

    def _write(self, kind: Kind[Any], name: str, message: Any) -> None:
        stored = self._unit.resources.get(name)
        if stored is not None and stored.managed_by == INHERITANCE and self._is_left_out(stored):
            stored = None
        if stored is None:
            parent, object_id = parent_of(name), last_segment(name)
            self._catalog.create(self._unit, kind, parent, object_id, message, self._caller, is_checked=True)
            self._note(name)
            if kind is ENVIRONMENTS:
                self.environments.add(last_segment(name))
            return
        self._require_ours(stored)
        wanted = kind.message()
        wanted.CopyFrom(message)
        wanted.name = name
        wanted.etag = ""
        for field in kind.held_elsewhere:
            wanted.ClearField(field)
        if stored.managed_by == self._caller.managed_by and wanted.SerializeToString(deterministic=True) == stored.body:
            return
        adopted = self._adopted(stored)
        self._catalog.update(self._unit, kind, wanted, FieldMask(), self._caller, is_checked=True)
        after = self._unit.resources.get(name)
        if after is None or after.body == adopted.body:
            return
        self._note(name)
        if kind is ENVIRONMENTS and is_layered(kind.read(stored), kind.read(after)):
            self.environments.add(last_segment(name))

    def _is_left_out(self, inherited: Resource) -> bool:
        """Whether the environment leaves out by now what it inherited before, which then goes. Raises FailedPrecondition while that is
        used."""
        if self._catalog.is_hidden(self._unit, inherited.name):
            return False
        _, environment, key = inherited.name.split("/", 2)
        require_unused(self._unit, environment, key)
        for phase in children(self._unit, "phases", inherited.name):
            if phase.managed_by == INHERITANCE:
                self._unit.resources.delete(phase.name, phase.version)
        self._unit.resources.delete(inherited.name, inherited.version)
        return True

    def _require_ours(self, resource: Resource) -> None:
        """Raises FailedPrecondition, with how to get at what another side has."""
        side, ours = resource.managed_by, self._caller.managed_by
        if side == INHERITANCE:
            self._catalog.require_owner(self._unit, resource, self._caller)
        if side == ours or side in self._taken_over_sides:
            return
        source = source_of(side)
        if not source:
            way = f"take it over by naming `{side}` among the sides that are taken over, change or delete it there, or leave it out here"
        elif source_of(ours):
            way = f"declare it in one of the two alone, {source} or {source_of(ours)}"
        elif self._catalog.is_open(self._unit, resource):
            return
        else:
            way = (
                f"commit the change to the repository of {source} (DiffGitSource tells what a branch of it would change), suspend"
                " that source to change it by hand meanwhile, or leave it out here"
            )
        raise FailedPrecondition(f"{resource.name} is managed by {side}: {way}")

    def _adopted(self, resource: Resource) -> Resource:
        """The object as the owner's; what a suspended source has stays the source's."""
        side, owner = resource.managed_by, self._caller.managed_by
        if side == owner or side not in self._taken_over_sides:
            return resource
        adopted = replace(resource, managed_by=owner, version=resource.version + 1)
        self._unit.resources.update(adopted, resource.version)
        self._catalog.audit(
            self._unit, self._caller, "adopt", adopted.name, adopted.version, Difference(detail=f"from {side}")
        )
        return adopted

    def _note(self, name: str, *, is_deleted: bool = False) -> None:
        parts = name.split("/", 2)
        if parts[0] != "environments" or len(parts) < 3:
            return
        changed = self.changed.setdefault(parts[1], Changed())
        (changed.deleted if is_deleted else changed.written).add(parts[2])
