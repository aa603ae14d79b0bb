"""Recognisable secrets in every place that can hold one, every kind of error provoked, and everything that comes out searched for them."""

import base64
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.engine.ports.secrets import HIDDEN
from pymigrate.v1 import connection_pb2, notification_pb2, run_pb2
from tests.apis import ApiServer, Asked, Reply
from tests.e2e import leaky_plugins
from tests.e2e.canaries import Canaries, leaks, spellings
from tests.e2e.echoing_postgres import EchoingPostgres
from tests.e2e.engines import ROOT, EngineProcess, declare, ended, running_engine, wait_until
from tests.mail import Certificates, MailServer
from tests.sinks import HttpSink, Posted, Said

ENVIRONMENT = "environments/e"
CALL_SECONDS = 60.0
HUNG_SECONDS = 3.0
PIPED = ("main.rendering", "main.apprise", "main.business_metrics", "python_child")
DONE = frozenset({notification_pb2.DELIVERY_STATE_DEAD, notification_pb2.DELIVERY_STATE_UNDELIVERABLE})


class Scene:
    """What is planted, the systems around the engine, and everything that came out of it, by what it is."""

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        self.folder = folder
        self.canaries = Canaries()
        self.outputs: dict[str, bytes] = {}
        self.environment: dict[str, str] = {}
        self.postgres, self.api, self.mail = EchoingPostgres(), ApiServer(), MailServer(starttls=certificates.server)
        self.hook, self.apprise, self.step, self.events, self.collector = (HttpSink() for _ in range(5))
        self.api.answer = _reflected
        for sink in (self.hook, self.apprise, self.step, self.events):
            sink.answer = _said_back
        self.collector.answer = lambda posted: _said_back(posted) if len(self.collector.asked) == 1 else Said()

    def close(self) -> None:
        """Ends the systems."""
        for server in (
            self.postgres,
            self.api,
            self.mail,
            self.hook,
            self.apprise,
            self.step,
            self.events,
            self.collector,
        ):
            server.close()

    def in_variable(self, place: str, *, is_plain: bool = False, wrapped: str = "{}") -> str:
        """The reference of a secret in the engine's environment."""
        name = f"CANARY_{place.upper().replace('-', '_')}"
        self.environment[name] = wrapped.format(self.canaries.plant(place, is_plain=is_plain))
        return f"env://{name}"

    def in_file(self, place: str, key: str = "") -> str:
        """The reference of a secret in a file, or in a field of the JSON that it holds."""
        value, path = self.canaries.plant(place), self.folder / f"{place}.secret"
        path.write_text(json.dumps({key: value}) if key else f"{value}\n")
        return f"file://{path}#{key}" if key else f"file://{path}"

    def heard(self, what: str, content: bytes | str) -> None:
        """Keeps an output."""
        self.outputs[what] = self.outputs.get(what, b"") + (content.encode() if isinstance(content, str) else content)

    def connections(self) -> dict[str, Any]:
        """Connections that fail, each in a way of its own."""
        server = {"host": "127.0.0.1", "port": self.postgres.port, "database": "erp", "user": "me"}
        token = self.in_variable("plugin")
        return {
            "echoing": {"postgres": {**server, "sslMode": "disable", "password": self.in_variable("postgres")}},
            "tls": {"postgres": {**server, "sslMode": "require", "password": self.in_file("postgres-tls")}},
            "nowhere": {"mysql": {**server, "port": 1, "password": self.in_file("mysql", "password")}},
            "alchemy": {
                "sqlalchemy": {
                    "url": f"postgresql+psycopg://me@127.0.0.1:{self.postgres.port}/erp",
                    "password": self.in_file("sqlalchemy"),
                }
            },
            "api": {
                "http": {"baseUrl": self.api.url, "headers": {"Authorization": self.in_variable("http", is_plain=True)}}
            },
            "remote": {
                "files": {"root": "ftp://127.0.0.1/x", "options": {"port": "1", "password": self.in_variable("files")}}
            },
            "raises": {"plugin": {"kind": "leaky", "options": {"token": token, "how": "raise"}}},
            "aborts": {"plugin": {"kind": "leaky", "options": {"token": token, "how": "abort"}}},
            "hangs": {"plugin": {"kind": "leaky", "options": {"token": token, "how": "hang"}}},
        }

    def channels(self) -> dict[str, Any]:
        """Channels that fail, each in a way of its own, and where a message goes by each."""
        url = self.in_variable("apprise", is_plain=True, wrapped=f"json://me:{{}}@127.0.0.1:{self.apprise.port}/")
        mail = {"host": "localhost", "port": self.mail.port, "sender": "ops@example.com", "username": "me"}
        hook = {"url": f"{self.hook.url}/hook", "signingKey": self.in_variable("signing-key")}
        return {
            "mail": {"smtp": {**mail, "password": self.in_variable("smtp")}},
            "hook": {"webhook": {**hook, "secretHeaders": {"X-Token": self.in_variable("webhook", is_plain=True)}}},
            "pager": {"apprise": {"url": url}},
            "leaky": {"plugin": {"kind": "leaky", "options": {"token": self.in_variable("channel")}}},
        }

    def plan(self) -> dict[str, Any]:
        """One phase that masks by a key, and ends with a call that is refused."""
        headers = {"Authorization": self.in_variable("step", is_plain=True)}
        call = {"url": f"{self.step.url}/switch", "headers": headers}
        step = {"point": "after_publication", "call": call, "undo": call}
        masked = {"mask": {"key": self.in_variable("mask"), "columns": {"name": {"method": "tokenise"}}}}
        dataset = {
            "source": {"connection": "legacy", "relation": "people"},
            "target": {"connection": "warehouse", "relation": "people"},
            "transforms": [masked],
        }
        return {
            "phases": {"people": {"department": "sales", "datasets": {"people": dataset}, "steps": {"switch": step}}}
        }

    def definitions(self) -> str:
        """Everything that is declared."""
        with closing(sqlite3.connect(self.folder / "legacy.db")) as database, database:
            database.execute("create table people (id integer primary key, name text)")
            database.executemany("insert into people values (?, ?)", [(at, f"name {at}") for at in range(100)])
        systems = {"legacy": {"sqlite": {"path": f"{self.folder}/legacy.db"}}}
        systems["warehouse"] = {"duckdb": {"path": f"{self.folder}/w.duckdb"}}
        systems |= self.connections()
        where = {"environment": "e"}
        address = {"hook": {"channel": "hook", "to": f"{self.hook.url}/hook"}}
        found: list[dict[str, Any]] = [
            {"kind": "Environment", "metadata": {"name": "e"}},
            {"kind": "Department", "metadata": {"name": "sales", **where}},
            *(
                {"kind": "Connection", "metadata": {"name": name, **where}, "spec": spec}
                for name, spec in systems.items()
            ),
            *(
                {
                    "kind": "NotificationChannel",
                    "metadata": {"name": name, **where},
                    "spec": {**spec, "triesMax": 1, "trySecondsMax": 10},
                }
                for name, spec in self.channels().items()
            ),
            {
                "kind": "Stakeholder",
                "metadata": {"name": "ann", **where},
                "spec": {"roles": ["engineer"], "addresses": address},
            },
            {
                "kind": "AlertRule",
                "metadata": {"name": "failures", **where},
                "spec": {"recipients": {"roles": ["engineer"]}},
            },
            {"kind": "Plan", "metadata": {"name": "p", **where}, "spec": self.plan()},
        ]
        return "\n---\n".join(json.dumps({"apiVersion": "pymigrate.io/v1alpha1", **document}) for document in found)


