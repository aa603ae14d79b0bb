"""The value of a figure in the KPIs of a run or a phase, or why it has none."""

from collections.abc import Container
from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from pymigrate.engine.domain.crossing import Unknown, Value
from pymigrate.engine.domain.kpi_arrivals import NOW_SECONDS, WINDOW_SECONDS
from pymigrate.engine.domain.names import run_of
from pymigrate.engine.domain.run_states import LaneState
from pymigrate.engine.domain.watched_figures import THROUGHPUT
from pymigrate.v1 import kpi_pb2

_COPYING = (str(LaneState.RUNNING), str(LaneState.STALLED))
# Below zero these say that there is nothing to tell; of expected rows, that it is not known yet.
_NOT_TOLD = {"lag_seconds": Unknown.MOOT, "downtime.budget_seconds": Unknown.MOOT, "rows_expected": Unknown.YET}
_RISK = "sla_risk.level"
_FULL_SECONDS = {"now": NOW_SECONDS, "window": WINDOW_SECONDS}


class Copying:
    """Since when lanes of subjects have been copying without a break, as far as this engine has seen: before that has gone on for as long
    as a rate looks back, the rate says nothing. What arrived before an engine started is not among its rates either."""

    def __init__(self) -> None:
        self._since: dict[str, datetime] = {}

    def observe(self, kpis: kpi_pb2.Kpis, now: datetime) -> None:
        """The KPIs of a subject as they are now."""
        if any(kpis.lanes.get(state, 0) for state in _COPYING):
            self._since.setdefault(kpis.name, now)
        else:
            self._since.pop(kpis.name, None)

    def keep(self, runs: Container[str]) -> None:
        """Forgets the subjects of every other run."""
        self._since = {name: since for name, since in self._since.items() if run_of(name) in runs}

    def seconds(self, name: str, now: datetime) -> float | None:
        """How long; None where nothing is copied."""
        since = self._since.get(name)
        return None if since is None else (now - since).total_seconds()


def value_of(kpis: kpi_pb2.Kpis, path: str, copying: Copying, now: datetime) -> Value:
    """The value at a path that `figure_of` knows."""
    if path.startswith(THROUGHPUT):
        window = path.split(".")[1]
        seconds = copying.seconds(kpis.name, now)
        if window in _FULL_SECONDS:
            if seconds is None:
                return Unknown.MOOT
            if seconds < _FULL_SECONDS[window]:
                return Unknown.YET
    found: Any = kpis
    for name in path.split("."):
        if not isinstance(found, Message):
            return float(found.get(name, 0))  # a map, in which what there is none of is left out
        field = found.DESCRIPTOR.fields_by_name[name]
        if field.has_presence and not found.HasField(name):
            return Unknown.YET
        found = getattr(found, name)
    value = float(found)
    if path == _RISK and value == 0:
        return Unknown.YET
    return _NOT_TOLD.get(path, value) if value < 0 else value
