"""Terraform's calls, answered on top of `tf`: exceptions become diagnostics, partial state survives, plans tell the truth."""

import json
import logging
import threading
from collections.abc import Mapping
from typing import Any, cast

from tf.gen import tfplugin_pb2 as pb
from tf.provider import ProviderServicer
from tf.utils import Diagnostics

from pymigrate.provider.sdk import planning, states
from pymigrate.provider.sdk.diagnostics import add, guarded, to_path
from pymigrate.provider.sdk.ephemeral import EphemeralCalls
from pymigrate.provider.sdk.function import ArgumentRefused
from pymigrate.provider.sdk.resource import Context, DataSource, Resource, State
from pymigrate.provider.sdk.schema import Attribute
from pymigrate.provider.sdk.values import number, read_value, to_value, without_unknowns

log = logging.getLogger("pymigrate.provider")

CLIENT_CAPABILITIES = 3  # the field of ValidateResourceConfig that tells them, newer than the protocol that `tf` speaks


class Servicer(EphemeralCalls, ProviderServicer):
    """The provider's service. `stopping` is set when the user interrupts; calls under way end as they see fit."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self.stopping = threading.Event()

    def GetMetadata(self, request: Any, context: Any) -> Any:
        """Capabilities, and the names of all types."""
        response = super().GetMetadata(request, context)
        response.resources.extend(pb.GetMetadata.ResourceMetadata(type_name=name) for name in self._load_res_cls_map())
        response.data_sources.extend(
            pb.GetMetadata.DataSourceMetadata(type_name=name) for name in self._load_ds_cls_map()
        )
        response.functions.extend(pb.GetMetadata.FunctionMetadata(name=name) for name in self._load_func_cls_map())
        self.add_metadata(response)
        return response

    def GetProviderSchema(self, request: Any, context: Any) -> Any:
        """Every schema, with the capabilities that Terraform reads here."""
        response = super().GetProviderSchema(request, context)
        response.server_capabilities.plan_destroy = True
        response.server_capabilities.get_provider_schema_optional = True
        self.add_schemas(response)
        return response

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:
        """Checks the provider's own configuration."""
        diagnostics = Diagnostics()
        guarded(diagnostics, lambda: self.app.validate_config(diagnostics, read_value(request.config)))
        return pb.ValidateProviderConfig.Response(diagnostics=diagnostics.to_pb())

    def ConfigureProvider(self, request: Any, context: Any) -> Any:
        """Hands the provider its configuration."""
        diagnostics = Diagnostics()
        guarded(diagnostics, lambda: self.app.configure_provider(diagnostics, read_value(request.config)))
        return pb.ConfigureProvider.Response(diagnostics=diagnostics.to_pb())

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:
        """Checks a resource's configuration."""
        call, resource, attributes = self._call(request.type_name)

        def validate() -> None:
            config = call.config = states.read_state(attributes, request.config) or {}
            for error in planning.config_errors(attributes, config):
                add(call.diagnostics, error)
            for path in planning.write_only_set(attributes, config):
                if not _allows_write_only(request):
                    call.error("Terraform is too old", "A write-only attribute needs Terraform 1.11 or newer.", path)
            resource.validate(call, config)

        guarded(call.diagnostics, validate)
        return pb.ValidateResourceConfig.Response(diagnostics=call.diagnostics.to_pb())

    def ValidateDataResourceConfig(self, request: Any, context: Any) -> Any:
        """Checks a data source's configuration."""
        diagnostics = Diagnostics()
        _, attributes = self._data_source(request.type_name)
        for error in planning.config_errors(attributes, states.read_state(attributes, request.config) or {}):
            add(diagnostics, error)
        return pb.ValidateDataResourceConfig.Response(diagnostics=diagnostics.to_pb())

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:
        """A stored state in the words of today's schema."""
        call, resource, attributes = self._call(request.type_name)

        def upgrade() -> State:
            stored: State = json.loads(request.raw_state.json, parse_float=number)
            older = request.version < resource.get_schema().version
            return states.complete(attributes, resource.upgrade(request.version, stored) if older else stored)

        upgraded = guarded(call.diagnostics, upgrade)
        return pb.UpgradeResourceState.Response(
            upgraded_state=states.write_state(attributes, upgraded), diagnostics=call.diagnostics.to_pb()
        )

    def ReadResource(self, request: Any, context: Any) -> Any:
        """The object as it is. When reading fails the state stays as it was."""
        call, resource, attributes = self._call(request.type_name, request.private)
        new_state = request.current_state
        is_as_before = False

        def read() -> State | None:
            nonlocal is_as_before
            current = states.read_state(attributes, request.current_state) or {}
            found = resource.read(call, dict(current))
            is_as_before = found == current
            return found if found is None or is_as_before else self._as_state(call, attributes, current, found)

        found = guarded(call.diagnostics, read)
        if not is_as_before and not call.diagnostics.has_errors():
            new_state = states.write_state(attributes, found)
        return pb.ReadResource.Response(
            new_state=new_state, private=states.write_private(call.private), diagnostics=call.diagnostics.to_pb()
        )

    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        """What an apply would change."""
        call, resource, attributes = self._call(request.type_name)
        prior = states.read_state(attributes, request.prior_state)
        # Where nothing is written that was not there before, both are the same bytes.
        is_kept = request.proposed_new_state == request.prior_state
        proposed = prior if is_kept else states.read_state(attributes, request.proposed_new_state)
        call.config = states.read_state(attributes, request.config) or {}
        if proposed is None:
            if prior is not None:
                guarded(call.diagnostics, lambda: resource.plan_destroy(call, prior))
            return pb.PlanResourceChange.Response(
                planned_state=to_value(None),
                planned_private=request.prior_private,
                diagnostics=call.diagnostics.to_pb(),
            )
        response = pb.PlanResourceChange.Response(
            planned_state=request.proposed_new_state, planned_private=request.prior_private
        )

        def plan() -> None:
            planned = planning.planned_state(attributes, prior, proposed, call.config)
            planned = resource.modify_plan(call, prior, planned)
            if planned != proposed:
                response.planned_state.CopyFrom(states.write_state(attributes, planned))
            if prior is not None and planned != prior:
                paths = planning.replaced(attributes, prior, planned) + resource.requires_replace(prior, planned)
                response.requires_replace.extend(to_path(path) for path in paths)
                if paths:  # the object is destroyed for another one
                    resource.plan_destroy(call, prior)

        guarded(call.diagnostics, plan)
        response.diagnostics.extend(call.diagnostics.to_pb())
        return response

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:
        """Creates, changes or removes. Whatever fails, what the engine has accepted is in the answer's state."""
        call, resource, attributes = self._call(request.type_name, request.planned_private)
        prior = states.read_state(attributes, request.prior_state)
        planned = states.read_state(attributes, request.planned_state)
        call.config = states.read_state(attributes, request.config) or {}
        found: State | None
        if planned is None:
            guarded(call.diagnostics, lambda: resource.delete(call, prior or {}))
            found = prior if call.diagnostics.has_errors() else None
        else:
            done = guarded(
                call.diagnostics,
                lambda: resource.create(call, planned) if prior is None else resource.update(call, prior, planned),
            )
            if not isinstance(done, dict):
                if not call.diagnostics.has_errors():
                    call.error(f"{call.type_name} told no state", "This is a defect of the provider.")
                done = call.saved
            found = prior if done is None else self._as_state(call, attributes, planned, done)
        return pb.ApplyResourceChange.Response(
            new_state=states.write_state(attributes, found),
            private=states.write_private(call.private),
            diagnostics=call.diagnostics.to_pb(),
        )

    def ImportResourceState(self, request: Any, context: Any) -> Any:
        """What is known of an object by its name; a missing one is an error."""
        call, resource, attributes = self._call(request.type_name)

        def find() -> State | None:
            found = resource.import_state(call, request.id)
            return None if found is None else self._as_state(call, attributes, found, found)

        state = guarded(call.diagnostics, find)
        response = pb.ImportResourceState.Response()
        if state is not None:
            response.imported_resources.add(
                type_name=request.type_name,
                state=states.write_state(attributes, state),
                private=states.write_private(call.private),
            )
        elif not call.diagnostics.has_errors():
            call.error(f"There is no {request.id}", f"Nothing of that name can be imported as {request.type_name}.")
        response.diagnostics.extend(call.diagnostics.to_pb())
        return response

    def ReadDataSource(self, request: Any, context: Any) -> Any:
        """The data."""
        source, attributes = self._data_source(request.type_name)
        config = states.read_state(attributes, request.config) or {}
        call = Context(Diagnostics(), request.type_name, self.stopping, config)
        state = guarded(call.diagnostics, lambda: self._as_state(call, attributes, config, source.read(call, config)))
        return pb.ReadDataSource.Response(
            state=states.write_state(attributes, state), diagnostics=call.diagnostics.to_pb()
        )

    def CallFunction(self, request: Any, context: Any) -> Any:
        """What a function makes of its arguments."""
        function = self._load_func_cls_map()[request.name]
        signature = function.get_signature()
        try:
            arguments = [
                parameter.type.decode(read_value(given))
                for parameter, given in zip(signature.parameters, request.arguments, strict=True)
            ]
            answer = cast(Any, function)(self.app).call(*arguments)
        except ArgumentRefused as error:
            return pb.CallFunction.Response(error=pb.FunctionError(text=f"{error}.", function_argument=error.argument))
        except Exception as error:  # the edge: a raw gRPC error would not say where
            log.error("function failed", exc_info=error)
            return pb.CallFunction.Response(error=pb.FunctionError(text=f"{type(error).__name__}: {error}."))
        return pb.CallFunction.Response(result=to_value(answer))

    def StopProvider(self, request: Any, context: Any) -> Any:
        """The user interrupts: calls under way are told, and Terraform waits for them."""
        self.stopping.set()
        return pb.StopProvider.Response()

    def _call(self, type_name: str, private: bytes = b"") -> tuple[Context, Resource, Mapping[str, Attribute]]:
        resource: Resource = cast(Any, self._get_res_cls(type_name))(self.app)
        attributes = cast(Mapping[str, Attribute], self._get_res_attrs(type_name))
        call = Context(Diagnostics(), type_name, self.stopping, private=states.read_private(private))
        return call, resource, attributes

    def _data_source(self, type_name: str) -> tuple[DataSource, Mapping[str, Attribute]]:
        source: DataSource = cast(Any, self._get_ds_cls(type_name))(self.app)
        return source, source.get_schema().by_name

    def _as_state(self, call: Context, attributes: Mapping[str, Attribute], wanted: State, found: State) -> State:
        """A state as Terraform wants it: complete, in the words of the plan, with nothing unknown. A value that does not fit its
        attribute is left out and told, so that the object itself is not lost for it."""
        state = states.settled(attributes, wanted, states.complete(attributes, found))
        fitting = {name: without_unknowns(value) for name, value in state.items()}
        for misfit in states.misfits(attributes, fitting):
            add(call.diagnostics, misfit)
            fitting[str(misfit.path[0])] = None
        return fitting


def _allows_write_only(request: Any) -> bool:
    """Whether this Terraform knows write-only attributes: an older one would write them to its state."""
    # types-protobuf has no stub of it.
    from google.protobuf.unknown_fields import UnknownFieldSet  # type: ignore[import-not-found]

    # The capabilities are an unknown field, and so is their message: another one whose second field is a bool reads them.
    given = (field.data for field in UnknownFieldSet(request) if field.field_number == CLIENT_CAPABILITIES)
    return any(pb.ServerCapabilities.FromString(data).get_provider_schema_optional for data in given)
