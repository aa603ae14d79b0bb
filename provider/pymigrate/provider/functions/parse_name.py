"""provider::pymigrate::parse_name: what a resource name says."""

import re
from typing import Any

from tf.function import FunctionSignature, Parameter, Return
from tf.types import String

from pymigrate.provider.sdk.function import ArgumentRefused, Function
from pymigrate.provider.sdk.schema import TEXT_MAP, Attribute, NestedType, Nesting

PARTS = [
    Attribute("kind", String(), computed=True),
    Attribute("id", String(), computed=True),
    Attribute("parent", String(), computed=True),
    Attribute("segments", TEXT_MAP, computed=True),
]


class ParseName(Function):
    """Takes a resource name apart."""

    @classmethod
    def get_name(cls) -> str:
        """`parse_name`."""
        return "parse_name"

    @classmethod
    def get_signature(cls) -> FunctionSignature:
        """A name to an object."""
        return FunctionSignature(
            parameters=[
                Parameter(
                    "name", String(), "A resource name, such as `environments/prod/plans/warehouse/phases/sales`."
                )
            ],
            return_type=Return(NestedType(Nesting.SINGLE, PARTS)),
            summary="Takes a resource name apart",
            description=(
                "An object with `kind` (`phase`), `id` (`sales`), `parent` (`environments/prod/plans/warehouse`, empty above all) and "
                '`segments` (`{ environment = "prod", plan = "warehouse", phase = "sales" }`). What is no resource name is refused.'
            ),
        )

    def call(self, *arguments: Any) -> Any:
        """The parts."""
        name: str = arguments[0]
        parts = name.split("/")
        if len(parts) % 2 or not all(parts) or parts[0] != "environments":
            raise ArgumentRefused(0, f"`{name}` is no resource name: one reads environments/prod/plans/warehouse")
        segments = {_singular(kind): each for kind, each in zip(parts[::2], parts[1::2], strict=True)}
        if len(segments) < len(parts) // 2:
            raise ArgumentRefused(0, f"`{name}` is no resource name: it names a kind twice")
        return {
            "kind": _singular(parts[-2]),
            "id": parts[-1],
            "parent": "/".join(parts[:-2]),
            "segments": segments,
        }


def _singular(collection: str) -> str:
    """`alert_rule` of `alertRules`, as attributes spell it."""
    singular = f"{collection[:-3]}y" if collection.endswith("ies") else collection.removesuffix("s")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", singular).lower()
