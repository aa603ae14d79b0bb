"""Every family of figures that the Kubernetes operator tells on its own page."""

from pymigrate.engine.ports.metric_families import CALL_BUCKETS, PASS_BUCKETS
from pymigrate.engine.ports.metrics import Family, Kind

OPERATOR_QUEUE = Family(
    "pymigrate_operator_queue_objects",
    Kind.GAUGE,
    "Custom resources by what becomes of them: they wait for their first word, wait for a pass, are worked on, failed, or are due later.",
    ("state",),
)
OPERATOR_WAIT = Family(
    "pymigrate_operator_queue_wait_seconds",
    Kind.HISTOGRAM,
    "How long custom resources waited for a pass.",
    ("kind",),
    buckets=CALL_BUCKETS,
)
OPERATOR_PASS_DURATION = Family(
    "pymigrate_operator_pass_duration_seconds",
    Kind.HISTOGRAM,
    "How long passes over custom resources took.",
    ("kind", "result"),
    buckets=PASS_BUCKETS,
)
OPERATOR_RETRIES = Family(
    "pymigrate_operator_retries_total",
    Kind.COUNTER,
    "Passes that came to no end and are done again.",
    ("kind",),
)
OPERATOR_CLUSTER_CALLS = Family(
    "pymigrate_operator_cluster_calls_total",
    Kind.COUNTER,
    "Calls to the Kubernetes API, by verb, resource and HTTP status, or `error` where none was answered.",
    ("method", "kind", "code"),
)
OPERATOR_CLUSTER_DURATION = Family(
    "pymigrate_operator_cluster_call_duration_seconds",
    Kind.HISTOGRAM,
    "How long the Kubernetes API took to answer; of a watch, until it began.",
    ("method",),
    buckets=CALL_BUCKETS,
)
OPERATOR_ENGINE_CALLS = Family(
    "pymigrate_operator_engine_calls_total",
    Kind.COUNTER,
    "Calls to the engine, by method and gRPC status.",
    ("method", "code"),
)
OPERATOR_LEADING = Family("pymigrate_operator_leading", Kind.GAUGE, "1 while this operator leads.")
OPERATOR_OBJECTS = Family(
    "pymigrate_operator_conditions",
    Kind.GAUGE,
    "Custom resources by their conditions.",
    ("kind", "type", "state"),
    is_summed=True,
)
OPERATOR_TROUBLES = Family(
    "pymigrate_operator_kind_trouble",
    Kind.GAUGE,
    "1, under the kind of which nothing is heard just now and the reason.",
    ("kind", "reason"),
)
OPERATOR_EVENTS_DROPPED = Family(
    "pymigrate_operator_events_dropped",
    Kind.GAUGE,
    "Kubernetes Events that were too many, or that the API did not take.",
)

OPERATOR_FAMILIES: tuple[Family, ...] = tuple(found for found in globals().values() if isinstance(found, Family))
