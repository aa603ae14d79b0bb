"""Business metrics of one's own: what migrated rows mean to the people who wait for them, and what a clerk is spared.

It is the whole of what a package needs: families whose names begin with the entry point's, and their values as they are now.
"""

from collections.abc import Iterable, Sequence

from pymigrate.engine.ports.business_metrics import PlanFigures
from pymigrate.engine.ports.metrics import Family, Kind, Reading

ROWS_PER_INVOICE = 5
MINUTES_PER_INVOICE = 2.0
SECONDS_PER_MINUTE = 60

ARRIVED = Family(
    "invoices_arrived", Kind.GAUGE, "Invoices that have arrived in the warehouse.", ("environment", "plan")
)
SPARED = Family(
    "invoices_spared_seconds", Kind.GAUGE, "Time that clerks need no more to look them up.", ("environment",)
)


class InvoiceMetrics:
    """Counts invoices by the rows that they take."""

    def collect(self, plans: Sequence[PlanFigures]) -> Iterable[Reading]:
        """Asked while somebody scrapes."""
        arrived = {(plan.environment, plan.plan): plan.rows // ROWS_PER_INVOICE for plan in plans}
        yield Reading(ARRIVED, arrived.items())
        spared: dict[tuple[str, ...], float] = {}
        for (environment, _), invoices in arrived.items():
            known = spared.get((environment,), 0.0)
            spared[environment,] = known + invoices * MINUTES_PER_INVOICE * SECONDS_PER_MINUTE
        yield Reading(SPARED, spared.items())
