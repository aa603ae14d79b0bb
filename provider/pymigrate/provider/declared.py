"""A declared object of the contract as a resource: the five calls of AIP-131 to 135, and a schema read off the message."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import grpc
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from pymigrate.provider import contract
from pymigrate.provider.conflicts import (
    COMMANDS_MAX,
    changed_elsewhere,
    exists_already,
    import_command,
    still_needed,
    warn_of_owner,
)
from pymigrate.provider.descriptions import description_of
from pymigrate.provider.engine import Engine, is_missing, refuse, request_id
from pymigrate.provider.formats import ID, PARENTS
from pymigrate.provider.sdk import planning
from pymigrate.provider.sdk.checks import Check
from pymigrate.provider.sdk.diagnostics import Path, Refused
from pymigrate.provider.sdk.resource import Context, Resource, State
from pymigrate.provider.sdk.schema import Attribute, Schema, are_equal
from pymigrate.provider.sdk.values import Unknown

log = logging.getLogger("pymigrate.provider")

NEEDED = "is needed by"  # how the engine says that another object names one
ETAG = "etag"  # in the private state: which state of the object was read last
OUTPUT_ONLY = ("name", "uid", "etag", "create_time", "update_time", "managed_by", "plan_hash", "definition_hash")


@dataclass(frozen=True)
class Declaration:
    """What tells one kind from another. `module` has its messages, `parent` the attribute that names what it lies under; of `kinds` exactly
    one is set, and another one is another object; `outputs` are what the engine computes; `checks` lie at paths as `required` does;
    `is_listed`: many are read by their list."""

    noun: str
    service: str
    module: Any
    parent: str = ""
    required: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    is_listed: bool = True
    checks: Mapping[str, Check] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """As messages and calls spell it: `AlertRule`."""
        return "".join(part.capitalize() for part in self.noun.split("_"))

    def message(self) -> Any:
        """An empty message of the kind."""
        return getattr(self.module, self.title)()

    def name_in(self, state: State) -> str:
        """The resource name of what a state or plan declares: `environments/prod/alertRules/failures`."""
        first, *others = self.noun.split("_")
        collection = first + "".join(part.capitalize() for part in others) + "s"
        above = f"{state[self.parent]}/" if self.parent else ""
        return f"{above}{collection}/{state[f'{self.noun}_id']}"

    def request(self, call: str, **fields: Any) -> Any:
        """A request of one of its calls."""
        return getattr(self.module, f"{call}{self.title}Request")(**fields)


class DeclaredResource(Resource):
    """A resource that is a message of the contract and nothing else."""

    declaration: ClassVar[Declaration]

    @classmethod
    def get_name(cls) -> str:
        """The noun."""
        return cls.declaration.noun

    @classmethod
    @cache
    def get_schema(cls) -> Schema:
        """Its place and id, what can be set, and what the engine tells."""
        kind = cls.declaration
        parents = (kind.parent,) if kind.parent else ()
        noun_id, name_id = f"{kind.noun}_id", f"Create{kind.title}Request.{kind.noun}_id"
        left_out = [name for name in (*OUTPUT_ONLY, *kind.leave_out) if name not in kind.outputs]
        fields = contract.attributes_of(
            kind.message().DESCRIPTOR,
            leave_out=left_out,
            required=kind.required,
            computed=kind.outputs,
            checks=kind.checks,
        )
        return Schema(
            [
                *(
                    Attribute(name, required=True, requires_replace=True, check=check, description=text)
                    for name in parents
                    for check, text in [PARENTS[name]]
                ),
                Attribute(noun_id, required=True, requires_replace=True, check=ID, description=description_of(name_id)),
                *fields,
                *(
                    Attribute(name, computed=True, is_stable=True, description=description_of(f"{kind.title}.{name}"))
                    for name in ("name", "uid")
                ),
            ],
            description=description_of(kind.title),
        )

    @property
    def engine(self) -> Engine:
        """The engine of the provider's configuration."""
        engine: Engine = self.provider.engine()
        return engine

    def validate(self, context: Context, config: State) -> None:
        """Exactly one kind, where there are several."""
        kinds = self.declaration.kinds
        given = [name for name in kinds if config.get(name) is not None]
        if len(given) != 1 and kinds and all(config.get(name) is not Unknown for name in kinds):
            found = f"{' and '.join(given)} are set" if given else "none is set"
            what = self.declaration.noun.replace("_", " ")
            raise Refused(f"A {what} is of exactly one kind", f"Set one of {', '.join(kinds)}; {found}.", given[1:2])

    def requires_replace(self, prior: State, planned: State) -> list[Path]:
        """The kind can't change."""
        kinds = self.declaration.kinds
        return [[name] for name in kinds if (prior.get(name) is None) != (planned.get(name) is None)]

    def create(self, context: Context, planned: State) -> State:
        """Creates the object under its id."""
        kind = self.declaration
        fields = {
            kind.noun: self._message(planned),
            f"{kind.noun}_id": planned[f"{kind.noun}_id"],
            "request_id": request_id(),
        }
        if kind.parent:
            fields["parent"] = planned[kind.parent]
        try:
            made = self.engine.call(kind.service, f"Create{kind.title}", kind.request("Create", **fields))
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.ALREADY_EXISTS and (there := self._find(kind.name_in(planned))):
                raise exists_already(there, kind.noun, self._commands_below(there.name)) from error
            refuse(error, f"{kind.title} can't be created", self.attributes(), kind.noun)
        return self._accepted(context, made)

    def read(self, context: Context, current: State) -> State | None:
        """The object as the engine has it."""
        name = current["name"]
        listed = self.provider.bulk_reads.find(self.engine, name, self._page) if self.declaration.is_listed else None
        found = self._find(name) if listed is None else listed
        if found is None:
            return None
        context.private[ETAG] = found.etag
        return self._state(found)

    def update(self, context: Context, current: State, planned: State) -> State:
        """Changes the fields that differ, where nobody has changed the object since it was read."""
        kind = self.declaration
        message = self._message(planned)
        message.name, message.etag = current["name"], context.private.get(ETAG, "")
        known = message.DESCRIPTOR.fields_by_name
        changed = [
            name
            for name, attribute in self.attributes().items()
            if name in known
            and not attribute.computed
            and not are_equal(attribute, current.get(name), planned.get(name))
        ]
        request = kind.request("Update", **{kind.noun: message, "update_mask": FieldMask(paths=changed)})
        # Only what the engine computes is other, such as the digest of a phase whose connection has changed: nothing is written.
        call = ("Update", request) if changed else ("Get", kind.request("Get", name=current["name"]))
        try:
            made = self.engine.call(kind.service, f"{call[0]}{kind.title}", call[1])
        except grpc.RpcError as error:
            there = self._find(current["name"]) if error.code() is grpc.StatusCode.ABORTED else None
            if there is None:
                refuse(error, f"{current['name']} can't be changed", self.attributes(), kind.noun)
            found = self._state(there)
            # The first try of a call that was made twice may have changed it: then it is as it is to be.
            if any(planning.changes({name: self.attributes()[name] for name in changed}, planned, found)):
                raise changed_elsewhere(self.attributes(), current, found, there, "changed") from error
            made = there
        return self._accepted(context, made)

    def delete(self, context: Context, current: State) -> None:
        """Removes the object, where nobody has changed it since it was read."""
        kind = self.declaration
        request = kind.request("Delete", name=current["name"], etag=context.private.get(ETAG, ""))
        self.provider.bulk_reads.forget()
        try:
            self.engine.call(kind.service, f"Delete{kind.title}", request)
        except grpc.RpcError as error:
            if is_missing(error):
                return
            there = self._find(current["name"]) if error.code() is grpc.StatusCode.ABORTED else None
            if there is not None:
                raise changed_elsewhere(self.attributes(), current, self._state(there), there, "deleted") from error
            if error.code() is grpc.StatusCode.FAILED_PRECONDITION and NEEDED in str(error.details()):
                raise still_needed(str(error.details()), current["name"]) from error
            refuse(error, f"{current['name']} can't be deleted", self.attributes(), kind.noun)

    def import_state(self, context: Context, identity: str) -> State | None:
        """Everything, by its name. What is not set is empty, so that both a configuration without it and one that says so fit."""
        found = self._find(identity)
        if found is None:
            return None
        context.private[ETAG] = found.etag
        warn_of_owner(context, found)
        return self._state(found, has_zeros=True)

    def _find(self, name: str) -> Any:
        """The message of that name; None when there is none."""
        kind = self.declaration
        try:
            return self.engine.call(kind.service, f"Get{kind.title}", kind.request("Get", name=name))
        except grpc.RpcError as error:
            if is_missing(error):
                return None
            refuse(error, f"{name} can't be read", self.attributes(), kind.noun)

    def _commands_below(self, name: str) -> list[str]:
        """How everything is taken over that lies in an object: a few more than are told at most."""
        commands: list[str] = []
        waiting = [(self.declaration.noun, name)]
        while waiting and len(commands) <= COMMANDS_MAX:
            noun, parent = waiting.pop(0)
            for each in self.provider.get_resources():
                if issubclass(each, DeclaredResource) and each.declaration.parent == noun:
                    kind, names = each.declaration.noun, each(self.provider).names_below(parent, COMMANDS_MAX + 1)
                    commands += [import_command(kind, found) for found in names]
                    waiting += [(kind, found) for found in names]
        return commands

    def names_below(self, parent: str, most: int) -> list[str]:
        """The names of the objects of this kind below another one, at most so many; none where the engine does not tell them."""
        try:
            objects, _ = self._page(parent, most, "")
        except grpc.RpcError as error:
            log.warning("%ss of %s can't be listed: %s", self.declaration.noun, parent, error.code())
            return []
        return [found.name for found in objects]

    def _page(self, parent: str, size: int, token: str) -> tuple[list[Any], str]:
        """A page of the objects below a parent, and the token of the next one."""
        kind = self.declaration
        fields = {"parent": parent} if kind.parent else {}
        request = getattr(kind.module, f"List{kind.title}sRequest")(page_size=size, page_token=token, **fields)
        answer = self.engine.call(kind.service, f"List{kind.title}s", request)
        return list(getattr(answer, f"{kind.noun}s")), answer.next_page_token

    def _accepted(self, context: Context, made: Any) -> State:
        """The state of what the engine has taken; it is kept whatever fails afterwards."""
        self.provider.bulk_reads.forget()
        state = self._state(made)
        context.private[ETAG] = made.etag
        context.save(state)
        return state

    def _message(self, state: State) -> Any:
        message: Message = self.declaration.message()
        try:
            contract.to_message(state, message, self.attributes())
        except ValueError as error:
            raise Refused(f"{self.declaration.title} does not fit the contract", str(error)) from error
        return message

    def _state(self, message: Any, *, has_zeros: bool = False) -> State:
        kind = self.declaration
        parts = message.name.split("/")
        state = contract.to_state(message, self.attributes(), has_zeros=has_zeros)
        state[f"{kind.noun}_id"] = parts[-1]
        if kind.parent:
            state[kind.parent] = "/".join(parts[:-2])
        return state
