"""The whole OpenAPI document against a real engine: what is sent by it, and against it, is answered as it says, and never with a 5xx.

schemathesis makes the requests, from a fixed seed: every bound of every parameter and field, and values at random, of which most name
objects that there are. PYMIGRATE_TEST_LONG=1 tries every bound of the largest bodies too, and ten times as many values.
"""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.engines import ROOT, EngineProcess, declare, ended
from tests.measuring import unmeasured

IS_LONG = bool(os.environ.get("PYMIGRATE_TEST_LONG"))
EXAMPLES = 200 if IS_LONG else 10
# Their bodies hold whole definitions, whose bounds are thousands of requests.
LARGEST = "(Create|Update)(Plan|Phase|Connection|AlertRule)|CompareImpact|StartRun"
SEED = 20_260_101
ENVIRONMENT = "environments/e"
PLAN = f"{ENVIRONMENT}/plans/p"
DEFINITIONS = """
apiVersion: pymigrate.io/v1alpha1
kind: Environment
metadata: {{name: e}}
spec: {{}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Department
metadata: {{name: sales, environment: e}}
spec: {{owner: Ann}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {{name: crm, environment: e}}
spec: {{sqlite: {{path: {folder}/crm.db}}}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {{name: warehouse, environment: e}}
spec: {{duckdb: {{path: {folder}/warehouse.duckdb}}}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Plan
metadata: {{name: p, environment: e}}
spec:
  phases:
    customers:
      department: sales
      datasets:
        customers:
          source: {{connection: crm, relation: customers}}
          target: {{connection: warehouse, relation: customers}}
          key: [id]
---
apiVersion: pymigrate.io/v1alpha1
kind: NotificationChannel
metadata: {{name: mail, environment: e}}
spec: {{smtp: {{host: localhost, port: 9, sender: pymigrate@example.com}}}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Stakeholder
metadata: {{name: ann, environment: e}}
spec: {{roles: [engineer], addresses: {{mail: {{channel: mail, to: ann@example.com}}}}}}
---
apiVersion: pymigrate.io/v1alpha1
kind: OnCallSchedule
metadata: {{name: nights, environment: e}}
spec: {{rotations: {{r: {{stakeholders: [ann], startTime: "2026-01-01T00:00:00Z", turnDays: 1}}}}}}
---
apiVersion: pymigrate.io/v1alpha1
kind: NotificationTemplate
metadata: {{name: short, environment: e}}
spec: {{types: [run.failed], texts: {{en: {{subject: "{{{{ event.type }}}}", body: "{{{{ event.subject }}}}"}}}}}}
---
apiVersion: pymigrate.io/v1alpha1
kind: AlertRule
metadata: {{name: failures, environment: e}}
spec: {{match: {{types: [run.failed]}}, recipients: {{onCallSchedules: [nights]}}, template: short}}
---
apiVersion: pymigrate.io/v1alpha1
kind: SecretBackend
metadata: {{name: vault, environment: e}}
spec: {{vault: {{address: "http://127.0.0.1:9", token: "env://VAULT_TOKEN"}}, timeoutSeconds: 1}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Silence
metadata: {{name: freeze, environment: e}}
spec: {{reason: a freeze, startTime: "2026-01-01T00:00:00Z", endTime: "2026-01-02T00:00:00Z"}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Silence
metadata: {{name: spare, environment: e}}
spec: {{reason: a freeze, startTime: "2026-01-01T00:00:00Z", endTime: "2026-01-02T00:00:00Z"}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Stakeholder
metadata: {{name: spare, environment: e}}
---
apiVersion: pymigrate.io/v1alpha1
kind: NotificationChannel
metadata: {{name: spare, environment: e}}
spec: {{apprise: {{url: "env://NOWHERE"}}}}
---
apiVersion: pymigrate.io/v1alpha1
kind: AlertRule
metadata: {{name: spare, environment: e}}
---
apiVersion: pymigrate.io/v1alpha1
kind: NotificationTemplate
metadata: {{name: spare, environment: e}}
spec: {{types: [gate.approved], texts: {{en: {{subject: s, body: b}}}}}}
---
apiVersion: pymigrate.io/v1alpha1
kind: OnCallSchedule
metadata: {{name: spare, environment: e}}
spec: {{rotations: {{r: {{stakeholders: [ann], startTime: "2026-01-01T00:00:00Z", turnDays: 1}}}}}}
"""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
Names = Mapping[str, tuple[str, ...]]
# Objects that there are. What is taken away or changed is an object of its own, so that the rest keeps its ground.
NAMES: Names = {
    "environment": ("e",),
    "department": ("sales",),
    "connection": ("crm", "warehouse"),
    "plan": ("p",),
    "phase": ("customers",),
    "run": ("done", "held"),
    "lane": ("customers.customers",),
    "notificationChannel": ("mail",),
    "stakeholder": ("ann",),
    "onCallSchedule": ("nights",),
    "notificationTemplate": ("short",),
    "alertRule": ("failures",),
    "silence": ("freeze",),
}
SPARE: Names = dict.fromkeys(
    (
        *("department", "connection", "plan"),
        *("notificationChannel", "stakeholder", "onCallSchedule", "notificationTemplate", "alertRule", "silence"),
    ),
    ("spare",),
)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineProcess]:
    """An engine with REST, which knows a plan, a run of it that has ended and one that waits."""
    monkeypatch.setenv("PYMIGRATE_REST_LISTEN", "127.0.0.1:0")
    engine = EngineProcess(tmp_path / "home")
    engine.start()
    with sqlite3.connect(tmp_path / "crm.db") as database:
        database.execute("create table customers (id integer primary key, name text)")
        database.executemany("insert into customers (name) values (?)", [(f"n{at}",) for at in range(100)])
    database.close()
    with engine.client() as client:
        declare(client, DEFINITIONS.format(folder=tmp_path), tmp_path / "p.yaml")
    with _http(engine) as http:
        for kind in ("department", "connection", "plan"):
            path = f"/v1/{ENVIRONMENT}/{kind}s"
            body = {"sqlite": {"path": str(tmp_path / "crm.db")}} if kind == "connection" else {}
            assert http.post(path, params={f"{kind}Id": "spare"}, json=body).status_code == 200
        assert http.post(f"/v1/{PLAN}/runs", json={"runId": "done"}).status_code == 200
        with engine.client() as client:
            ended(client, f"{PLAN}/runs/done")
        held = http.post(f"/v1/{PLAN}/runs", json={"runId": "held", "run": {"desiredState": "paused"}})
        assert held.status_code == 200, held.text
    yield engine
    engine.stop()


