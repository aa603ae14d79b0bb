"""Recognisable secrets in every place that can hold one, every kind of error provoked, and everything that comes out searched for them."""

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.engine.ports.secrets import HIDDEN
from pymigrate.v1 import connection_pb2, notification_pb2, run_pb2
from tests.e2e import leaky_plugins
from tests.e2e.canaries import Canaries, leaks, spellings
from tests.e2e.canary_outside import LoggedTerraform, Repository, hcl, keep
from tests.e2e.canary_scene import Scene
from tests.e2e.engines import ROOT, EngineProcess, ended, running_engine, wait_until
from tests.e2e.test_command_line import CommandLine
from tests.e2e.test_rest_process import RestProcess
from tests.e2e.test_terraform_token import written
from tests.mail import Certificates
from tests.vaults.program import vault_process

ENVIRONMENT = "environments/e"
CALL_SECONDS = 60.0
HUNG_SECONDS = 3.0
MADE = "A1a-"  # what passwords begin with that the Vault makes
BY_BACKENDS = ("vaulted", "made", "unread")
PIPED = ("main.rendering", "main.apprise", "main.business_metrics", "python_child")
DONE = frozenset({notification_pb2.DELIVERY_STATE_DEAD, notification_pb2.DELIVERY_STATE_UNDELIVERABLE})


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
    with vault_process() as vault:
        made = Scene(tmp_path, certificates, vault)
        yield made
        made.close()


