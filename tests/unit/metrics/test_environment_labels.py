"""Whose a series is: what concerns the things of an environment says of which one, so that a query and an alert can ask for it.

What is of the engine as a whole is named here with the reason; a new family is either labelled or added to these on purpose.
"""

from pymigrate.engine.domain.run import Failure
from pymigrate.engine.main.instruments import measure_hosts
from pymigrate.engine.ports.metric_families import FAMILIES
from pymigrate.engine.testing.executors import MemoryExecutor
from pymigrate.engine.testing.metrics import MemoryMetrics
from tests.unit.application.engines import Engine, PlayedHost, phase
from tests.unit.application.test_board import start

OF_THE_PROGRAM = "the program that runs, whatever it works for"
OF_A_CALL = (
    "a call: what it asks for is known once it is read, and most calls that are refused never name an environment"
)
OF_THE_STORE = "the one store that all environments share; a unit of work may be of several"
OF_A_RECEIVER = (
    "a receiver of the whole stream, named in the engine's own settings: while it is away, it is away for all"
)
OF_THE_ROUTER = "the one router, which takes the stream in its order"
OF_THE_PAGE = "the page of metrics itself"
WITHOUT = {
    "pymigrate_build_info": OF_THE_PROGRAM,
    "pymigrate_grpc_request_duration_seconds": OF_A_CALL,
    "pymigrate_rest_request_duration_seconds": OF_A_CALL,
    "pymigrate_watchers": OF_A_CALL,
    "pymigrate_store_duration_seconds": OF_THE_STORE,
    "pymigrate_store_failures_total": OF_THE_STORE,
    "pymigrate_outgoing_events_total": OF_A_RECEIVER,
    "pymigrate_outgoing_lag_seconds": OF_A_RECEIVER,
    "pymigrate_notification_routing_lag_seconds": OF_THE_ROUTER,
    "pymigrate_collector_duration_seconds": OF_THE_PAGE,
    "pymigrate_collector_failures_total": OF_THE_PAGE,
    "pymigrate_metrics_overflow_total": OF_THE_PAGE,
}


def test_every_family_says_its_environment_but_those_that_are_of_the_engine_as_a_whole() -> None:
    assert {family.name for family in FAMILIES if "environment" not in family.labels} == WITHOUT.keys()


def test_the_environment_is_the_first_label_so_that_series_of_one_stand_together() -> None:
    labelled = [family for family in FAMILIES if family.name not in WITHOUT]
    assert {family.labels[0] for family in labelled} == {"environment"}


async def test_worker_hosts_are_counted_by_the_environment_that_they_work_for() -> None:
    engine, metrics = Engine(), MemoryMetrics()
    measure_hosts(metrics, engine.hosts, MemoryExecutor())
    assert metrics.read("hosts") == {"pymigrate_hosts": {}, "pymigrate_host_troubles": {}}
    await engine.declare({"a": phase("orders")})
    host = PlayedHost(engine)
    await host.register()
    await PlayedHost(engine, "workerHosts/other", affinity="shared@staging").register()
    await start(engine, "r", host)
    assert await host.claim() is not None
    found = metrics.read("hosts")["pymigrate_hosts"]
    assert found.keys() == {(each, state) for each in ("e", "staging") for state in ("absent", "working", "idle")}
    assert {labels for labels, count in found.items() if count} == {("e", "working"), ("staging", "idle")}
    assert sum(found.values()) == 2


async def test_why_hosts_do_not_come_is_counted_by_environment_and_reason() -> None:
    engine, metrics, executor = Engine(), MemoryMetrics(), MemoryExecutor()
    measure_hosts(metrics, engine.hosts, executor)
    lost, short = Failure("NODE_LOST", "n"), Failure("QUOTA_EXCEEDED", "q")
    executor.known_troubles = {"shared@prod": [lost, short], "file:/w.duckdb@prod": [short], "shared@dev": [lost]}
    assert metrics.read("hosts")["pymigrate_host_troubles"] == {
        ("dev", "NODE_LOST"): 1,
        ("prod", "NODE_LOST"): 1,
        ("prod", "QUOTA_EXCEEDED"): 2,
    }