@pytest.fixture
def names(served: EngineProcess) -> Names:
    """Objects that there are, with a delivery among them."""
    with _http(served) as http:
        made = http.post(f"/v1/{ENVIRONMENT}/notificationChannels/mail:test", json={"to": "ann@example.com"})
        assert made.status_code == 200, made.text
        return {**NAMES, "delivery": (made.json()["name"].rpartition("/")[2],)}


def _http(engine: EngineProcess) -> httpx.Client:
    token = (engine.home / "token").read_text().strip()
    url = f"http://{(engine.home / 'rest-endpoint').read_text().strip()}"
    return httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=60)


class Schemathesis:
    """Runs against an engine, each in one phase."""

    def __init__(self, engine: EngineProcess, folder: Path) -> None:
        self._engine = engine
        self._folder = folder

    def run(self, phase: str, parameters: str, spare_parameters: str, *arguments: str) -> dict[str, Any]:
        """The report of a run, which found nothing."""
        report, configuration = self._folder / f"{phase}.json", self._folder / f"{phase}.toml"
        configuration.write_text(
            f"""
hooks = "tests.e2e.document_hooks"
max-stream-events = 1
request-timeout = 20.0
[headers]
Authorization = "Bearer {(self._engine.home / "token").read_text().strip()}"
{parameters}
[[operations]]
include-method-regex = "DELETE|PATCH"
[operations.parameters]
{spare_parameters}
"""
        )
        url = f"http://{(self._engine.home / 'rest-endpoint').read_text().strip()}/openapi.json"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration), "run", url),
                *("--phases", phase, "--checks", ",".join(CHECKS), "--seed", str(SEED), "--no-shrink"),
                *("--continue-on-failure", "--report-json-path", str(report), *arguments),
            ],
            cwd=self._folder,
            env=unmeasured() | {"no_proxy": "*", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        told: dict[str, Any] = json.loads(report.read_text())
        return told


@pytest.mark.timeout(3600 if IS_LONG else 900)
def test_whatever_is_asked_by_the_document_is_answered_as_it_says(
    served: EngineProcess, names: Names, tmp_path: Path
) -> None:
    tests = Schemathesis(served, tmp_path)
    bounds = tests.run(
        "coverage",
        f"[parameters]\n{_fixed(names)}",
        _fixed(SPARE),
        *(() if IS_LONG else ("--exclude-operation-id-regex", LARGEST)),
    )
    chance = tests.run(
        "fuzzing",
        f"[dictionaries]\n{_words(names)}\n{_words(SPARE, 'spare_')}\n[parameters]\n{_drawn(names)}",
        _drawn(SPARE, "spare_"),
        *("--max-examples", str(EXAMPLES)),
    )
    for told in (bounds, chance):
        assert told["operations"]["tested"] == told["operations"]["selected"]
        assert (told["failures"], told["errors"]) == ([], [])
    assert chance["operations"]["tested"] == chance["operations"]["total"]


def _fixed(names: Names) -> str:
    """Each parameter with one value."""
    return "\n".join(f'"path.{name}" = "{values[-1]}"' for name, values in names.items())


def _words(names: Names, prefix: str = "") -> str:
    """A dictionary for each parameter."""
    return "\n".join(f"{prefix}{name} = {{values = {list(values)}}}" for name, values in names.items())


def _drawn(names: Names, prefix: str = "") -> str:
    """Each parameter mostly with a value of its dictionary."""
    rows = (f'"path.{name}" = {{dictionary = "{prefix}{name}", probability = 0.9}}' for name in names)
    return "\n".join(rows)
