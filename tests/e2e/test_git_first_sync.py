"""A thousand migrations of ten environments from one repository: all of them or none, at whatever moment the engine is killed, and nothing
is written where nothing changes."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import environment_pb2, git_source_pb2, plan_pb2
from tests.e2e import crashing
from tests.e2e.engines import EngineProcess, wait_until
from tests.e2e.gitted import REPOSITORY, Gitted, documents
from tests.git_hosting import Answer, Asked, HttpsHost

ENVIRONMENTS = [f"env-{number}" for number in range(10)]
PLANS = 100  # in each
SOURCE = "gitSources/everything"
PASSES = "application.gitops"
UNCHANGED_SYNCS = 3
STILL_SECONDS = 5.0


def files() -> dict[str, str]:
    """A file for each environment, and one for each of its plans."""
    phase = {
        "department": "sales",
        "datasets": {
            "orders": {
                "source": {"connection": "legacy", "relation": "orders"},
                "target": {"connection": "warehouse", "relation": "orders"},
            }
        },
    }
    found = {}
    for environment in ENVIRONMENTS:
        found[f"{environment}/environment.yaml"] = in_environment(
            environment,
            ("Environment", environment, {}),
            ("Department", "sales", {}),
            ("Connection", "legacy", {"sqlite": {"path": "/srv/legacy.db"}}),
            ("Connection", "warehouse", {"duckdb": {"path": "/srv/warehouse.duckdb"}}),
        )
        for number in range(PLANS):
            found[f"{environment}/p{number}.yaml"] = in_environment(
                environment, ("Plan", f"p{number}", {"phases": {"orders": phase}})
            )
    return found


def in_environment(environment: str, *found: tuple[str, str, dict[str, object]]) -> str:
    """Documents that say which environment they are of."""
    text = documents(*found)
    for kind in ("Department", "Connection", "Plan"):
        for _, name, _ in (each for each in found if each[0] == kind):
            text = text.replace(
                f'"kind": "{kind}", "metadata": {{"name": "{name}"}}',
                f'"kind": "{kind}", "metadata": {{"name": "{name}", "environment": "{environment}"}}',
            )
    return text


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    """One that may be told to kill itself at a transaction."""
    process = EngineProcess(tmp_path / "home", "tests.e2e.crashing", is_warm=True)
    process.start()
    yield process
    if process.process is not None and process.process.poll() is None:
        process.stop()


def stored(client: Client) -> tuple[int, int]:
    """How many environments and plans there are."""
    listed = client.environments.ListEnvironments(environment_pb2.ListEnvironmentsRequest(), **client.options)
    names = [each.name for each in listed.environments]
    plans = 0
    for name in names:
        request = plan_pb2.ListPlansRequest(parent=name, page_size=1_000)
        plans += len(client.plans.ListPlans(request, **client.options).plans)
    return len(names), plans


def store_files(home: Path) -> dict[str, tuple[int, int]]:
    """What shows whether anything was written."""
    return {each.name: (each.stat().st_size, each.stat().st_mtime_ns) for each in sorted(home.glob("engine.db*"))}


def test_a_first_sync_of_a_thousand_is_whole_or_not_at_all_wherever_the_engine_is_killed(
    engine: EngineProcess, https_host: HttpsHost, tmp_path: Path
) -> None:
    whole = (len(ENVIRONMENTS), len(ENVIRONMENTS) * PLANS)
    with engine.client() as client:
        scene = Gitted(client, https_host, tmp_path)
        sha = scene.push(dict(files()), "Declare everything")
        https_host.take_down()
        scene.declare("everything", "")
        wait_until(lambda: bool(scene.status("everything").conditions))

    def killed(order: Callable[[], None]) -> tuple[tuple[int, int], str]:
        """What an engine that was killed amid a pass has left to the next one, which can't reach the repository yet."""
        https_host.bring_up()
        with engine.client() as client:
            order()
            request = git_source_pb2.SyncGitSourceRequest(name=SOURCE)
            with pytest.raises(grpc.RpcError):
                client.git_sources.SyncGitSource(request, **client.options)
        assert engine.process is not None
        engine.process.wait(60)
        https_host.take_down()
        https_host.answer = lambda _: None
        engine.start()
        with engine.client() as client:
            scene.client = client
            return stored(client), scene.status("everything").applied_commit

    def while_fetching() -> None:
        def kill(asked: Asked) -> Answer | None:
            if asked.method == "POST":
                assert engine.process is not None
                os.kill(engine.process.pid, signal.SIGKILL)
            return None

        https_host.answer = kill

    assert killed(while_fetching) == ((0, 0), "")
    assert killed(lambda: crashing.order(engine.home, "before", 1, PASSES)) == ((0, 0), "")
    assert killed(lambda: crashing.order(engine.home, "after", 1, PASSES)) == (whole, sha)
    https_host.bring_up()
    with engine.client() as client:
        scene.client = client
        revision = scene.sync("everything")
        assert (revision.commit, revision.state) == (sha, git_source_pb2.GIT_REVISION_STATE_APPLIED)
        listed = git_source_pb2.ListGitRevisionsRequest(parent=SOURCE)
        assert len(client.git_sources.ListGitRevisions(listed, **client.options).revisions) == 1
        assert (stored(client), scene.status("everything").object_count) == (whole, 1_040)

        def nothing_is_written() -> bool:
            before = store_files(engine.home)
            for _ in range(UNCHANGED_SYNCS):
                scene.sync("everything")
            return store_files(engine.home) == before

        # What tells people of changes keeps how far it has come, up to a second after the sync that found the repository back. A sync that
        # changes nothing writes nothing, or there would always be something.
        wait_until(nothing_is_written, seconds=STILL_SECONDS)
    assert https_host.head_of(REPOSITORY) == sha