def test_no_secret_is_in_anything_that_comes_out(
    scene: Scene, site: Path, tmp_path: Path, require_terraform: str, monkeypatch: pytest.MonkeyPatch
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
    monkeypatch.setenv("COLUMNS", "9999")  # no table cuts a value to pieces
    for name, value in {
        **{f"PYMIGRATE_{name}": value for name, value in settings.items()},
        **scene.environment,
    }.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "home"
    with running_engine(home, is_warm=False) as engine, ThreadPoolExecutor() as beside:
        for path in ("token", "acknowledge-key"):
            scene.canaries.values[path] = (home / path).read_text().strip()
        scene.heard("definitions", definitions)
        _apply_from_git(scene, engine, definitions)
        migrating = beside.submit(_migrate_by_terraform, scene, engine, require_terraform)
        with engine.client() as client:
            hanging = _hang(scene, client)
            _test_connections(scene, client)
            _test_channels(scene, client)
            _fail_a_run(scene, client, "p")
            _fail_a_run(scene, client, "rows")
            _refuse_literals(scene, client)
            _type_commands(scene, engine)
            _ask_over_rest(scene, engine)
            _ask_a_rest_process(scene, engine)
            _look_at_processes(scene, engine)
            hanging.join()
            migrating.result()
    _start_on_a_store(scene, monkeypatch)
    for file in (home / "engine.log", home / "rest.log", *(home / "logs").iterdir(), *home.glob("engine.db*")):
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
    for number, password in enumerate(scene.postgres.told):
        if password not in scene.canaries.values.values():
            scene.canaries.values[f"made on demand, {number}"] = password
    assert any(password.startswith(MADE) for password in scene.canaries.values.values())
    assert scene.canaries.values["vault-postgres-before"] in scene.postgres.told
    assert not list(ROOT.glob("core*")), "a core was dumped"
    assert leaks(scene.outputs, scene.canaries.values) == []
    # The search would find them: what was provoked is there, without the value.
    for what in ("echoing", "alchemy", "api", "raises", "vaulted", "made"):
        assert HIDDEN.encode() in scene.outputs[f"connection {what}"], what
    for what in ("hook", "leaky"):
        assert HIDDEN.encode() in scene.outputs[f"delivery by {what}"], what
    for what in ("connection untrusted", "delivery by untrusted"):
        assert b"certificate" in scene.outputs[what].lower(), what
    for what in ("terraform's errors", "a version that is tested", "the run of rows", "REST of its own"):
        assert HIDDEN.encode() in scene.outputs[what], what
    assert any(b"This is the default text" in posted.body for posted in scene.hook.asked), "no template failed"
    shown = {what for what, *_ in leaks(scene.outputs, scene.marker.values)}
    assert {
        "definitions",
        "Git",
        "what terraform keeps",
        "what terraform says",
        "resolved",
        "resolved as JSON",
        "REST of its own",
    } <= shown
    assert any(what.startswith("file engine.db") for what in shown)
    for said in (b"printed ***", b"logged ***", b"warned of ***", b"failed with ***"):
        assert any(said in content for what, content in scene.outputs.items() if what.startswith("file shared"))


@pytest.mark.parametrize("place", ["postgres", "http"])
def test_the_search_finds_a_secret_in_every_spelling(place: str) -> None:
    canaries = Canaries()
    value = canaries.plant(place, is_plain=place == "http")
    for name, spelling in spellings(value):
        found = leaks({"log": b'{"event": "' + spelling + b'"}'}, canaries.values)
        assert name in [spelled for _, _, spelled, _ in found]
    for cut in (value[:9], value[-9:], value[:9].encode().hex(), base64.b64encode(value.encode()).decode()[:16]):
        assert leaks({"log": f"`{cut}…` is no int64".encode()}, canaries.values), cut
    for user in ("m", "me", "you"):
        header = base64.b64encode(f"{user}:{value}".encode())
        assert leaks({"log": b"Basic " + header}, canaries.values)
    assert leaks({"log": b"nothing to see"}, canaries.values) == []


def test_the_search_finds_a_secret_that_is_committed(tmp_path: Path) -> None:
    canaries = Canaries()
    content = Repository(tmp_path / "repository", json.dumps({"password": canaries.plant("git")}) * 9).content()
    assert {place for _, place, *_ in leaks({"Git": content}, canaries.values)} == {"git"}


def test_the_search_finds_a_secret_in_terraform_s_plan_and_in_its_state(require_terraform: str, tmp_path: Path) -> None:
    canaries = Canaries()
    terraform = LoggedTerraform(require_terraform, tmp_path / "terraform", EngineProcess(tmp_path / "home"))
    keep(terraform, canaries.plant("terraform"))
    for kept in ("saved", "terraform.tfstate"):
        alone = tmp_path / f"only {kept}"
        alone.mkdir()
        shutil.copy(terraform.folder / kept, alone)
        assert leaks({kept: written(alone)}, canaries.values), kept


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
    names = ("echoing", "tls", "nowhere", "alchemy", "api", "remote", "raises", *BY_BACKENDS, "verified", "untrusted")
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
        "untrusted": f"https://127.0.0.1:{scene.untrusted.port}/hook",
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


def _fail_a_run(scene: Scene, client: Client, plan: str) -> None:
    asked = run_pb2.StartRunRequest(parent=f"{ENVIRONMENT}/plans/{plan}")
    run = ended(client, client.runs.StartRun(asked, metadata=client.metadata, timeout=CALL_SECONDS).name)
    assert run.state == run_pb2.RUN_STATE_FAILED, run
    scene.heard(f"the run of {plan}", run.SerializeToString() + str(run).encode())
    events = client.runs.ListRunEvents(run_pb2.ListRunEventsRequest(parent=run.name), **client.options)
    scene.heard(f"events of {plan}", events.SerializeToString() + str(events).encode())
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


def _apply_from_git(scene: Scene, engine: EngineProcess, definitions: str) -> None:
    """Definitions as they lie in a repository."""
    repository = Repository(scene.folder / "repository", definitions)
    scene.heard("applied", CommandLine(engine)("apply", "-f", str(repository.file)))
    scene.heard("Git", repository.content())


def _migrate_by_terraform(scene: Scene, engine: EngineProcess, program: str) -> None:
    """A run that fails, and a definition that is refused."""
    terraform = LoggedTerraform(program, scene.folder / "terraform", engine)
    password = scene.in_file("terraform")
    server = f'host = "127.0.0.1", port = {scene.postgres.port}, database = "erp", user = "me", ssl_mode = "disable"'
    path = hcl(f"{scene.folder}/none/{scene.marker.values['marker']}")
    done, said = terraform.migrate(
        {
            "legacy": f'postgres = {{ {server}, password = "{password}" }}',
            "warehouse": f'duckdb = {{ path = "{scene.folder}/t.duckdb" }}',
            "marked": f"sqlite = {{ path = {path} }}",
        }
    )
    assert done.code == 1, done.output
    refused = terraform.declare_literal(f"postgresql://me:{scene.canaries.plant('sensitive', is_plain=True)}@db/erp")
    assert refused.code == 1, refused.output
    scene.heard("terraform's errors", done.output + refused.output)
    scene.heard("what terraform says", said)
    scene.heard("what terraform keeps", terraform.content())


def _type_commands(scene: Scene, engine: EngineProcess) -> None:
    """What people and pipelines ask at the command line."""
    pymigrate = CommandLine(engine)
    connection = f"{ENVIRONMENT}/connections/vaulted"
    scene.heard("a version that is tested", pymigrate("test", connection, "--secret-version", "1", code=1))
    scene.heard("resolved", pymigrate("resolve", ENVIRONMENT))
    scene.heard("resolved as JSON", pymigrate("resolve", ENVIRONMENT, "--json"))
    vault, echoing = (f"{ENVIRONMENT}/secretBackends/{name}" for name in ("vault", "echoing-vault"))
    scene.heard("a secret that is tested", pymigrate("secret-backends", "test", vault, "vault://kv/vault-http#value"))
    scene.heard("a login that is refused", pymigrate("secret-backends", "test", echoing, code=1))


def _ask_a_rest_process(scene: Scene, engine: EngineProcess) -> None:
    """`pymigrate rest`, which knows the engine's token alone."""
    rest = RestProcess(engine.home)
    try:
        wait_until(rest.is_ready)
        for name in ("echoing", "vaulted"):
            failed = rest.http.post(f"/v1/{ENVIRONMENT}/connections/{name}:test", json={})
            assert failed.is_client_error or failed.is_server_error
            scene.heard("REST of its own", failed.content + str(failed.headers).encode())
        token = rest.http.headers["authorization"]
        for asked in (
            rest.http.get(f"/v1/{ENVIRONMENT}/connections"),
            rest.http.get("/metrics"),
            rest.http.get(f"/v1/{quote(token, safe='')}"),
            rest.http.post("/v1/environments", content=f"{{{token}"),
            rest.http.get("/v1/environments", headers={"authorization": token[:-1]}),
        ):
            scene.heard("REST of its own", asked.content + str(asked.headers).encode())
        _look_at_process(scene, rest.process.pid)
    finally:
        rest.http.close()
        rest.stop()


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
        _look_at_process(scene, pid)


def _look_at_process(scene: Scene, pid: int) -> None:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
        variables = Path(f"/proc/{pid}/environ").read_bytes()
        limits = Path(f"/proc/{pid}/limits").read_text()
    except OSError:
        return  # it has ended meanwhile
    scene.heard("arguments", arguments)
    if any(module.encode() in arguments for module in PIPED):
        scene.heard("variables", variables)
    if b"pymigrate" in arguments:
        assert [line.split()[-3:-1] for line in limits.splitlines() if line.startswith("Max core file")] == [["0", "0"]]


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
