"""What the command line says of a plan in the whole picture."""

import pytest

from pymigrate.engine.entrypoints.cli.dashboard_commands import state_word
from pymigrate.v1 import kpi_pb2, run_pb2


@pytest.mark.parametrize(
    ("state", "is_partial", "says"),
    [
        (run_pb2.RUN_STATE_UNSPECIFIED, False, "never run"),
        (run_pb2.RUN_STATE_UNSPECIFIED, True, "being read"),
        (run_pb2.RUN_STATE_FAILED, False, "failed"),
        (run_pb2.RUN_STATE_FAILED, True, "failed, being read"),
    ],
)
def test_a_plan_that_is_still_to_be_read_is_not_said_never_to_have_run(
    state: run_pb2.RunState.ValueType, is_partial: bool, says: str
) -> None:
    assert state_word(kpi_pb2.Kpis(state=state, is_partial=is_partial)) == says
