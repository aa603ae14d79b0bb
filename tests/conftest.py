"""What holds for every test: no surroundings leak in, randomness is seeded, the report is small.

Fixtures that start servers live in tests/servers.py.
"""

import gc
import os
import platform
from collections.abc import Generator
from typing import Any

import hypothesis
import pytest

from tests.absent_pandas import remember_absence
from tests.ordering import REPORT, longest_first, seconds_by_file

pytest_plugins = [
    "tests.servers",
    "tests.clusters",
    "tests.apis",
    "tests.sinks",
    "tests.collector",
    "tests.mail",
    "tests.pagers",
    "tests.git_hosting",
]

LONG = "PYMIGRATE_TEST_LONG"
# Servers are started as another user, for which Python forks rather than spawns; what gRPC would do in the child before it becomes
# the server may end it.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

hypothesis.settings.register_profile("seeded", derandomize=True, deadline=None, database=None, print_blob=True)
hypothesis.settings.register_profile("long", parent=hypothesis.settings.get_profile("seeded"), max_examples=2_000)


def pytest_configure(config: pytest.Config) -> None:
    """Keep the caller's settings and proxies away from what the tests start on loopback."""
    for name in [
        name for name in os.environ if name.startswith("PYMIGRATE_") and not name.startswith("PYMIGRATE_TEST_")
    ]:
        del os.environ[name]
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, ["127.0.0.1", "localhost", os.environ.get(name, "")]))
    os.environ["CHECKPOINT_DISABLE"] = "1"
    remember_absence()
    hypothesis.settings.load_profile("long" if os.environ.get(LONG) == "1" else "seeded")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage meanwhile, and look for none later in what is there then: fifteen thousand tests and all modules stay to the end,
    and to go through them again and again takes a third of the time that finding them does."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)  # pytest sorts by fixtures first
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests marked slow unless they are asked for, and give workers that share a suite the longest files first."""
    if hasattr(config, "workerinput"):
        items[:] = longest_first(items, seconds_by_file(REPORT))
    if os.environ.get(LONG) == "1":
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason=f"a long run: set {LONG}=1"))


@pytest.hookimpl(optionalhook=True)
def pytest_json_modifyreport(json_report: dict[str, Any]) -> None:
    """Reduce the report, which is committed, to the summary and each test's outcome; nothing of this machine in it."""
    json_report["environment"] = {"python": platform.python_version(), "pytest": pytest.__version__}
    for name in ("root", "collectors", "warnings"):
        json_report.pop(name, None)
    json_report["duration"] = round(json_report["duration"], 1)
    json_report["tests"] = [
        {
            "nodeid": test["nodeid"],
            "outcome": test["outcome"],
            "duration": round(
                sum(test[stage]["duration"] for stage in ("setup", "call", "teardown") if stage in test), 3
            ),
        }
        for test in json_report.get("tests", [])
    ]
