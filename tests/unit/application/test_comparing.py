"""Comparing a plan with its variants, from measurements that are the test's: what each change makes of the figures."""

from collections.abc import Mapping

import pytest

from pymigrate.engine.application.caller import Surroundings
from pymigrate.engine.application.estimating import Place
from pymigrate.engine.application.impacts import Bounds, Impacts
from pymigrate.engine.application.inspections import Inspections
from pymigrate.engine.application.measuring import Known, Measuring, places_of
from pymigrate.engine.application.probing import Probing
from pymigrate.engine.domain.drawing import Drawing, Draws, gather
from pymigrate.engine.domain.run import RunAggregate
from pymigrate.v1 import impact_pb2, plan_pb2, run_pb2
from tests.unit.application.engines import PLAN, Engine, phase

ImpactVariant, PhaseVariant = impact_pb2.ImpactVariant, impact_pb2.PhaseVariant
ROWS = 1_000


def measured(row_seconds: float) -> impact_pb2.DatasetMeasure:
    """A dataset of a thousand rows of a hundred bytes, each of which takes so long."""
    found = impact_pb2.DatasetMeasure(rows=ROWS, bytes=ROWS * 100, chunk_rows=10, is_whole=True, target_row_bytes=50)
    found.copy.row_seconds = row_seconds
    found.verify.SetInParent()
    found.publish.SetInParent()
    return found


class Measured(Measuring):
    """Knows the measurements beforehand."""

    def __init__(self, engine: Engine, measures: Mapping[Place, impact_pb2.DatasetMeasure]) -> None:
        inspections = Inspections(engine.inquiries)
        super().__init__(engine.store, inspections, Probing(engine.inquiries, engine.clock))
        self._measures = measures

    async def measure(
        self, revision: run_pb2.PlanRevision, seconds_max: float, lanes_at_once: int, *, is_anew: bool
    ) -> Known:
        for place in places_of(revision):
            look = revision.inspections["/".join(place)]
            look.source.rows, look.source.bytes, look.path = ROWS, ROWS * 100, "arrow"
        return Known(self._measures)


async def in_this_process(drawing: Drawing, aggregate: RunAggregate, draws: int) -> Draws:
    return gather(drawing.part(range(draws)), aggregate, drawing.start)


async def compared(**variants: impact_pb2.ImpactVariant) -> impact_pb2.CompareImpactResponse:
    """Orders of 100 s and then items of 50 s, and what variants make of it."""
    engine = Engine()
    await engine.declare({"orders": phase("orders"), "items": phase("items", needs=["orders"])}, lanes=2)
    measures = {("orders", "orders"): measured(0.1), ("items", "items"): measured(0.05)}
    surroundings = Surroundings(engine.clock, lambda: "id")
    impacts = Impacts(
        engine.store, engine.catalog, Measured(engine, measures), surroundings, Bounds(50, 10**9), in_this_process
    )
    return await impacts.compare(impact_pb2.CompareImpactRequest(plan=PLAN, variants=variants, draws=20))


def makespan(impact: impact_pb2.Impact) -> float:
    return impact.summary.makespan_seconds.p50


def of_phase(name: str, change: impact_pb2.PhaseVariant) -> impact_pb2.ImpactVariant:
    return ImpactVariant(phases={name: change})


async def test_a_variant_without_changes_has_no_differences() -> None:
    answer = await compared(same=ImpactVariant())
    assert makespan(answer.base) == pytest.approx(150, rel=0.1)
    assert list(answer.differences) == []


async def test_a_dependency_that_is_dropped_lets_phases_run_beside_one_another() -> None:
    answer = await compared(beside=of_phase("items", PhaseVariant(dropped_dependencies=["orders"])))
    assert makespan(answer.variants["beside"]) < 0.85 * makespan(answer.base)
    told = {(row.subject, row.measure) for row in answer.differences}
    assert {("plan", "makespan_seconds.p50"), ("phases/items", "start_time.p50")} <= told


async def test_a_phase_that_is_left_out_is_no_number_in_the_variant() -> None:
    answer = await compared(without=of_phase("items", PhaseVariant(is_left_out=True)))
    assert list(answer.variants["without"].phases) == ["orders"]
    assert makespan(answer.variants["without"]) == pytest.approx(100, rel=0.1)
    rows = {row.measure: row for row in answer.differences if row.subject == "phases/items"}
    assert rows["duration_seconds.p50"].base == pytest.approx(50, rel=0.1)
    assert rows["duration_seconds.p50"].value != rows["duration_seconds.p50"].value, "NaN"


async def test_a_phase_that_is_only_read_from_is_not_down() -> None:
    read_only = PhaseVariant(downtime_policy=plan_pb2.DOWNTIME_POLICY_READ_ONLY)
    answer = await compared(readable=of_phase("orders", read_only))
    found = answer.variants["readable"].phases["orders"]
    assert found.downtime_seconds.p90 == 0
    assert found.write_downtime_seconds.p50 == pytest.approx(100, rel=0.1)
    assert found.systems[0].effect == "read_only"


async def test_what_a_variant_reads_instead_is_neither_measured_nor_known() -> None:
    other = phase("orders")
    other.datasets["orders"].source.relation = "orders2"
    answer = await compared(other=of_phase("orders", PhaseVariant(definition=other)))
    found = answer.variants["other"].phases["orders"]
    assert answer.base.phases["orders"].datasets["orders"].basis == "measured"
    assert found.datasets["orders"].basis != "measured"
    assert found.rows == -1
    assert answer.variants["other"].phases["items"].datasets["items"].basis == "measured"


async def test_a_phase_that_is_split_goes_on_with_what_was_measured() -> None:
    answer = await compared(split=of_phase("orders", PhaseVariant(lanes=2)))
    found = answer.variants["split"].phases["orders"]
    assert found.datasets["orders"].basis == "measured"
    assert found.resources.lanes_peak == 2
    assert found.duration_seconds.p50 < answer.base.phases["orders"].duration_seconds.p50
