"""REST of a real engine: the guide's commands as they are written, and how it starts and ends with the engine."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.engines import ROOT, EngineProcess
from tests.servers import absent

pytestmark = pytest.mark.measured

SECONDS_MAX = 120


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineProcess]:
    """An engine that serves REST on a free port."""
    monkeypatch.setenv("PYMIGRATE_REST_LISTEN", "127.0.0.1:0")
    engine = EngineProcess(tmp_path / "home")
    engine.start()
    yield engine
    if engine.process is not None and engine.process.poll() is None:
        engine.stop()


def test_the_guide_s_commands_lead_from_nothing_to_a_run_that_has_ended(served: EngineProcess, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        absent("curl")
    data = tmp_path / "data"
    data.mkdir()
    with sqlite3.connect(data / "crm.db") as database:
        database.execute("create table customers (id integer primary key, name text)")
        database.executemany("insert into customers (name) values (?)", [(f"n{at}",) for at in range(1_000)])
    database.close()
    guide = (ROOT / "docs/rest.md").read_text()
    script = "\n".join(re.findall(r"^```bash\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL))
    script = script.replace("~/.local/share/pymigrate", str(served.home)).replace("/data/", f"{data}/")
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{script}"],
        env=os.environ | {"no_proxy": "*"},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert '"displayName":"Consolidation"' in done.stdout
    assert '"makespanSeconds"' in done.stdout
    assert "event: end" in done.stdout
    assert '"state":"succeeded"' in done.stdout
    assert '"rows":1000' in done.stdout


def test_rest_ends_with_the_engine_and_leaves_no_address_behind(served: EngineProcess) -> None:
    endpoint = served.home / "rest-endpoint"
    url = f"http://{endpoint.read_text().strip()}"
    assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    assert served.stop() == 0
    assert not endpoint.exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/livez", trust_env=False)


def test_an_engine_without_rest_forgets_the_address_of_one_that_was_killed(
    served: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.kill()
    assert (served.home / "rest-endpoint").exists()
    monkeypatch.delenv("PYMIGRATE_REST_LISTEN")
    served.start()
    assert not (served.home / "rest-endpoint").exists()


def test_an_address_that_another_engine_has_ends_the_start(served: EngineProcess, tmp_path: Path) -> None:
    taken = (served.home / "rest-endpoint").read_text().strip()
    command = ["serve", "--home", str(tmp_path / "other"), "--listen", "127.0.0.1:0", "--rest-listen", taken]
    second = subprocess.run(
        [sys.executable, "-m", "pymigrate.engine.main.cli", *command],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert second.returncode == 1
    assert "PYMIGRATE_REST_LISTEN" in second.stderr
    assert not (tmp_path / "other" / "endpoint").exists()
