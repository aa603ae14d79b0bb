"""What a change touches and what it leaves alone, through the real terraform: runs that are under way, digests, what is replaced."""

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pymigrate.v1 import run_pb2
from tests.e2e.acceptance import Stage, attached, engine
from tests.e2e.engines import EngineProcess

__all__ = ["attached", "engine"]
NUMBERS = itertools.count(1)
CONFIGURATION = """
resource "pymigrate_environment" "here" { environment_id = "%(id)s" }
resource "pymigrate_department" "sales" {
  environment   = pymigrate_environment.here.name
  department_id = "sales"
}
resource "pymigrate_connection" "crm" {
  environment   = pymigrate_environment.here.name
  connection_id = "crm"
  sqlite        = { path = "%(folder)s/crm.db" }
}
resource "pymigrate_connection" "erp" {
  environment   = pymigrate_environment.here.name
  connection_id = "erp"
  postgres = {
    host     = "erp.internal"
    database = "erp"
    user     = "reader"
    password = "env://ERP_PASSWORD"
  }
}
resource "pymigrate_connection" "warehouse" {
  environment   = pymigrate_environment.here.name
  connection_id = "warehouse"
  duckdb        = { path = "%(folder)s/warehouse.duckdb" }
}
resource "pymigrate_plan" "small" {
  environment = pymigrate_environment.here.name
  plan_id     = "small"
}
resource "pymigrate_phase" "customers" {
  plan         = pymigrate_plan.small.name
  phase_id     = "customers"
  display_name = "Customers"
  department   = pymigrate_department.sales.department_id
  datasets = {
    customers = {
      source = { connection = pymigrate_connection.crm.connection_id, relation = "customers" }
      target = { connection = pymigrate_connection.warehouse.connection_id, relation = "customers", load_mode = "replace" }
    }
  }
}
resource "pymigrate_phase" "erp" {
  plan       = pymigrate_plan.later.name
  phase_id   = "erp"
  department = pymigrate_department.sales.department_id
  datasets = {
    orders = {
      source = { connection = pymigrate_connection.erp.connection_id, relation = "public.orders" }
      target = { connection = pymigrate_connection.warehouse.connection_id, relation = "orders" }
    }
  }
}
resource "pymigrate_plan" "later" {
  environment = pymigrate_environment.here.name
  plan_id     = "later"
}
resource "pymigrate_run" "small" {
  plan          = pymigrate_plan.small.name
  triggers      = { customers = pymigrate_phase.customers.definition_hash }
  desired_state = "running"
}
resource "pymigrate_run_gate" "small" {
  run = pymigrate_run.small.name
}
"""
GATE = 'resource "pymigrate_run_gate" "small" {\n  run = pymigrate_run.small.name\n}\n'
RUN, WAIT = "pymigrate_run.small", "pymigrate_run_gate.small"
PHASE, ERP_PHASE = "pymigrate_phase.customers", "pymigrate_phase.erp"
CRM, ERP = "pymigrate_connection.crm", "pymigrate_connection.erp"
REPLACED = ["delete", "create"]


@pytest.fixture
def stage(require_terraform: str, engine: EngineProcess, attached: str, tmp_path: Path) -> Stage:
    """A working directory beside two copies of a small source."""
    for name in ("crm.db", "crm2.db"):
        with closing(sqlite3.connect(tmp_path / name)) as crm:
            crm.executescript("CREATE TABLE customers (id INTEGER PRIMARY KEY); INSERT INTO customers VALUES (1), (2);")
    return Stage(require_terraform, tmp_path / "stage", engine, attached, f"lifecycle-{next(NUMBERS)}")


def declare(stage: Stage, *changes: tuple[str, str]) -> None:
    """Writes the configuration with some texts of it in place of others."""
    text = CONFIGURATION % {"id": stage.environment_id, "folder": stage.folder.parent}
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    stage.write(text)


def apply(stage: Stage, *changes: tuple[str, str]) -> None:
    """Writes and applies it."""
    declare(stage, *changes)
    stage.must("apply", "-auto-approve")


