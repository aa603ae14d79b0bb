"""data.pymigrate_kpis: how a run, a plan, a phase, a department or an environment stands, in figures."""

from functools import cache

from tf.types import Bool

from pymigrate.provider import contract
from pymigrate.provider.asking import ask
from pymigrate.provider.descriptions import description_of
from pymigrate.provider.sdk.resource import Context, DataSource, State
from pymigrate.provider.sdk.schema import Attribute, Nesting, Schema
from pymigrate.v1 import kpi_pb2

PARTS = "parts"
LEAVE_OUT = ("name", PARTS)


class KpisDataSource(DataSource):
    """Figures at the moment of the reading."""

    @classmethod
    def get_name(cls) -> str:
        """`kpis`."""
        return "kpis"

    @classmethod
    @cache
    def get_schema(cls) -> Schema:
        """The request, and its answer; parts are a map by their names, and have none themselves."""
        fields, parts = (
            contract.attributes_of(kpi_pb2.Kpis.DESCRIPTOR, leave_out=LEAVE_OUT, is_computed=True) for _ in range(2)
        )
        return Schema(
            [
                Attribute("name", required=True, description=description_of("GetKpisRequest.name")),
                Attribute(
                    "includes_parts", Bool(), optional=True, description=description_of("GetKpisRequest.includes_parts")
                ),
                *fields,
                Attribute(
                    PARTS,
                    nested=parts,
                    nesting=Nesting.MAP,
                    computed=True,
                    description="Its parts by their resource names, where they were asked for.",
                ),
            ],
            description=(
                "How a run, a plan, a phase, a department or an environment stands, in figures, at the moment of the reading. What moves "
                "differs from plan to plan of Terraform: use it in checks and preconditions rather than as an argument of a resource."
            ),
        )

    def read(self, context: Context, config: State) -> State:
        """Asks the engine."""
        name, includes_parts = config["name"], config.get("includes_parts")
        attributes = self.get_schema().by_name
        request = kpi_pb2.GetKpisRequest(name=name, includes_parts=bool(includes_parts))
        found = ask(self, context, ("KpiService", "GetKpis"), request, f"The KPIs of {name} can't be told")
        figures = {field: attribute for field, attribute in attributes.items() if field != PARTS}
        parts = {part.name: contract.to_figures(part, attributes[PARTS].nested) for part in found.parts}
        own = {"name": name, "includes_parts": includes_parts}
        return contract.to_figures(found, figures) | own | {PARTS: parts if includes_parts else None}
