"""What earlier runs have taught of a plan's datasets, looked up in one unit of work."""

from collections.abc import Mapping

from pymigrate.engine.application.calibrations import PlanCalibrations
from pymigrate.engine.application.estimating import STEPS, Learned, Lessons, Place
from pymigrate.engine.domain.durations import Basis
from pymigrate.engine.domain.paths import CopyPath
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import run_pb2


def lessons_of(unit: Unit, revision: run_pb2.PlanRevision) -> Lessons:
    """What was learned of each step of a dataset that is estimated by a basis; for use within the unit."""
    calibrations = PlanCalibrations(unit, revision.plan.name)

    def learned(place: Place, basis: Basis) -> Mapping[str, Learned]:
        phase, dataset = place
        sides = revision.plan.phases[phase].datasets[dataset]
        look = revision.inspections.get(f"{phase}/{dataset}")
        path = look.path if look is not None and look.path else str(CopyPath.ARROW)
        kinds = [
            revision.connections[side.connection].WhichOneof("system") or "" for side in (sides.source, sides.target)
        ]
        found: dict[str, Learned] = {}
        for step in STEPS:
            calibration = calibrations.dataset(phase, dataset, step, basis, path, *kinds)
            if calibration is not None:
                found[step] = Learned(calibration, calibrations.has_own(phase, dataset, step, basis))
        return found

    return learned
