"""Tables of runs and KPIs at a prompt: each part with its own state, and no verdict on what was not compared."""

from rich.table import Table

from pymigrate.engine.entrypoints.cli.kpi_tables import kpis_table
from pymigrate.engine.entrypoints.cli.progress import table
from pymigrate.v1 import kpi_pb2, run_pb2

RUN = "environments/prod/plans/p/runs/r"


def cells(grid: Table, title: str) -> list[str]:
    """A column of a table, from its head to its end."""
    (column,) = [column for column in grid.columns if column.header == title]
    return [str(cell) for cell in column.cells]


def test_a_phase_is_told_with_its_own_state_beside_that_of_its_run() -> None:
    failed = run_pb2.RUN_STATE_FAILED
    whole = kpi_pb2.Kpis(name=RUN, state=failed, phases={"published": 1, "failed": 1})
    whole.parts.add(name=f"{RUN}/phases/a", state=failed, phases={"published": 1})
    whole.parts.add(name=f"{RUN}/phases/b", state=failed, phases={"failed": 1})
    assert cells(kpis_table(whole), "state") == ["failed", "published", "failed"]


def test_a_lane_is_told_with_its_own_state() -> None:
    lane = kpi_pb2.Kpis(
        name=f"{RUN}/lanes/a.d", state=run_pb2.RUN_STATE_FAILED, phases={"failed": 1}, lanes={"done": 1}
    )
    assert cells(kpis_table(lane), "state") == ["done"]


def test_what_was_not_compared_is_not_told_to_differ() -> None:
    run = run_pb2.Run(name=RUN, state=run_pb2.RUN_STATE_FAILED)
    run.phases["a"].state = run_pb2.PHASE_STATE_SKIPPED
    run.phases["a"].datasets["skipped"].rows = 0
    run.phases["b"].state = run_pb2.PHASE_STATE_PUBLISHED
    run.phases["b"].datasets["same"].verification.is_verified = True
    run.phases["c"].state = run_pb2.PHASE_STATE_FAILED
    run.phases["c"].datasets["other"].verification.target_checksum = "xxh3:1"
    grid = table(run)
    assert cells(grid, "state") == ["skipped", "published", "failed"]
    assert cells(grid, "equal") == ["-", "yes", "no"]