def _echoes(headers: Mapping[str, str]) -> str:
    """What a request said that is secret, in several spellings."""
    said = [text for name, text in headers.items() if name.lower() in {"authorization", "x-token"}]
    return " | ".join(
        spelled
        for text in said
        for spelled in (
            text,
            text.encode().hex(),
            base64.b64encode(text.encode()).decode(),
            quote(text, safe=""),
            json.dumps(text),
        )
    )


def _reflected(asked: Asked) -> Reply:
    return Reply(_echoes(asked.headers).encode(), 401)


def _said_back(posted: Posted) -> Said:
    return Said(400, body=_echoes(posted.headers))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The other package, as an installer would lay it, on the path of hosts and dispatchers."""
    site = tmp_path / "site"
    info = site / "leaky-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: leaky\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[pymigrate.connectors]\nleaky = leaky_plugins:LeakyConnector\n[pymigrate.channels]\nleaky = leaky_plugins:LeakyChannel\n"
    )
    shutil.copy(leaky_plugins.__file__, site)
    monkeypatch.setenv("PYTHONPATH", str(site))
    return site


@pytest.fixture
def scene(tmp_path: Path, certificates: Certificates) -> Iterator[Scene]:
    """Everything around the engine."""
    made = Scene(tmp_path, certificates)
    yield made
    made.close()


def test_no_secret_is_in_anything_that_comes_out(
    scene: Scene, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert site.is_dir()
    definitions = scene.definitions()
    settings = {
        "OUTGOING_ALLOWED": "127.0.0.0/8",
        "REST_LISTEN": "127.0.0.1:0",
        "OTLP_ENDPOINT": scene.collector.url,
        "OTLP_TOKEN": scene.in_variable("otlp", is_plain=True),
        "EVENTS_URL": scene.events.url,
        "EVENTS_TOKEN": scene.in_variable("events", is_plain=True),
    }
    for name, value in {
        **{f"PYMIGRATE_{name}": value for name, value in settings.items()},
        **scene.environment,
    }.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "home"
    with running_engine(home, is_warm=False) as engine:
        for path in ("token", "acknowledge-key"):
            scene.canaries.values[path] = (home / path).read_text().strip()
        scene.heard("definitions", definitions)
        with engine.client() as client:
            declare(client, definitions, tmp_path / "plan.yaml")
            hanging = _hang(scene, client)
            _test_connections(scene, client)
            _test_channels(scene, client)
            _fail_a_run(scene, client)
            _refuse_literals(scene, client)
            _ask_over_rest(scene, engine)
            _look_at_processes(scene, engine)
            hanging.join()
    _start_on_a_store(scene, monkeypatch)
    for file in (home / "engine.log", *(home / "logs").iterdir(), *home.glob("engine.db*")):
        scene.heard(f"file {file.name}", file.read_bytes())
    for name, sink in {
        "hook": scene.hook,
        "apprise": scene.apprise,
        "step": scene.step,
        "events": scene.events,
    }.items():
        scene.heard(f"bodies at {name}", b"\n".join(posted.body for posted in sink.asked))
    scene.heard("bodies at the collector", b"\n".join(posted.body for posted in scene.collector.asked))
    assert all(scene.outputs.values())
    assert all(sink.asked for sink in (scene.hook, scene.apprise, scene.step, scene.events, scene.collector))
    assert not list(ROOT.glob("core*")), "a core was dumped"
    assert leaks(scene.outputs, scene.canaries.values) == []
    # The search would find them: what was provoked is there, without the value.
    for what in ("echoing", "alchemy", "api", "raises"):
        assert HIDDEN.encode() in scene.outputs[f"connection {what}"], what
    for what in ("hook", "leaky"):
        assert HIDDEN.encode() in scene.outputs[f"delivery by {what}"], what
    for said in (b"printed ***", b"logged ***", b"warned of ***", b"failed with ***"):
        assert any(said in content for what, content in scene.outputs.items() if what.startswith("file shared"))


@pytest.mark.parametrize("place", ["postgres", "http"])
def test_the_search_finds_a_secret_in_every_spelling(place: str) -> None:
    canaries = Canaries()
    value = canaries.plant(place, is_plain=place == "http")
    for name, spelling in spellings(value):
        found = leaks({"log": b'{"event": "' + spelling + b'"}'}, canaries.values)
        assert name in [spelled for _, _, spelled, _ in found]
    for user in ("m", "me", "you"):
        header = base64.b64encode(f"{user}:{value}".encode())
        assert leaks({"log": b"Basic " + header}, canaries.values)
    assert leaks({"log": b"nothing to see"}, canaries.values) == []


def _told(call: Callable[[], Any]) -> bytes:
    """What a call that fails tells: code, words and details."""
    with pytest.raises(grpc.RpcError) as failed:
        call()
    error: Any = failed.value
    trailing = b"\n".join(
        value if isinstance(value, bytes) else value.encode() for _, value in error.trailing_metadata() or ()
    )
    return f"{error.code()} {error.details()} {error!r}\n".encode() + trailing


def _test(client: Client, name: str, seconds: float) -> bytes:
    asked = connection_pb2.TestConnectionRequest(name=f"{ENVIRONMENT}/connections/{name}")
    return _told(lambda: client.connections.TestConnection(asked, metadata=client.metadata, timeout=seconds))


def _hang(scene: Scene, client: Client) -> threading.Thread:
    """A task that hangs until its host is killed with the engine's end."""
    thread = threading.Thread(target=lambda: scene.heard("connection hangs", _test(client, "hangs", HUNG_SECONDS)))
    thread.start()
    return thread


