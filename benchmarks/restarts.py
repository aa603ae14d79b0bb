"""An engine's start with many plans whose runs have ended: the processor time until all figures are whole, from what was kept of the runs.

Reference: the same start where nothing was kept, so that every newest run is read with its events. Both tell the same figures.
"""

import asyncio
import statistics
from collections.abc import Sequence

from _figures import Report, arguments
from _restarts import Start, started

GOAL_SECONDS = 0.5
PLANS, PLANS_TINY = 1_000, 20


def cpu_seconds(starts: Sequence[Start]) -> float:
    """The median of what starts took."""
    return statistics.median(start.cpu_seconds for start in starts)


async def main() -> None:
    given = arguments(__doc__ or "")
    plans = PLANS_TINY if given.tiny else PLANS
    report = Report("restarts", ["sqlalchemy", "sqlmodel"])
    kept, read = await started(plans, 1 if given.quick or given.tiny else 3)
    took = cpu_seconds(kept)
    report.add(
        f"processor time of a start until all figures are whole, {plans:,} ended plans",
        took,
        "s",
        reference="every newest run read with its events",
        reference_value=cpu_seconds(read),
        goal=f"below {GOAL_SECONDS} s",
        met=took < GOAL_SECONDS,
    )
    report.write(given.results)


if __name__ == "__main__":
    asyncio.run(main())
