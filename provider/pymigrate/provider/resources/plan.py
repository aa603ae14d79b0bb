"""pymigrate_plan."""

from typing import Any

from pymigrate.provider import work
from pymigrate.provider.comparing import Change, changed_path
from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.provider.replacing import Replaceable
from pymigrate.provider.sdk.diagnostics import Refused
from pymigrate.provider.sdk.resource import Context, State
from pymigrate.v1 import plan_pb2

# What may change downtime, and a comparison can be asked of. A warning stands at the first of them that changes.
COSTS = ("schedule", "lanes_max")
NO_LIMIT = -1


class PlanResource(Replaceable, DeclaredResource):
    """A migration as a whole. Its phases are resources of their own."""

    # A list of plans has all of their phases: plans are few, and read one by one.
    declaration = Declaration(
        "plan", "PlanService", plan_pb2, parent="environment", leave_out=("phases",), is_listed=False
    )
    identifying = ("environment", "plan_id")

    def read(self, context: Context, current: State) -> State | None:
        """The plan as the engine has it."""
        self.note_read(current)
        return super().read(context, current)

    def plan_change(self, context: Context, prior: State, planned: State) -> None:
        """What a change makes of downtime is warned of."""
        if path := changed_path(self.attributes(), COSTS, prior, planned):
            change = Change(planned["name"], "", lambda: self._variant(planned), path)
            self.provider.comparisons.warn(context, self.provider, change)

    def plan_destroy(self, context: Context, prior: State) -> None:
        """Refuses it where the plan is protected; otherwise says what is under way, and what can still be undone."""
        self.hear_of_destruction(prior)
        name = prior["name"]
        if prior.get("deletion_protection"):
            raise Refused(
                f"{name} is protected from deletion",
                "Set `deletion_protection = false` and apply that first; then it can be destroyed, or another one take its place.",
                ["deletion_protection"],
            )
        runs = work.runs_below(self.engine, name, self.attributes())
        work.warn_of_unfinished(context, name, runs)
        work.warn_of_published(context, name, runs)

    def _variant(self, planned: State) -> Any:
        from pymigrate.v1 import impact_pb2

        plan = self._message(planned)
        return impact_pb2.ImpactVariant(
            lanes_max=plan.lanes_max or NO_LIMIT,
            schedule=plan.schedule if plan.HasField("schedule") else None,
            is_unscheduled=not plan.HasField("schedule"),
        )
