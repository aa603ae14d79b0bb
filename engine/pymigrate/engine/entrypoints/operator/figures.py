"""What the operator measures itself with: its queue, its passes, its calls, and where the custom resources stand."""

from collections import Counter
from collections.abc import Iterator

from pymigrate.engine.application.clusters.work_queue import Worked
from pymigrate.engine.entrypoints.operator.objects import Key
from pymigrate.engine.entrypoints.operator.operator import Operator
from pymigrate.engine.ports.metrics import Metrics, Reading
from pymigrate.engine.ports.operator_families import (
    OPERATOR_CLUSTER_CALLS,
    OPERATOR_CLUSTER_DURATION,
    OPERATOR_ENGINE_CALLS,
    OPERATOR_EVENTS_DROPPED,
    OPERATOR_LEADING,
    OPERATOR_OBJECTS,
    OPERATOR_PASS_DURATION,
    OPERATOR_QUEUE,
    OPERATOR_RETRIES,
    OPERATOR_TROUBLES,
    OPERATOR_WAIT,
)


class OperatorFigures:
    """Counts what it is told of, and reads the rest at each scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def cluster_called(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """A call to the Kubernetes API."""
        self._metrics.add(OPERATOR_CLUSTER_CALLS, (verb, resource, code))
        self._metrics.observe(OPERATOR_CLUSTER_DURATION, (verb,), seconds)

    def engine_called(self, method: str, code: str) -> None:
        """A call to the engine."""
        self._metrics.add(OPERATOR_ENGINE_CALLS, (method, code))

    def worked(self, key: Key, worked: Worked) -> None:
        """A pass."""
        self._metrics.observe(OPERATOR_WAIT, (key.word,), worked.waited_seconds)
        result = "failed" if worked.is_failed else "done"
        self._metrics.observe(OPERATOR_PASS_DURATION, (key.word, result), worked.worked_seconds)
        if worked.is_failed:
            self._metrics.add(OPERATOR_RETRIES, (key.word,))

    def read(self, operator: Operator, *, is_leading: bool) -> Iterator[Reading]:
        """Where it stands."""
        states = {
            "first": len(operator.first),
            "waiting": len(operator.queue),
            "working": operator.queue.running,
            "failed": operator.queue.failing,
            "later": operator.queue.later,
        }
        yield Reading(OPERATOR_LEADING, [((), float(is_leading))])
        yield Reading(OPERATOR_QUEUE, [((state,), float(count)) for state, count in states.items()])
        yield Reading(OPERATOR_EVENTS_DROPPED, [((), float(operator.happenings.dropped))])
        counts = Counter(
            (word, str(each.get("type")), str(each.get("status")))
            for word, mirror in operator.mirrors.items()
            for found in mirror.objects()
            for each in (found.get("status") or {}).get("conditions") or ()
        )
        yield Reading(OPERATOR_OBJECTS, [(labels, float(count)) for labels, count in sorted(counts.items())])
        troubles = [
            ((word, mirror.trouble.reason), 1.0)
            for word, mirror in operator.mirrors.items()
            if mirror.trouble is not None
        ]
        yield Reading(OPERATOR_TROUBLES, troubles)
