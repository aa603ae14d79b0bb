"""What Prometheus is shown in the tests of examples/monitoring: plans of one environment, each in another state and staying there."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psycopg
import yaml
from google.protobuf.field_mask_pb2 import FieldMask
from psycopg.conninfo import conninfo_to_dict

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import environment_pb2, notification_pb2, run_pb2
from tests.e2e.engines import EngineProcess, declare, ended, wait_until
from tests.proxies import Proxy

ENVIRONMENT = "prod"
PLANS = f"environments/{ENVIRONMENT}/plans"
MONITORING = Path(__file__).resolve().parents[2] / "examples/monitoring"
INTERVAL = "500ms"
ROWS, REFUSED = 400, 3
SLOW_ROWS, SLOW_ROWS_PER_SECOND = 120_000, 200  # ten minutes, longer than all tests of it
RTO_SECONDS = 1_200


def lay_out(folder: Path) -> None:
    """The legacy systems: one that is read slowly, one that is written to, one with rows of which some are refused, and a damaged file."""
    folder.mkdir()
    with closing(sqlite3.connect(folder / "slow.db")) as database, database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)")
        database.executemany("INSERT INTO orders VALUES (?, ?)", ((n, "x" * 200) for n in range(SLOW_ROWS)))
    with closing(sqlite3.connect(folder / "live.db")) as database, database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE bookings (id INTEGER PRIMARY KEY, version INTEGER NOT NULL)")
        database.executemany("INSERT INTO bookings VALUES (?, ?)", ((n, n) for n in range(ROWS)))
    with closing(sqlite3.connect(folder / "crm.db")) as database, database:
        database.execute("CREATE TABLE customers (id INTEGER PRIMARY KEY, price TEXT)")
        rows = ((n, "free" if n < REFUSED else f"{n}.50") for n in range(ROWS))
        database.executemany("INSERT INTO customers VALUES (?, ?)", rows)
    (folder / "wide.csv").write_text("id,note\n1,a\n2,b,too many\n")


def dataset(source: str, relation: str, target: str = "warehouse", **more: Any) -> dict[str, Any]:
    """One dataset by its key."""
    return {
        "source": {"connection": source, "relation": relation},
        "target": {"connection": target, "relation": f"{source}_rows"},
        "key": ["id"],
        **more,
    }


def definitions(folder: Path, away: dict[str, Any], hook: str) -> str:
    """Six plans: `slow` is under way, `live` follows its source, `done` has succeeded, `broken` has failed, `away` waits for a database
    that is gone, and `spoiled` can't be taken back. Whoever changes something is told by a webhook."""
    refused: dict[str, Any] = {
        "transforms": [{"cast": {"columns": {"price": {"type": "decimal(9,2)"}}}}],
        "quarantine": {"rowsMax": 10},
    }
    live = dataset("live", "bookings", catchUp={"column": {"name": "version", "overlap": 10}})
    plans: dict[str, dict[str, Any]] = {
        "slow": {"datasets": {"orders": dataset("slow", "orders", chunkBytes=65_536)}},
        "live": {
            "downtimePolicy": "online",
            "gates": {"go": {"point": "before_publication"}},
            "datasets": {"bookings": live},
        },
        "done": {"datasets": {"customers": dataset("crm", "customers", **refused)}},
        "broken": {"datasets": {"wide": dataset("files", "wide.csv")}},
        "away": {"datasets": {"ledger": dataset("away", "ledger", chunkBytes=65_536)}},
        "spoiled": {"datasets": {"customers": dataset("crm", "customers", "spoiled")}},
    }
    where = {"environment": ENVIRONMENT}
    connections: dict[str, dict[str, Any]] = {
        "slow": {"sqlite": {"path": f"{folder}/slow.db"}, "rowsPerSecondMax": SLOW_ROWS_PER_SECOND},
        "live": {"sqlite": {"path": f"{folder}/live.db"}},
        "crm": {"sqlite": {"path": f"{folder}/crm.db"}},
        "files": {"files": {"root": str(folder)}},
        "away": {"postgres": away, "rowsPerSecondMax": SLOW_ROWS_PER_SECOND},
        **{name: {"sqlite": {"path": f"{folder}/{name}.db"}} for name in ("warehouse", "spoiled")},
    }
    systems = {"shop": {"connection": "slow", "rtoSeconds": RTO_SECONDS}}
    documents: list[dict[str, Any]] = [
        {"kind": "Environment", "metadata": {"name": ENVIRONMENT}},
        *(
            {"kind": "Connection", "metadata": {"name": name, **where}, "spec": spec}
            for name, spec in connections.items()
        ),
        {"kind": "Department", "metadata": {"name": "sales", **where}, "spec": {"owner": "Ann", "systems": systems}},
        *(
            {
                "kind": "Plan",
                "metadata": {"name": name, **where},
                "spec": {"phases": {"move": {"department": "sales", **phase}}},
            }
            for name, phase in plans.items()
        ),
        *({"kind": kind, "metadata": {"name": "told", **where}, "spec": spec} for kind, spec in notices(hook).items()),
    ]
    return "\n---\n".join(json.dumps({"apiVersion": "pymigrate.io/v1alpha1", **document}) for document in documents)


def notices(hook: str) -> dict[str, dict[str, Any]]:
    """Somebody who is told of every change, and must be told within five minutes."""
    rule = {"match": {"types": ["audit.update"]}, "recipients": {"roles": ["owner"]}, "confirmSecondsMax": 300}
    return {
        "NotificationChannel": {"webhook": {"url": hook}},
        "Stakeholder": {"roles": ["owner"], "addresses": {"hook": {"channel": "told"}}},
        "AlertRule": rule,
    }


