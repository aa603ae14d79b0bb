"""Figures of runs that have ended as the store keeps them: JSON, in which a record has no field that is at its default."""

import json
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

import structlog

from pymigrate.engine.domain.kpi_kept import KeptRun, PhaseSummary
from pymigrate.engine.domain.run import Failure, PhaseRun, Run
from pymigrate.engine.domain.run_states import RUN_ENDED, PhaseState
from pymigrate.engine.ports.figures import KeptFigures

log = structlog.get_logger(__name__)
# To be raised whenever something is counted otherwise than before, or written otherwise: what was kept until then is counted anew.
FORMAT = 1
_DEFAULTS: dict[str, Any] = {
    each.name: each.default if each.default_factory is MISSING else each.default_factory() for each in fields(PhaseRun)
}


def _failure(found: list[Any] | None) -> Failure | None:
    return None if found is None else Failure(*found)


_READ: dict[str, Callable[[Any], Any]] = {
    "state": PhaseState,
    "failure": _failure,
    "start_time": datetime.fromisoformat,
    "end_time": datetime.fromisoformat,
    "dependencies": tuple,
    "final_steps": tuple,
    "told_gates": tuple,
}


def is_current(kept: KeptFigures | None, run: Run) -> bool:
    """Whether what is kept is of this run, as it is and as it is counted now."""
    return kept is not None and (kept.run, kept.version, kept.format) == (run.name, run.version, FORMAT)


def kept_figures(run: Run, phases: Iterable[PhaseSummary]) -> KeptFigures:
    """A run's figures, to be kept."""
    found = [
        [_written(each.record), each.tally, each.outages, _text(each.copying_start), _text(each.copying_end)]
        for each in phases
    ]
    body = json.dumps(found, separators=(",", ":")).encode()
    return KeptFigures(run.plan, run.name, run.version, FORMAT, body)


def kept_run(kept: KeptFigures | None, run: Run) -> KeptRun | None:
    """A run from what was kept of it; None where it is to be counted anew."""
    if kept is None or not is_current(kept, run) or run.state not in RUN_ENDED:
        return None
    try:
        return KeptRun(run, [_summary(*each) for each in json.loads(kept.body)])
    except (ValueError, TypeError) as error:  # whatever befell it, the run's own records are there
        log.warning("kpis.kept_unreadable", run=run.name, error=str(error))
        return None


def _summary(record: dict[str, Any], tally: dict[str, int], outages: list[Any], *times: str | None) -> PhaseSummary:
    start, end = (None if time is None else datetime.fromisoformat(time) for time in times)
    read = {name: _READ[name](value) if name in _READ else value for name, value in record.items()}
    return PhaseSummary(PhaseRun(**read), tally, tuple((begun, over) for begun, over in outages), start, end)


def _written(record: PhaseRun) -> dict[str, Any]:
    return {name: _plain(value) for name, default in _DEFAULTS.items() if (value := getattr(record, name)) != default}


def _plain(value: Any) -> Any:
    match value:
        case StrEnum():
            return str(value)
        case datetime():
            return value.isoformat()
        case Failure():
            return [value.reason, value.message, value.field, value.is_temporary]
        case _:
            return value


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
