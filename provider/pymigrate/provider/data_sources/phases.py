"""data.pymigrate_phases: the phases of a plan that is declared elsewhere."""

from functools import cache

from pymigrate.provider import contract
from pymigrate.provider.asking import PAGE_SIZE, PAGES_MAX, ask
from pymigrate.provider.formats import PARENTS
from pymigrate.provider.sdk.diagnostics import Refused
from pymigrate.provider.sdk.resource import Context, DataSource, State
from pymigrate.provider.sdk.schema import Attribute, Nesting, Schema
from pymigrate.v1 import plan_pb2

CHECK, TEXT = PARENTS["plan"]


class PhasesDataSource(DataSource):
    """Every phase of a plan, by its id."""

    @classmethod
    def get_name(cls) -> str:
        """`phases`."""
        return "phases"

    @classmethod
    @cache
    def get_schema(cls) -> Schema:
        """The plan, and its phases as their messages say."""
        fields = contract.attributes_of(plan_pb2.Phase.DESCRIPTOR, is_computed=True)
        told = "The phases by the last segment of their names."
        return Schema(
            [
                Attribute("plan", required=True, check=CHECK, description=TEXT),
                Attribute("phases", nested=fields, nesting=Nesting.MAP, computed=True, description=told),
            ],
            description="The phases of a plan as the engine has them, whoever declares them.",
        )

    def read(self, context: Context, config: State) -> State:
        """Asks the engine, page by page."""
        plan, summary = config["plan"], f"The phases of {config['plan']} can't be read"
        fields = self.get_schema().by_name["phases"].nested
        phases: State = {}
        token = ""
        for _ in range(PAGES_MAX):
            request = plan_pb2.ListPhasesRequest(parent=plan, page_size=PAGE_SIZE, page_token=token)
            page = ask(self, context, ("PlanService", "ListPhases"), request, summary)
            phases |= {phase.name.rpartition("/")[2]: contract.to_figures(phase, fields) for phase in page.phases}
            token = page.next_page_token
            if not token:
                return {"plan": plan, "phases": phases}
        raise Refused(summary, f"There are more than {PAGES_MAX * PAGE_SIZE:,}.", ["plan"])
