"""Every family that the engine itself exports: names, kinds, labels and budgets. docs/metrics.md is generated from here.

Names are `pymigrate_<noun>_<unit>[_total]` in base units, and labels are from LABELS and nothing else.
"""

from pymigrate.engine.ports.metrics import Family, Kind

PLANS_MAX = 4_000
HISTOGRAMS_MAX = 500  # each is a line for every bucket
LABELS = frozenset(
    {
        *("environment", "department", "plan", "phase", "state", "reason", "result", "kind", "service", "method"),
        *("route", "code", "surface", "collector", "metric", "type", "version", "source"),
    }
)
CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STORE_BUCKETS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
WORK_BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0, 86_400.0)

PASS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 600.0)
CONFIRM_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0)


def _counter(name: str, about: str, *labels: str) -> Family:
    return Family(name, Kind.COUNTER, about, labels)


def _histogram(name: str, about: str, buckets: tuple[float, ...], *labels: str) -> Family:
    return Family(name, Kind.HISTOGRAM, about, labels, HISTOGRAMS_MAX, buckets)


def _gauge(name: str, about: str, *labels: str) -> Family:
    return Family(name, Kind.GAUGE, about, labels)


def _summed(name: str, about: str, *labels: str) -> Family:
    return Family(name, Kind.GAUGE, about, labels, is_summed=True)


def _of_plan(name: str, about: str, *labels: str) -> Family:
    return Family(name, Kind.GAUGE, about, ("environment", "plan", *labels), PLANS_MAX)


def _of_phase(name: str, about: str) -> Family:
    return _gauge(name, about, "environment", "plan", "phase", "department")


BUILD_INFO = _gauge("pymigrate_build_info", "1, under the version that runs.", "version")

ROWS = _counter(
    "pymigrate_rows_total",
    "Rows that lanes committed, again where they were copied again.",
    "environment",
    "department",
)
BYTES = _counter("pymigrate_bytes_total", "Bytes of source data that those rows took.", "environment", "department")
ERRORS = _counter(
    "pymigrate_errors_total",
    "Failures of lanes and phases, mended by another try or not.",
    "environment",
    "department",
    "reason",
)
RETRIES = _counter("pymigrate_retries_total", "Lanes that were tried again.", "environment", "department")
QUARANTINED_ROWS = _counter(
    "pymigrate_quarantined_rows_total", "Rows that were refused and lie in quarantine.", "environment", "department"
)
CONFLICTS = _counter(
    "pymigrate_conflicts_total", "Rows whose key the target held with other content.", "environment", "department"
)
REPAIRED_ROWS = _counter(
    "pymigrate_repaired_rows_total", "Rows that verification had to copy again.", "environment", "department"
)
RUNS_ENDED = _counter("pymigrate_runs_total", "Runs that ended, by how.", "environment", "state")
PHASES_ENDED = _counter("pymigrate_phases_total", "Phases that ended, by how.", "environment", "department", "state")
VERIFICATIONS = _counter(
    "pymigrate_verifications_total", "Datasets that were verified, by what was found.", "environment", "result"
)

RUNS = _summed("pymigrate_runs", "Newest runs of plans, by their state.", "environment", "state")
LANES = _summed("pymigrate_lanes", "Lanes of runs under way, by their state.", "environment", "state")
GATES_WAITING = _summed(
    "pymigrate_gates_waiting", "Gates of runs under way that wait for somebody to approve.", "environment"
)
KPIS_BEHIND = _summed(
    "pymigrate_kpis_behind_runs",
    "Runs of which something is still to be read after a start: what the others tell of plans is not whole until it is 0.",
    "environment",
)
PLAN_COMPLETION = _of_plan("pymigrate_plan_completion_ratio", "The share of a plan's newest run that is done, 0 to 1.")
PLAN_ROWS = _of_plan("pymigrate_plan_rows", "Rows of a plan's newest run, of the newest attempt of each phase.")
PLAN_BYTES = _of_plan("pymigrate_plan_bytes", "Bytes of source data that those rows took.")
PLAN_END = _of_plan(
    "pymigrate_plan_end_timestamp_seconds", "When a plan's newest run ended, or is expected to at the median."
)
PLAN_SLA_RISK = _of_plan(
    "pymigrate_plan_sla_risk_level",
    "How likely what was agreed is broken: 1 low, 2 the ninth decile is beyond it, 3 the median is, 4 it is broken.",
)
PLAN_DRIFT = _of_plan(
    "pymigrate_plan_drift_ratio", "How far a run lies off what was estimated at its start; 0.2 is a fifth longer."
)
PLAN_STATE = _of_plan("pymigrate_plan_state", "1, under the state that a plan's newest run has.", "state")
PHASE_COMPLETION = _of_phase(
    "pymigrate_phase_completion_ratio", "The share of a phase that is done, 0 to 1; of active runs only."
)
PHASE_ROWS = _of_phase("pymigrate_phase_rows", "Rows of a phase's newest attempt; of active runs only.")
PHASE_BYTES = _of_phase("pymigrate_phase_bytes", "Bytes of source data that those rows took; of active runs only.")
PHASE_ROWS_PER_SECOND = _of_phase(
    "pymigrate_phase_rows_per_second", "Rows a second in the last five seconds; of active runs only."
)
PHASE_BYTES_PER_SECOND = _of_phase(
    "pymigrate_phase_bytes_per_second", "Bytes of source data a second in the last five seconds; of active runs only."
)
PHASE_LAG = _of_phase(
    "pymigrate_phase_lag_seconds", "How far staging is behind its source; of active runs that catch up only."
)
PHASE_DOWNTIME = _of_phase(
    "pymigrate_phase_downtime_seconds", "How long a phase's sources have been down; of active runs only."
)
PHASE_DOWNTIME_BUDGET = _of_phase(
    "pymigrate_phase_downtime_budget_seconds", "How long they may be, where it was agreed; of active runs only."
)
RUN_DURATION = _histogram(
    "pymigrate_run_duration_seconds",
    "How long runs took that ended, while their environment is active.",
    WORK_BUCKETS,
    "environment",
)
PHASE_DURATION = _histogram(
    "pymigrate_phase_duration_seconds",
    "How long phases took that ended, while their environment is active.",
    WORK_BUCKETS,
    "environment",
)
LANE_DURATION = _histogram(
    "pymigrate_lane_duration_seconds",
    "How long lanes took that were done, while their environment is active.",
    WORK_BUCKETS,
    "environment",
)

