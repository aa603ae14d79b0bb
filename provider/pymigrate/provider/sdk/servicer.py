"""Terraform's calls, answered on top of `tf`: exceptions become diagnostics, partial state survives, plans tell the truth."""

import json
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, cast

from tf.gen import tfplugin_pb2 as pb
from tf.provider import ProviderServicer
from tf.utils import Diagnostics

from pymigrate.provider.sdk import planning
from pymigrate.provider.sdk.diagnostics import ManyRefused, Refused, add, to_path
from pymigrate.provider.sdk.resource import Context, DataSource, Resource, State
from pymigrate.provider.sdk.schema import Attribute, Schema
from pymigrate.provider.sdk.values import read_value, to_value, without_unknowns

log = logging.getLogger("pymigrate.provider")


class Servicer(ProviderServicer):
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
        return response

    def GetProviderSchema(self, request: Any, context: Any) -> Any:
        """Every schema, with the capabilities that Terraform reads here."""
        response = super().GetProviderSchema(request, context)
        response.server_capabilities.plan_destroy = True
        response.server_capabilities.get_provider_schema_optional = True
        return response

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:
        """Checks the provider's own configuration."""
        diagnostics = Diagnostics()
        self._guard(diagnostics, lambda: self.app.validate_config(diagnostics, read_value(request.config)))
        return pb.ValidateProviderConfig.Response(diagnostics=diagnostics.to_pb())

    def ConfigureProvider(self, request: Any, context: Any) -> Any:
        """Hands the provider its configuration."""
        diagnostics = Diagnostics()
        self._guard(diagnostics, lambda: self.app.configure_provider(diagnostics, read_value(request.config)))
        return pb.ConfigureProvider.Response(diagnostics=diagnostics.to_pb())

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:
        """Checks a resource's configuration."""
        call, resource = self._call(request.type_name)
        config = read_value(request.config) or {}
        for error in planning.config_errors(resource.attributes(), config):
            add(call.diagnostics, error)
        self._guard(call.diagnostics, lambda: resource.validate(call, config))
        return pb.ValidateResourceConfig.Response(diagnostics=call.diagnostics.to_pb())

    def ValidateDataResourceConfig(self, request: Any, context: Any) -> Any:
        """Checks a data source's configuration."""
        diagnostics = Diagnostics()
        schema: Schema = cast(Any, self._get_ds_cls(request.type_name)).get_schema()
        attributes = schema.by_name
        for error in planning.config_errors(attributes, read_value(request.config) or {}):
            add(diagnostics, error)
        return pb.ValidateDataResourceConfig.Response(diagnostics=diagnostics.to_pb())

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:
        """A stored state in the words of today's schema."""
        call, resource = self._call(request.type_name)
        state: State = json.loads(request.raw_state.json)

        def upgrade() -> State:
            older = request.version < resource.get_schema().version
            return resource.upgrade(request.version, state) if older else state

        upgraded = self._guard(call.diagnostics, upgrade)
        whole = planning.complete(resource.attributes(), upgraded if upgraded is not None else state)
        return pb.UpgradeResourceState.Response(upgraded_state=to_value(whole), diagnostics=call.diagnostics.to_pb())

    def ReadResource(self, request: Any, context: Any) -> Any:
        """The object as it is. When reading fails the state stays as it was."""
        call, resource = self._call(request.type_name)
        current: State = read_value(request.current_state)

        def read() -> State | None:
            found = resource.read(call, dict(current))
            return None if found is None else self._as_state(resource.attributes(), current, found)

        found = self._guard(call.diagnostics, read)
        state = current if call.diagnostics.has_errors() else found
        return pb.ReadResource.Response(
            new_state=to_value(state), private=request.private, diagnostics=call.diagnostics.to_pb()
        )

    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        """What an apply would change."""
        call, resource = self._call(request.type_name)
        prior, proposed = read_value(request.prior_state), read_value(request.proposed_new_state)
        call.config = read_value(request.config) or {}
        attributes = resource.attributes()
        if proposed is None:
            if prior is not None:
                self._guard(call.diagnostics, lambda: resource.plan_destroy(call, prior))
            return pb.PlanResourceChange.Response(planned_state=to_value(None), diagnostics=call.diagnostics.to_pb())

        def plan() -> State:
            return resource.modify_plan(call, prior, planning.planned_state(attributes, prior, proposed, call.config))

        planned = self._guard(call.diagnostics, plan)
        if planned is None:
            planned = proposed
        paths = (
            []
            if prior is None
            else planning.replaced(attributes, prior, planned) + resource.requires_replace(prior, planned)
        )
        return pb.PlanResourceChange.Response(
            planned_state=to_value(planned),
            requires_replace=[to_path(path) for path in paths],
            planned_private=request.prior_private,
            diagnostics=call.diagnostics.to_pb(),
        )

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:
        """Creates, changes or removes. Whatever fails, what the engine has accepted is in the answer's state."""
        call, resource = self._call(request.type_name)
        prior, planned = read_value(request.prior_state), read_value(request.planned_state)
        call.config = read_value(request.config) or {}
        attributes = resource.attributes()
        found: State | None
        if planned is None:
            self._guard(call.diagnostics, lambda: resource.delete(call, prior))
            found = prior if call.diagnostics.has_errors() else None
        else:
            work = (
                (lambda: resource.create(call, planned))
                if prior is None
                else (lambda: resource.update(call, prior, planned))
            )
            done = self._guard(call.diagnostics, work)
            if done is None and not call.diagnostics.has_errors():
                call.diagnostics.add_error(f"{call.type_name} told no state", "This is a defect of the provider.")
            accepted = done if done is not None else call.saved
            found = prior if accepted is None else self._as_state(attributes, planned, accepted)
        return pb.ApplyResourceChange.Response(
            new_state=to_value(found), private=request.planned_private, diagnostics=call.diagnostics.to_pb()
        )

    def ImportResourceState(self, request: Any, context: Any) -> Any:
        """What is known of an object by its name; a missing one is an error."""
        call, resource = self._call(request.type_name)
        state = self._guard(call.diagnostics, lambda: resource.import_state(call, request.id))
        if state is None:
            if not call.diagnostics.has_errors():
                call.diagnostics.add_error(
                    f"There is no {request.id}", f"Nothing of that name can be imported as {request.type_name}."
                )
            return pb.ImportResourceState.Response(diagnostics=call.diagnostics.to_pb())
        imported = pb.ImportResourceState.ImportedResource(
            type_name=request.type_name,
            state=to_value(planning.complete(resource.attributes(), without_unknowns(state))),
        )
        return pb.ImportResourceState.Response(imported_resources=[imported], diagnostics=call.diagnostics.to_pb())

    def ReadDataSource(self, request: Any, context: Any) -> Any:
        """The data."""
        diagnostics = Diagnostics()
        source: DataSource = cast(Any, self._get_ds_cls(request.type_name))(self.app)
        config: State = read_value(request.config) or {}
        call = Context(diagnostics, request.type_name, self.stopping, config)
        attributes = source.get_schema().by_name

        def read() -> State:
            return planning.complete(attributes, source.read(call, config))

        state = self._guard(diagnostics, read)
        return pb.ReadDataSource.Response(state=to_value(state), diagnostics=diagnostics.to_pb())

    def StopProvider(self, request: Any, context: Any) -> Any:
        """The user interrupts: calls under way are told, and Terraform waits for them."""
        self.stopping.set()
        return pb.StopProvider.Response()

    def _call(self, type_name: str) -> tuple[Context, Resource]:
        resource: Resource = cast(Any, self._get_res_cls(type_name))(self.app)
        return Context(Diagnostics(), type_name, self.stopping), resource

    def _as_state(self, attributes: Mapping[str, Attribute], wanted: State, found: State) -> State:
        """A state as Terraform wants it: complete, in the words of the plan, with nothing unknown."""
        state = planning.settled(attributes, wanted, planning.complete(attributes, found))
        return {name: without_unknowns(value) for name, value in state.items()}

    def _guard(self, diagnostics: Diagnostics, work: Callable[[], Any]) -> Any:
        """Does the work; what it raises becomes diagnostics."""
        try:
            return work()
        except ManyRefused as many:
            for error in many.errors:
                add(diagnostics, error)
        except Refused as error:
            add(diagnostics, error)
        except Exception as error:  # the edge: a raw gRPC error would leave orphans
            log.error("call failed", exc_info=error)
            diagnostics.add_error(
                "The provider failed", f"{type(error).__name__}: {error}. TF_LOG_PROVIDER=ERROR shows more."
            )
        return None