def _test_connections(scene: Scene, client: Client) -> None:
    names = ("echoing", "tls", "nowhere", "alchemy", "api", "remote", "raises")
    threads = [
        threading.Thread(target=lambda name=name: scene.heard(f"connection {name}", _test(client, name, CALL_SECONDS)))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Last, since it takes the others' worker host with it.
    scene.heard("connection aborts", _test(client, "aborts", CALL_SECONDS))
    assert {f"connection {name}" for name in names} <= scene.outputs.keys()


def _test_channels(scene: Scene, client: Client) -> None:
    for name, to in {
        "mail": "ann@example.com",
        "hook": f"{scene.hook.url}/hook",
        "pager": "ops",
        "leaky": "ops",
    }.items():
        asked = notification_pb2.TestNotificationChannelRequest(
            name=f"{ENVIRONMENT}/notificationChannels/{name}", to=to
        )
        delivery = client.notifications.TestNotificationChannel(asked, **client.options)
        scene.heard(f"delivery by {name}", _settled(client, delivery.name).SerializeToString())


def _settled(client: Client, name: str) -> notification_pb2.NotificationDelivery:
    """A delivery once it has been given up."""
    found = notification_pb2.NotificationDelivery()

    def is_over() -> bool:
        asked = notification_pb2.GetDeliveryRequest(name=name)
        found.CopyFrom(client.notifications.GetDelivery(asked, **client.options))
        return found.state in DONE

    wait_until(is_over)
    return found


def _fail_a_run(scene: Scene, client: Client) -> None:
    asked = run_pb2.StartRunRequest(parent=f"{ENVIRONMENT}/plans/p")
    run = ended(client, client.runs.StartRun(asked, metadata=client.metadata, timeout=CALL_SECONDS).name)
    assert run.state == run_pb2.RUN_STATE_FAILED, run
    scene.heard("the run", run.SerializeToString() + str(run).encode())
    events = client.runs.ListRunEvents(run_pb2.ListRunEventsRequest(parent=run.name), **client.options)
    scene.heard("its events", events.SerializeToString() + str(events).encode())
    scene.hook.wait_for(
        lambda: any(b"pymigrate" in posted.body and b"run" in posted.body for posted in scene.hook.asked)
    )


def _refuse_literals(scene: Scene, client: Client) -> None:
    """A definition that holds a secret itself."""
    url = f"postgresql://me:{scene.canaries.plant('literal', is_plain=True)}@db/erp"
    made = connection_pb2.Connection(sqlite=connection_pb2.SqliteSystem(path=url))
    made.labels[scene.canaries.values["literal"].join(("redis://:", "@cache"))] = "x"
    asked = connection_pb2.CreateConnectionRequest(parent=ENVIRONMENT, connection_id="x", connection=made)
    said = _told(lambda: client.connections.CreateConnection(asked, **client.options))
    assert b"connection.sqlite.path" in said
    scene.heard("a refusal", said)


def _ask_over_rest(scene: Scene, engine: EngineProcess) -> None:
    base = f"http://{(engine.home / 'rest-endpoint').read_text().strip()}"
    token = (engine.home / "token").read_text().strip()
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    for path in ("/metrics", f"/v1/{ENVIRONMENT}/deliveries", f"/v1/{ENVIRONMENT}/connections"):
        asked = urllib.request.Request(base + path, headers=headers)
        with urllib.request.urlopen(asked, timeout=CALL_SECONDS) as answer:
            scene.heard(f"REST {path}", answer.read())
    test = f"/v1/{ENVIRONMENT}/connections/echoing:test"
    with pytest.raises(urllib.error.HTTPError) as failed:
        urllib.request.urlopen(urllib.request.Request(base + test, b"{}", headers), timeout=CALL_SECONDS)
    scene.heard(f"REST {test}", failed.value.read() + str(failed.value.headers).encode())


def _look_at_processes(scene: Scene, engine: EngineProcess) -> None:
    """Everybody's arguments, and the variables of those that need no secret."""
    assert engine.process is not None
    family = _descendants(engine.process.pid)
    assert len(family) > 3
    for pid in family:
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
            variables = Path(f"/proc/{pid}/environ").read_bytes()
            limits = Path(f"/proc/{pid}/limits").read_text()
        except OSError:
            continue  # it has ended meanwhile
        scene.heard("arguments", arguments)
        if any(module.encode() in arguments for module in PIPED):
            scene.heard("variables", variables)
        if b"pymigrate" in arguments:
            assert [line.split()[-3:-1] for line in limits.splitlines() if line.startswith("Max core file")] == [
                ["0", "0"]
            ]


def _descendants(root: int) -> list[int]:
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended meanwhile
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _start_on_a_store(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine whose store says its password back."""
    reference = scene.in_variable("store")
    variables = {
        **scene.environment,
        "PYMIGRATE_STORE": f"postgresql://me@127.0.0.1:{scene.postgres.port}/store",
        "PYMIGRATE_STORE_PASSWORD": reference,
    }
    command = [
        sys.executable,
        "-m",
        "pymigrate.engine.main.cli",
        "serve",
        "--home",
        str(scene.folder / "other"),
        "--listen",
        "127.0.0.1:0",
    ]
    done = subprocess.run(command, capture_output=True, env=os.environ | variables, timeout=CALL_SECONDS, check=False)
    assert done.returncode == 1
    scene.heard("an engine without a store", done.stdout + done.stderr)