GRPC_DURATION = _histogram(
    "pymigrate_grpc_request_duration_seconds",
    "How long gRPC calls took; of streams, until the first answer.",
    CALL_BUCKETS,
    *("service", "method", "code"),
)
REST_DURATION = _histogram(
    "pymigrate_rest_request_duration_seconds",
    "How long REST calls took; of streams, until the first answer.",
    CALL_BUCKETS,
    *("method", "route", "code"),
)
WATCHERS = _summed("pymigrate_watchers", "Streams that are open.", "surface")
STORE_DURATION = _histogram(
    "pymigrate_store_duration_seconds", "How long units of work in the store took.", STORE_BUCKETS, "kind"
)
STORE_FAILURES = _counter("pymigrate_store_failures_total", "Units of work that the store failed in.", "kind")
HOST_TROUBLES = _gauge(
    "pymigrate_host_troubles", "Reasons why worker hosts do not come, or went, that stand now.", "environment", "reason"
)
HOSTS = _summed("pymigrate_hosts", "Worker hosts, by whether they have work.", "environment", "state")
OUTGOING = _counter("pymigrate_outgoing_events_total", "Events posted to others, by how that went.", "kind", "result")
OUTGOING_LAG = _gauge("pymigrate_outgoing_lag_seconds", "How old the oldest event is that was not posted yet.", "kind")

NOTIFICATIONS = _counter(
    "pymigrate_notifications_total",
    "Deliveries that were accepted, delivered, acknowledged, given up (dead, undeliverable) or suppressed.",
    "environment",
    "state",
)
NOTIFICATIONS_AGREED = _counter(
    "pymigrate_notifications_agreed_total",
    "Deliveries that had to be confirmed in time, by whether they were: `in_time` or `late`.",
    "environment",
    "result",
)
NOTIFICATION_TRIES = _counter(
    "pymigrate_notification_tries_total",
    "Tries to send a delivery, by the kind of channel and what came of them.",
    "environment",
    "kind",
    "result",
)
NOTIFICATION_CONFIRM_DURATION = _histogram(
    "pymigrate_notification_confirm_duration_seconds",
    "How long after they became due deliveries were confirmed as their rule asks for.",
    CONFIRM_BUCKETS,
    "environment",
)
NOTIFICATIONS_WAITING = _summed(
    "pymigrate_notifications_waiting",
    "Deliveries that are still to be sent: they gather (waiting), may be tried (pending) or are under way (sending).",
    "environment",
    "state",
)
NOTIFICATIONS_FAILED = _summed(
    "pymigrate_notifications_failed",
    "Deliveries that were given up and not tried again since: `dead` after their tries, or `undeliverable`.",
    "environment",
    "state",
)
NOTIFICATION_LAG = _gauge(
    "pymigrate_notification_lag_seconds",
    "How long ago the oldest delivery became due that is still to be sent.",
    "environment",
)
NOTIFIED_EVENTS = _counter(
    "pymigrate_notification_events_total",
    "Entries of the stream that were held against the rules, by whether any told of them.",
    "environment",
    "result",
)

NOTIFIED_LAG = _gauge(
    "pymigrate_notification_routing_lag_seconds",
    "How long there has been an entry of the stream that was not held against the rules.",
)

GIT_PASSES = _counter(
    "pymigrate_git_passes_total",
    "Passes of Git sources, by what came of them.",
    *("environment", "source", "result"),
)
GIT_PASS_DURATION = _histogram(
    "pymigrate_git_pass_duration_seconds",
    "How long passes of Git sources took, from the look at the repository to what is stored.",
    PASS_BUCKETS,
    *("environment", "result"),
)
GIT_FETCH_AGE = _gauge(
    "pymigrate_git_fetch_age_seconds",
    "How long ago the repository of a Git source last answered; from this engine's start where it has not.",
    *("environment", "source"),
)
GIT_APPLY_AGE = _gauge(
    "pymigrate_git_apply_age_seconds",
    "How long ago what is stored was last found to be what a Git source says; from this engine's start where it was not.",
    *("environment", "source"),
)
GIT_DRIFT = _gauge(
    "pymigrate_git_drift_objects",
    "Objects of a Git source that are not what its applied commit says, those that are kept among them.",
    *("environment", "source"),
)
GIT_UNMET = _gauge(
    "pymigrate_git_condition_unmet",
    "1, under each condition of a Git source that does not hold and the reason.",
    *("environment", "source", "type", "reason"),
)

COLLECTOR_DURATION = _gauge(
    "pymigrate_collector_duration_seconds", "How long a collector's series took at the last scrape.", "collector"
)
COLLECTOR_FAILURES = _counter("pymigrate_collector_failures_total", "Scrapes at which a collector failed.", "collector")
METRICS_OVERFLOW = _counter(
    "pymigrate_metrics_overflow_total",
    "Values told in an overflow series, since their metric's budget is used up.",
    "metric",
)

FAMILIES: tuple[Family, ...] = tuple(found for found in globals().values() if isinstance(found, Family))
