"""What may be declared for impact analysis: what is agreed of systems, which others they need, and figures of datasets."""

from collections.abc import Callable

import pytest

from pymigrate.engine.application import definitions
from pymigrate.v1 import environment_pb2, plan_pb2
from tests.unit.application.engines import phase, systems

Figures = plan_pb2.DeclaredFigures


def department() -> environment_pb2.Department:
    """Sales with two systems, of which one needs the other and one of finance."""
    found = environment_pb2.Department(read_only_cost_share=0.5)
    found.systems["crm"].connection = "legacy"
    found.systems["crm"].rto_seconds = 3_600
    found.systems["crm"].availability_percent = 99.9
    found.systems["shop"].dependencies.extend(["crm", "finance/ledger"])
    return found


def wrong_with(found: environment_pb2.Department) -> dict[str, str]:
    """The fields of a department with what is wrong."""
    return {problem.field: problem.description for problem in definitions.department_problems(found)}


def test_a_department_with_agreements_and_needs_has_no_problem() -> None:
    assert wrong_with(department()) == {}


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        (lambda d: setattr(d, "read_only_cost_share", -0.1), "read_only_cost_share", "0 to 1"),
        (lambda d: setattr(d, "read_only_cost_share", 1.1), "read_only_cost_share", "0 to 1"),
        (lambda d: setattr(d, "read_only_cost_share", float("nan")), "read_only_cost_share", "0 to 1"),
        (lambda d: setattr(d.systems["crm"], "rto_seconds", -1), "systems.crm.rto_seconds", "negative"),
        (
            lambda d: setattr(d.systems["crm"], "availability_percent", -1),
            "systems.crm.availability_percent",
            "0 to 100",
        ),
        (
            lambda d: setattr(d.systems["crm"], "availability_percent", 100.1),
            "systems.crm.availability_percent",
            "0 to 100",
        ),
        (
            lambda d: setattr(d.systems["crm"], "availability_percent", float("nan")),
            "systems.crm.availability_percent",
            "0 to 100",
        ),
        (lambda d: d.systems["crm"].dependencies.append("shp"), "systems.crm.dependencies", "did you mean `shop`?"),
        (lambda d: d.systems["crm"].dependencies.append("crm"), "systems.crm.dependencies", "is the system itself"),
        (lambda d: d.systems["crm"].dependencies.append("a/b/c"), "systems.crm.dependencies", "names no system"),
        (lambda d: d.systems["crm"].dependencies.append("Finance/x"), "systems.crm.dependencies", "names no system"),
        (lambda d: d.systems["crm"].dependencies.append(""), "systems.crm.dependencies", "names no system"),
        (lambda d: d.systems["crm"].dependencies.extend(["shop"] * 2), "systems.crm.dependencies", "twice"),
        (
            lambda d: d.systems["crm"].dependencies.extend(f"a/s{each}" for each in range(1_001)),
            "systems.crm.dependencies",
            "at most 1,000",
        ),
    ],
)
def test_what_is_wrong_with_a_system_is_told_at_its_field(
    change: Callable[[environment_pb2.Department], object], field: str, says: str
) -> None:
    found = department()
    change(found)
    told = wrong_with(found)
    assert told.keys() == {field}
    assert says in told[field]


@pytest.mark.parametrize(
    "declared", [Figures(), Figures(rows=10**12, bytes=10**15, bytes_per_second=1e11), Figures(bytes=10**15)]
)
def test_figures_that_a_system_may_have_are_taken(declared: Figures) -> None:
    found = phase("orders")
    found.datasets["orders"].declared.CopyFrom(declared)
    assert list(definitions.phase_problems(found, systems(), {"sales"})) == []


@pytest.mark.parametrize(
    ("declared", "field"),
    [
        (Figures(rows=-1), "rows"),
        (Figures(bytes=-1), "bytes"),
        (Figures(rows=2, bytes=2_000_000_002), "bytes"),
        (Figures(bytes_per_second=-1.0), "bytes_per_second"),
        (Figures(bytes_per_second=1.1e11), "bytes_per_second"),
        (Figures(bytes_per_second=float("nan")), "bytes_per_second"),
        (Figures(bytes_per_second=float("inf")), "bytes_per_second"),
    ],
)
def test_negative_and_absurd_figures_are_refused_with_their_field(declared: Figures, field: str) -> None:
    found = phase("orders")
    found.datasets["orders"].declared.CopyFrom(declared)
    told = [problem.field for problem in definitions.phase_problems(found, systems(), {"sales"})]
    assert told == [f"datasets.orders.declared.{field}"]
