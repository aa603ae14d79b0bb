"""Ephemeral resources: values that are opened for one command and never reach plan or state.

Their calls are newer than the stubs of `tf`. The few messages that they take are described here by name and number, beside those stubs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.timestamp_pb2 import DESCRIPTOR as TIMESTAMP_FILE
from google.protobuf.timestamp_pb2 import Timestamp
from tf.gen import tfplugin_pb2 as pb
from tf.utils import Diagnostics

from pymigrate.provider.sdk import planning, states
from pymigrate.provider.sdk.diagnostics import add, guarded
from pymigrate.provider.sdk.resource import Context, State, Typed
from pymigrate.provider.sdk.schema import Attribute
from pymigrate.provider.sdk.values import to_value

SERVICE = "tfplugin6.Provider"
PACKAGE = "pymigrate.provider.protocol"
BYTES = "bytes"
# Message to its fields: name to number, what it holds (nothing: text), and whether there are several. A map is a list of its entries on the
# wire.
MESSAGES: dict[str, dict[str, tuple[int, str, bool]]] = {
    "Metadata": {"type_name": (1, "", False)},
    "MetadataAddition": {"ephemeral_resources": (6, f"{PACKAGE}.Metadata", True)},
    "SchemaEntry": {"key": (1, "", False), "value": (2, "tfplugin6.Schema", False)},
    "SchemaAddition": {"ephemeral_resource_schemas": (8, f"{PACKAGE}.SchemaEntry", True)},
    "Asked": {"type_name": (1, "", False), "config": (2, "tfplugin6.DynamicValue", False)},
    "Answer": {
        "diagnostics": (1, "tfplugin6.Diagnostic", True),
        "renew_at": (2, "google.protobuf.Timestamp", False),
        "result": (3, "tfplugin6.DynamicValue", False),
        "private": (4, BYTES, False),
    },
    "Held": {"type_name": (1, "", False), "private": (2, BYTES, False)},
    "Renewed": {
        "diagnostics": (1, "tfplugin6.Diagnostic", True),
        "renew_at": (2, "google.protobuf.Timestamp", False),
        "private": (3, BYTES, False),
    },
}


@dataclass
class EphemeralContext(Context):
    """A call for something that is held for as long as a command needs it. What `private` notes comes with the next call, and is written
    nowhere; `renew_at` is when the next renewal is due, None for none."""

    renew_at: Timestamp | None = None


class EphemeralResource(Typed):
    """An ephemeral resource. Methods raise `Refused` (or `ManyRefused`) for what can't be done."""

    def open(self, context: EphemeralContext, config: State) -> State:
        """What it gives: the configuration with what is computed."""
        raise TypeError(f"{self.get_name()} can't be opened")

    def renew(self, context: EphemeralContext) -> None:
        """Lets it hold for longer, where `open` or the last renewal said when."""

    def close(self, context: EphemeralContext) -> None:
        """Ends it: the command needs it no more."""


class EphemeralCalls:
    """The calls of ephemeral resources, for the servicer of the provider `app`."""

    app: Any
    stopping: Any

    def add_metadata(self, response: Any) -> None:
        """Names the ephemeral resources in an answer to GetMetadata."""
        told = [messages()["Metadata"](type_name=name) for name in self._ephemeral_types()]
        response.MergeFromString(messages()["MetadataAddition"](ephemeral_resources=told).SerializeToString())

    def add_schemas(self, response: Any) -> None:
        """Puts their schemas into an answer to GetProviderSchema."""
        told = [
            messages()["SchemaEntry"](key=name, value=found.get_schema().to_pb())
            for name, found in self._ephemeral_types().items()
        ]
        response.MergeFromString(messages()["SchemaAddition"](ephemeral_resource_schemas=told).SerializeToString())

    def ephemeral_handler(self) -> grpc.GenericRpcHandler:
        """What a server is given beside the service of `tf`."""
        calls = {
            "ValidateEphemeralResourceConfig": (self._validate, "Asked"),
            "OpenEphemeralResource": (self._open, "Asked"),
            "RenewEphemeralResource": (self._renew, "Held"),
            "CloseEphemeralResource": (self._close, "Held"),
        }
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(
                call, messages()[asked].FromString, lambda answer: answer.SerializeToString()
            )
            for name, (call, asked) in calls.items()
        }
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def _validate(self, request: Any, context: Any) -> Any:
        diagnostics = Diagnostics()
        _, attributes = self._ephemeral(request.type_name)

        def validate() -> None:
            for error in planning.config_errors(attributes, states.read_state(attributes, request.config) or {}):
                add(diagnostics, error)

        guarded(diagnostics, validate)
        return messages()["Answer"](diagnostics=diagnostics.to_pb())

    def _open(self, request: Any, context: Any) -> Any:
        resource, attributes = self._ephemeral(request.type_name)
        config = states.read_state(attributes, request.config) or {}
        call = EphemeralContext(Diagnostics(), request.type_name, self.stopping, config)
        found = guarded(call.diagnostics, lambda: states.complete(attributes, resource.open(call, config)))
        return messages()["Answer"](
            diagnostics=call.diagnostics.to_pb(),
            result=to_value(None) if found is None else states.write_state(attributes, found),
            renew_at=call.renew_at,
            private=states.write_private(call.private),
        )

    def _renew(self, request: Any, context: Any) -> Any:
        call = self._held(request)
        guarded(call.diagnostics, lambda: self._ephemeral(request.type_name)[0].renew(call))
        return messages()["Renewed"](
            diagnostics=call.diagnostics.to_pb(),
            renew_at=call.renew_at,
            private=states.write_private(call.private),
        )

    def _close(self, request: Any, context: Any) -> Any:
        call = self._held(request)
        guarded(call.diagnostics, lambda: self._ephemeral(request.type_name)[0].close(call))
        return messages()["Renewed"](diagnostics=call.diagnostics.to_pb())

    def _held(self, request: Any) -> EphemeralContext:
        noted = states.read_private(request.private)
        return EphemeralContext(Diagnostics(), request.type_name, self.stopping, private=noted)

    def _ephemeral(self, type_name: str) -> tuple[EphemeralResource, Mapping[str, Attribute]]:
        resource: EphemeralResource = self._ephemeral_types()[type_name](self.app)
        return resource, resource.get_schema().by_name

    def _ephemeral_types(self) -> dict[str, Any]:
        found: list[Any] = getattr(self.app, "get_ephemeral_resources", list)()
        return {self.app.get_model_prefix() + each.get_name(): each for each in found}


@cache
def messages() -> dict[str, Any]:
    """The classes of MESSAGES by name."""
    file = FileDescriptorProto(
        name="pymigrate/provider/protocol.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=[pb.DESCRIPTOR.name, TIMESTAMP_FILE.name],
    )
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, held, is_many) in fields.items():
            plain = FieldDescriptorProto.TYPE_BYTES if held == BYTES else FieldDescriptorProto.TYPE_STRING
            is_message = held not in {"", BYTES}
            message.field.add(
                name=field,
                number=number,
                label=FieldDescriptorProto.LABEL_REPEATED if is_many else FieldDescriptorProto.LABEL_OPTIONAL,
                type=FieldDescriptorProto.TYPE_MESSAGE if is_message else plain,
                type_name=f".{held}" if is_message else None,
            )
    pool = descriptor_pool.Default()  # type: ignore[no-untyped-call]  # protobuf's own
    found: Any = pool.AddSerializedFile(file.SerializeToString())
    return {name: message_factory.GetMessageClass(found.message_types_by_name[name]) for name in MESSAGES}
