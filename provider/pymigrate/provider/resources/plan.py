"""pymigrate_plan."""

from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.v1 import plan_pb2


class PlanResource(DeclaredResource):
    """A migration as a whole. Its phases are resources of their own."""

    declaration = Declaration("plan", "PlanService", plan_pb2, parent="environment", leave_out=("phases",))
