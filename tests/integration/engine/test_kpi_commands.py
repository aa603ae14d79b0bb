"""KPIs from a served engine, at the command line: as a table, as JSON, and as they change until a run's end."""

import json

import pytest

from pymigrate.engine.entrypoints.cli import kpi_commands
from pymigrate.v1 import run_pb2
from tests.integration.engine.command_line import CommandLine
from tests.integration.engine.served import ServedEngine, ask
from tests.unit.application.engines import ENVIRONMENT, PLAN, phase

RUN = f"{PLAN}/runs/r"


@pytest.fixture
def pymigrate(served: ServedEngine) -> CommandLine:
    """The command line of an engine with a run of two phases."""
    served.do(served.engine.declare({"a": phase("orders"), "b": phase("items", needs=["a"])}))
    client = served.client()
    ask(client, client.runs.StartRun, run_pb2.StartRunRequest(parent=PLAN, run_id="r"))
    client.channel.close()
    return CommandLine(served.home, kpi_commands)


def test_a_watch_of_a_run_tells_each_change_and_ends_with_it(pymigrate: CommandLine) -> None:
    said = [json.loads(line) for line in pymigrate("kpis", RUN, "--watch", "--json").splitlines()]
    assert said[-1]["state"] == "succeeded"
    assert said[-1]["completion"] == 1
    rows = [each.get("rows", 0) for each in said]
    assert rows == sorted(rows)
    assert rows[-1] == 20
    assert f"{RUN}: succeeded, 100.0% done, 20 of 20 rows" in pymigrate("kpis", RUN, "--watch")


def test_a_table_tells_a_subject_and_its_parts(pymigrate: CommandLine) -> None:
    pymigrate("kpis", RUN, "--watch")
    said = pymigrate("kpis", PLAN, "--parts")
    assert "20 of 20" in said
    assert "verification: 2 verified" in said
    states = {"p": "succeeded", "a": "published", "b": "published"}
    told = [line.split() for line in said.splitlines() if "│" in line]
    assert {words[1]: state for words in told for state in states.values() if state in words} == states


def test_json_has_the_contracts_shape(pymigrate: CommandLine) -> None:
    pymigrate("kpis", RUN, "--watch")
    found = json.loads(pymigrate("kpis", ENVIRONMENT, "--parts", "--json"))
    assert (found["rows"], found["rowsExpected"], found["runs"]) == (20, 20, {"succeeded": 1})
    assert [part["name"] for part in found["parts"]] == [f"{ENVIRONMENT}/departments/sales", PLAN]


def test_a_name_that_nothing_has_is_refused(pymigrate: CommandLine) -> None:
    assert "did you mean `sales`" in pymigrate("kpis", f"{ENVIRONMENT}/departments/sale", code=1)
    assert "there are no KPIs of" in pymigrate("kpis", "sales", "--watch", code=1)