def runs(stage: Stage) -> list[Any]:
    """The runs of the small plan."""
    parent = f"environments/{stage.environment_id}/plans/small"
    return list(stage.calls.call("RunService", "ListRuns", run_pb2.ListRunsRequest(parent=parent)).runs)


def said(output: str) -> str:
    """What was printed, without frames and line breaks."""
    return " ".join(output.replace("│", " ").split())


PAUSED = [('desired_state = "running"', 'desired_state = "paused"'), (GATE, "")]


@pytest.fixture
def resting(stage: Stage) -> Stage:
    """The configuration applied, with a run that rests."""
    apply(stage, *PAUSED)
    return stage


def test_a_run_begins_as_its_desired_state_says_and_goes_on_in_place(resting: Stage) -> None:
    (run,) = runs(resting)
    assert run.desired_state == run_pb2.DESIRED_STATE_PAUSED
    declare(resting, (GATE, ""))
    assert resting.planned() == {RUN: ["update"]}
    apply(resting)
    (same,) = runs(resting)
    assert (same.name, same.state) == (run.name, run_pb2.RUN_STATE_SUCCEEDED)
    assert resting.planned() == {}


def test_another_system_behind_a_connection_is_another_run_in_the_same_plan_and_nothing_is_left_to_do(
    stage: Stage,
) -> None:
    apply(stage)
    declare(stage, ("/crm.db", "/crm2.db"))
    assert stage.planned() == {CRM: ["update"], PHASE: ["update"], RUN: REPLACED, WAIT: REPLACED}
    stage.must("apply", "-auto-approve")
    assert stage.planned() == {}
    assert [run.state for run in runs(stage)] == [run_pb2.RUN_STATE_SUCCEEDED] * 2


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        (("env://ERP_PASSWORD", "env://ERP_PASSWORD_2026"), {ERP: ["update"]}),
        (('database = "erp"', 'database = "erp"\n    ssl_mode = "require"'), {ERP: ["update"]}),
        (('connection_id = "crm"', 'connection_id = "crm"\n  lanes_max = 3'), {CRM: ["update"]}),
        (('"erp.internal"', '"erp2.internal"'), {ERP: ["update"], ERP_PHASE: ["update"]}),
        (('"Customers"', '"All customers"'), {PHASE: ["update"]}),
        (
            ('"Customers"', '"Customers"\n  schedule = { windows = { nights = { start = "22:00", end = "05:00" } } }'),
            {PHASE: ["update"]},
        ),
    ],
    ids=["password", "ssl", "lanes", "host", "name", "schedule"],
)
def test_what_moves_nothing_else_leaves_the_run_that_is_under_way(
    resting: Stage, change: tuple[str, str], touched: dict[str, list[str]]
) -> None:
    (run,) = runs(resting)
    declare(resting, *PAUSED, change)
    assert resting.planned() == touched
    apply(resting, *PAUSED, change)
    assert resting.planned() == {}
    (same,) = runs(resting)
    assert (same.name, same.state) == (run.name, run.state)


def test_what_moves_something_else_warns_of_the_run_that_it_cancels(resting: Stage) -> None:
    (run,) = runs(resting)
    declare(resting, *PAUSED, ("/crm.db", "/crm2.db"))
    assert f"{run.name} is paused and will be cancelled" in said(resting.must("plan"))


@pytest.mark.parametrize("how", ["replaced", "tainted"])
def test_a_replacement_without_a_change_says_what_it_stops(resting: Stage, how: str) -> None:
    (run,) = runs(resting)
    asked = ["-replace=pymigrate_plan.small"] if how == "replaced" else []
    if how == "tainted":
        resting.must("taint", "pymigrate_plan.small")
    told = said(resting.must("plan", *asked))
    assert f"environments/{resting.environment_id}/plans/small is in use by work that is under way" in told
    assert f"{run.name} is paused" in told


def test_a_run_that_is_replaced_is_adopted_and_not_repeated(stage: Stage) -> None:
    apply(stage)
    (before,) = runs(stage)
    stage.must("apply", "-auto-approve", f"-replace={RUN}")
    (after,) = runs(stage)
    assert (after.name, after.create_time) == (before.name, before.create_time)
    assert stage.planned() == {}
