"""A provider of two small resources on the sdk, and the same on stock `tf`, so that each mend is shown beside what it mends."""

import threading
from typing import Any

from tf import schema as stock_schema
from tf.gen import tfplugin_pb2 as pb
from tf.iface import Provider
from tf.provider import ProviderServicer
from tf.types import Number, String
from tf.utils import to_dynamic_value

from pymigrate.provider.sdk.diagnostics import Refused
from pymigrate.provider.sdk.resource import Context, Resource, State
from pymigrate.provider.sdk.schema import TEXTS, Attribute, Nesting, Schema
from pymigrate.provider.sdk.servicer import Servicer


class Thing(Resource):
    """A resource whose behaviour a test sets on its provider."""

    @classmethod
    def get_name(cls) -> str:
        return "thing"

    @classmethod
    def get_schema(cls) -> Schema:
        parts = [
            Attribute("size", Number(), optional=True),
            Attribute("kind", String(), optional=True, computed=True, default="plain"),
        ]
        return Schema(
            [
                Attribute("name", String(), required=True, requires_replace=True),
                Attribute("colour", String(), optional=True, computed=True, default="red", words=("red", "blue")),
                Attribute("tags", TEXTS, optional=True),
                Attribute("parts", nested=parts, nesting=Nesting.MAP, optional=True),
                Attribute("secret", String(), optional=True, is_write_only=True),
                Attribute("id", String(), computed=True, is_stable=True),
                Attribute("seen", String(), computed=True),
            ],
            version=2,
        )

    def create(self, context: Context, planned: State) -> State:
        state: State = self.provider.create(context, planned)
        return state

    def read(self, context: Context, current: State) -> State | None:
        state: State | None = self.provider.read(current)
        return state

    def update(self, context: Context, current: State, planned: State) -> State:
        return {**planned, "seen": "now"}

    def delete(self, context: Context, current: State) -> None:
        self.provider.delete(current)

    def import_state(self, context: Context, identity: str) -> State | None:
        return {"name": identity} if identity == "there" else None

    def requires_replace(self, prior: State, planned: State) -> list[Any]:
        return [["tags"]] if "replace" in (planned.get("tags") or []) else []


class StockThing:
    """The same on stock `tf`."""

    def __init__(self, provider: Any) -> None:
        self.provider = provider

    @classmethod
    def get_name(cls) -> str:
        return "thing"

    @classmethod
    def get_schema(cls) -> stock_schema.Schema:
        return stock_schema.Schema(
            [
                stock_schema.Attribute("name", String(), required=True, requires_replace=True),
                stock_schema.Attribute("colour", String(), optional=True, computed=True, default="red"),
                stock_schema.Attribute("id", String(), computed=True),
                stock_schema.Attribute("seen", String(), computed=True),
            ],
            version=2,
        )

    def create(self, context: Any, planned: State) -> State:
        state: State = self.provider.create(context, planned)
        return state

    def plan(self, context: Any, current: Any, planned: State) -> State:
        return planned

    def upgrade(self, context: Any, version: int, old: State) -> State:
        return old

    def import_(self, context: Any, identity: str) -> State | None:
        return {"name": identity} if identity == "there" else None


class Small(Provider):
    """A provider whose resource does what the test says."""

    def __init__(self, resource: type) -> None:
        self._resource = resource
        self.made = threading.Event()

    def get_model_prefix(self) -> str:
        return "small_"

    def full_name(self) -> str:
        return "registry.terraform.io/small/small"

    def get_provider_schema(self, diags: Any) -> Schema:
        return Schema([])

    def validate_config(self, diags: Any, config: Any) -> None:
        """Nothing to check."""

    def configure_provider(self, diags: Any, config: Any) -> None:
        """Nothing to set."""

    def get_resources(self) -> list[Any]:
        return [self._resource]

    def get_data_sources(self) -> list[Any]:
        return []

    def create(self, context: Any, planned: State) -> State:
        return {**planned, "id": "1", "seen": "now"}

    def read(self, current: State) -> State | None:
        return current

    def delete(self, current: State) -> None:
        """Gone."""


class Failing(Small):
    """Accepts the object, and fails afterwards."""

    def create(self, context: Any, planned: State) -> State:
        if isinstance(context, Context):
            context.save({**planned, "id": "1", "seen": "now"})
        raise RuntimeError("the line was cut")

    def delete(self, current: State) -> None:
        raise Refused("It can't go", "Something needs it.", ["name"])


def mended(provider: Small | None = None) -> Servicer:
    """The sdk's servicer."""
    return Servicer(provider or Small(Thing))


def stock(provider: Small | None = None) -> ProviderServicer:
    """The servicer of `tf` itself."""
    return ProviderServicer(provider or Small(StockThing))


def plan_request(prior: State | None, proposed: State | None, config: State | None = None) -> Any:
    """A plan as Terraform asks for it."""
    return pb.PlanResourceChange.Request(
        type_name="small_thing",
        prior_state=to_dynamic_value(prior),
        proposed_new_state=to_dynamic_value(proposed),
        config=to_dynamic_value(config if config is not None else proposed),
    )


def apply_request(prior: State | None, planned: State | None, config: State | None = None) -> Any:
    """An apply as Terraform asks for it."""
    return pb.ApplyResourceChange.Request(
        type_name="small_thing",
        prior_state=to_dynamic_value(prior),
        planned_state=to_dynamic_value(planned),
        config=to_dynamic_value(config if config is not None else planned),
    )


def full(**values: Any) -> State:
    """A whole state of the thing, null where nothing is said."""
    return dict.fromkeys(Thing.attributes()) | values