class Scene:
    """The engine, and its runs by their plan's name, each in the state in which it stays."""

    def __init__(self, engine: EngineProcess, folder: Path, postgres: str, proxy: Proxy, hook: str) -> None:
        self.engine = engine
        self.runs: dict[str, str] = {}
        self.told = 0
        lay_out(folder)
        with psycopg.connect(postgres) as connection:
            connection.execute("CREATE TABLE ledger (id bigint PRIMARY KEY, note text)")
            connection.execute(
                "INSERT INTO ledger SELECT n, repeat('x', 200) FROM generate_series(1, %s) n", (SLOW_ROWS,)
            )
        parts = conninfo_to_dict(postgres)
        away = {"host": "127.0.0.1", "port": proxy.port, "database": parts["dbname"], "user": parts["user"]}
        with engine.client() as client:
            declare(client, definitions(folder, away, hook), folder / "plans.yaml")
            for plan in ("spoiled", "done", "broken", "live", "away", "slow"):
                request = run_pb2.StartRunRequest(parent=f"{PLANS}/{plan}")
                self.runs[plan] = client.runs.StartRun(request, metadata=client.metadata, timeout=120).name
            assert ended(client, self.runs["spoiled"]).state == run_pb2.RUN_STATE_SUCCEEDED
            with closing(sqlite3.connect(folder / "spoiled.db")) as target, target:
                target.execute("ALTER TABLE crm_rows ADD COLUMN somebody_elses TEXT")
            request_back = run_pb2.RollbackRunRequest(name=self.runs["spoiled"])
            client.runs.RollbackRun(request_back, metadata=client.metadata, timeout=120)
            assert ended(client, self.runs["done"]).state == run_pb2.RUN_STATE_SUCCEEDED
            assert ended(client, self.runs["broken"]).state == run_pb2.RUN_STATE_FAILED
            wait_until(lambda: self.run(client, "spoiled").state == run_pb2.RUN_STATE_ROLLBACK_BLOCKED)
            wait_until(lambda: self.run(client, "live").phases["move"].datasets["bookings"].rows == ROWS)
            wait_until(lambda: self.lanes(client, "away")[0].chunks > 0)
            proxy.cut()
            wait_until(lambda: self.lanes(client, "away")[0].state == run_pb2.LANE_STATE_STALLED)
            wait_until(lambda: self.rows(client) > 0)

    def call_rest(self) -> None:
        """A call that is answered, and one that is refused."""
        for path in ("environments", "environments/nowhere"):
            httpx.get(f"http://{self.rest()}/v1/{path}", headers=self.authorization(), trust_env=False)

    def tell(self) -> None:
        """A change of which somebody is told, and that the engine knows to have arrived."""
        self.told += 1
        with self.engine.client() as client:
            sales = environment_pb2.Department(
                name=f"environments/{ENVIRONMENT}/departments/sales", owner=f"A {self.told}"
            )
            request = environment_pb2.UpdateDepartmentRequest(department=sales, update_mask=FieldMask(paths=["owner"]))
            client.environments.UpdateDepartment(request, metadata=client.metadata, timeout=60)
            wait_until(lambda: self.accepted(client) == self.told)

    def accepted(self, client: Client) -> int:
        """How many messages were taken."""
        request = notification_pb2.GetNotificationKpisRequest(parent=f"environments/{ENVIRONMENT}")
        kpis = client.notifications.GetNotificationKpis(request, metadata=client.metadata, timeout=60)
        return kpis.total.deliveries["accepted"]

    def authorization(self) -> dict[str, str]:
        """What a request shows."""
        return {"authorization": f"Bearer {self.token_file().read_text().strip()}"}

    def rest(self) -> str:
        """Where REST is."""
        return (self.engine.home / "rest-endpoint").read_text().strip()

    def run(self, client: Client, plan: str) -> run_pb2.Run:
        """A plan's run."""
        return client.runs.GetRun(run_pb2.GetRunRequest(name=self.runs[plan]), metadata=client.metadata, timeout=60)

    def lanes(self, client: Client, plan: str) -> list[run_pb2.Lane]:
        """Its lanes."""
        request = run_pb2.ListLanesRequest(parent=self.runs[plan])
        return list(client.runs.ListLanes(request, metadata=client.metadata, timeout=60).lanes)

    def rows(self, client: Client) -> int:
        """How many rows the run that is under way has committed."""
        return self.run(client, "slow").phases["move"].datasets["orders"].rows

    def page(self) -> str:
        """Where its metrics are."""
        return (self.engine.home / "metrics-endpoint").read_text().strip()

    def token_file(self) -> Path:
        """The file with its token."""
        return self.engine.home / "token"


def configured(folder: Path, page: str, token: Path) -> Path:
    """The example's configuration, with this engine in the place of its own, and scraped more often."""
    text = (MONITORING / "prometheus.yml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)
    found["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), INTERVAL)
    found["rule_files"] = [str(MONITORING / name) for name in found["rule_files"]]
    jobs: Mapping[str, Any] = {job["job_name"]: job for job in found["scrape_configs"]}
    jobs["pymigrate"]["authorization"]["credentials_file"] = str(token)
    jobs["pymigrate"]["static_configs"][0]["targets"] = [page]
    jobs["prometheus"]["static_configs"][0]["targets"] = ["127.0.0.1:@PORT@"]
    del found["alerting"]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(found))
    return file
