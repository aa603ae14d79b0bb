"""data.pymigrate_plan: a plan that is declared elsewhere."""

from functools import cache

from pymigrate.provider import contract
from pymigrate.provider.asking import ask
from pymigrate.provider.descriptions import description_of
from pymigrate.provider.formats import PARENTS
from pymigrate.provider.sdk.resource import Context, DataSource, State
from pymigrate.provider.sdk.schema import Attribute, Schema
from pymigrate.v1 import plan_pb2

LEAVE_OUT = ("name", "phases")  # its phases are a data source of their own
CHECK, _ = PARENTS["plan"]


class PlanDataSource(DataSource):
    """A plan as the engine has it, whoever declares it."""

    @classmethod
    def get_name(cls) -> str:
        """`plan`."""
        return "plan"

    @classmethod
    @cache
    def get_schema(cls) -> Schema:
        """The plan's message, all of it computed but its name."""
        fields = contract.attributes_of(plan_pb2.Plan.DESCRIPTOR, leave_out=LEAVE_OUT, is_computed=True)
        name = Attribute("name", required=True, check=CHECK, description=description_of("Plan.name"))
        return Schema(
            [name, *fields],
            description="A plan as the engine has it, whoever declares it. `pymigrate_phases` has its phases.",
        )

    def read(self, context: Context, config: State) -> State:
        """Asks the engine."""
        request = plan_pb2.GetPlanRequest(name=config["name"])
        plan = ask(self, context, ("PlanService", "GetPlan"), request, f"{config['name']} can't be read")
        return contract.to_figures(plan, self.get_schema().by_name)
