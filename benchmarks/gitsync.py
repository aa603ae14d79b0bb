"""From Git into the store: how long after `git push` a revision is applied, a first sync, and what a sync costs that finds nothing new.

The repository holds 1,000 plans in 10 environments and lies behind HTTPS with a login, served by the real `git http-backend`; the engine
is a process of its own, told by a signed webhook. Reference: git's own fetch of the same commits into a copy of its own, from the same
server, in turns with PyMigrate.
"""

import hashlib
import hmac
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from _figures import Report, arguments, percentile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import definition_pb2, git_source_pb2
from tests.e2e.engines import EngineProcess, running_engine
from tests.git_hosting import TOKEN, USERNAME, HttpsHost, Pushed, make_authority
from tests.git_works import Work, clean_environment, run_git

ENVIRONMENTS = 10
CHANGED = 10  # definitions that one push changes
PUSH_SECONDS_MAX = 0.5
FIRST_SECONDS_MAX = 2.0
UNCHANGED_CPU_SECONDS_MAX = 0.05
APPLIED_SECONDS_MAX = 60.0
STILL_SECONDS = 5.0
PAUSE_SECONDS = 0.01  # between two looks, which take the engine's time as well
MILLISECONDS = 1e3
SECRET = "webhook-secret-of-the-benchmark"
REPOSITORY = "migrations"


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    plans: int  # in each environment
    pushes: int
    firsts: int
    syncs: int


SIZES = {"whole": Size(100, 40, 5, 40), "quick": Size(100, 10, 2, 10), "tiny": Size(2, 2, 1, 2)}

ENVIRONMENT = """apiVersion: pymigrate.io/v1alpha1
kind: Environment
metadata: {{name: {environment}}}
spec: {{displayName: Environment {environment}}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {{name: legacy, environment: {environment}}}
spec: {{sqlite: {{path: /srv/{environment}/legacy.db}}}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {{name: warehouse, environment: {environment}}}
spec: {{duckdb: {{path: /srv/{environment}/warehouse.duckdb}}}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Department
metadata: {{name: sales, environment: {environment}}}
spec: {{owner: Head of Sales, users: 40, systems: {{orders: {{connection: legacy, criticality: high}}}}}}
"""
PLAN = """apiVersion: pymigrate.io/v1alpha1
kind: Plan
metadata: {{name: plan-{number}, environment: {environment}, labels: {{team: sales, wave: "{wave}"}}}}
spec:
  displayName: Orders of region {number} into the warehouse
  phases:
    orders:
      department: sales
      datasets:
        orders:
          source: {{connection: legacy, relation: orders_{number}}}
          target: {{connection: warehouse, relation: orders_{number}, loadMode: replace}}
          key: [id]
          verification: full
"""


def files_of(size: Size) -> dict[str, str | bytes | None]:
    """Every definition in a file of its own, but for what an environment consists of."""
    names = [f"env-{number}" for number in range(ENVIRONMENTS)]
    shared = {f"{name}/environment.yaml": ENVIRONMENT.format(environment=name) for name in names}
    return {**shared, **{plan_file(name, at): plan(name, at) for name in names for at in range(size.plans)}}


def plan_file(environment: str, number: int) -> str:
    """Where a plan is declared."""
    return f"{environment}/plans/plan-{number}.yaml"


def plan(environment: str, number: int, wave: int = 0) -> str:
    """A plan, as of one of several changes."""
    return PLAN.format(environment=environment, number=number, wave=wave)


class Hook:
    """Tells the engine of every push as GitHub does, before the push ends."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = httpx.Client(timeout=10)
        self.answer_seconds: list[float] = []
        self._count = 0

    def __call__(self, pushed: Pushed) -> None:
        """Posts once; how long the engine took for its answer is kept."""
        self._count += 1
        said = {
            "ref": pushed.reference,
            "before": pushed.before,
            "after": pushed.after,
            "repository": {"full_name": "data/migrations"},
        }
        body = json.dumps(said).encode()
        signed = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "content-type": "application/json",
            "x-github-event": "push",
            "x-github-delivery": f"00000000-0000-4000-8000-{self._count:012}",
            "x-hub-signature-256": f"sha256={signed}",
        }
        started = time.perf_counter()
        answer = self._client.post(self._url, content=body, headers=headers)
        self.answer_seconds.append(time.perf_counter() - started)
        answer.raise_for_status()

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()


class Bench:
    """A host with the repository, an engine, and a copy that git alone keeps."""

    def __init__(self, folder: Path, host: HttpsHost, engine: EngineProcess, client: Client, size: Size) -> None:
        self.folder, self.host, self.engine, self.client, self.size = folder, host, engine, client, size
        host.create(REPOSITORY)
        self.work = Work(folder / "work")
        self.work.commit(files_of(size), "Declare everything")
        self.work.push(host.folder / f"{REPOSITORY}.git")
        self._copies = 0

    def source(self, name: str) -> git_source_pb2.GitSource:
        """A source of everything, told by webhooks."""
        source = git_source_pb2.GitSource(
            name=f"gitSources/{name}", url=self.host.url(REPOSITORY), branch="main", interval_seconds=86_400,
            prune_policy=definition_pb2.PRUNE_POLICY_DELETE,
        )  # fmt: skip
        source.https.username, source.https.token = USERNAME, "env://GIT_TOKEN"
        source.https.ca_certificates = self.host.authority.pem
        source.webhook.provider = git_source_pb2.GIT_PROVIDER_GITHUB
        source.webhook.secrets.append("env://WEBHOOK_SECRET")
        return source

    def create(self, name: str) -> float:
        """How long after its creation a source has applied everything."""
        request = git_source_pb2.CreateGitSourceRequest(git_source_id=name, git_source=self.source(name))
        started = time.perf_counter()
        self.client.git_sources.CreateGitSource(request, **self.client.options)
        self.wait_for(name, self.work.head)
        return time.perf_counter() - started

    def wait_for(self, name: str, commit: str) -> None:
        """Returns as soon as a commit is applied. Fails with where the source stands."""
        ended, pause = time.perf_counter() + APPLIED_SECONDS_MAX, threading.Event()
        request = git_source_pb2.GetGitSourceRequest(name=f"gitSources/{name}")
        while True:
            status = self.client.git_sources.GetGitSource(request, **self.client.options).status
            if status.applied_commit == commit:
                return
            if time.perf_counter() > ended:
                raise RuntimeError(f"{commit} was not applied: {status}")
            pause.wait(PAUSE_SECONDS)

    def push_change(self, wave: int) -> str:
        """Changes some definitions and commits them; the commit, which is not pushed yet."""
        at = [(f"env-{number % ENVIRONMENTS}", number % self.size.plans) for number in range(CHANGED)]
        changed = {plan_file(name, number): plan(name, number, wave) for name, number in at}
        return self.work.commit(dict(changed), f"Change {len(changed)} plans")

    def fetch(self, copy: Path) -> tuple[float, float]:
        """The seconds that git takes to fetch over HTTPS, and those of CPU on its side."""
        environment = clean_environment(self.folder) | {"GIT_SSL_CAINFO": str(self.folder / "authority.pem")}
        url = self.host.url(REPOSITORY).replace("https://", f"https://{USERNAME}:{TOKEN}@", 1)
        started = time.perf_counter()
        fetching = subprocess.Popen(
            ["git", "fetch", "--quiet", url, "+refs/heads/main:refs/heads/main"], cwd=copy, env=environment
        )
        _, status, used = os.wait4(fetching.pid, 0)
        fetching.returncode = os.waitstatus_to_exitcode(status)
        if fetching.returncode:
            raise RuntimeError(f"git fetch ended with {fetching.returncode}")
        return time.perf_counter() - started, used.ru_utime + used.ru_stime

    def fresh_copy(self) -> Path:
        """An empty bare repository."""
        self._copies += 1
        copy = self.folder / f"copy-{self._copies}"
        copy.mkdir()
        run_git(copy, "init", "--quiet", "--bare")
        return copy


def cpu_seconds(pid: int) -> float:
    """What a process and the children that have ended have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(value) for value in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def store_size(home: Path) -> dict[str, tuple[int, int]]:
    """What shows whether anything was written to the store: the sizes and times of its files."""
    return {path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(home.glob("*.db*"))}


def wait_until_still(home: Path) -> None:
    """Returns when what follows changes, as messages and figures do, has not written for a while; or gives up waiting for it."""
    still, pause, ended = time.perf_counter(), threading.Event(), time.perf_counter() + APPLIED_SECONDS_MAX
    known = store_size(home)
    while time.perf_counter() - still < STILL_SECONDS and time.perf_counter() < ended:
        pause.wait(STILL_SECONDS / 10)
        if (found := store_size(home)) != known:
            known, still = found, time.perf_counter()


def measure_first(bench: Bench, report: Report) -> None:
    """The first sync, of everything; each time by an engine that has nothing yet."""
    total = ENVIRONMENTS * (bench.size.plans + 4)
    ours, gits = [bench.create("all")], [bench.fetch(bench.fresh_copy())[0]]
    for number in range(1, bench.size.firsts):
        gits.append(bench.fetch(bench.fresh_copy())[0])
        with running_engine(bench.folder / f"home-{number}", is_warm=False) as engine, engine.client() as client:
            ours.append(_first_of(bench, client))
    found = statistics.median(ours)
    report.add(
        f"first sync of {total:,} definitions in {ENVIRONMENTS} environments", found, "s",
        reference="git fetch into an empty copy", reference_value=statistics.median(gits),
        goal=f"below {FIRST_SECONDS_MAX:g} s", met=found < FIRST_SECONDS_MAX,
    )  # fmt: skip


def _first_of(bench: Bench, client: Client) -> float:
    kept, bench.client = bench.client, client
    try:
        return bench.create("all")
    finally:
        bench.client = kept


def measure_pushes(bench: Bench, report: Report, hook: Hook) -> None:
    """From the start of `git push` to the applied revision."""
    copy = bench.fresh_copy()
    bench.fetch(copy)
    bare = bench.host.folder / f"{REPOSITORY}.git"
    ours, pushes, gits = [], [], []
    for wave in range(1, bench.size.pushes + 1):
        commit = bench.push_change(wave)
        started = time.perf_counter()
        bench.work.push(bare)
        pushes.append(time.perf_counter() - started)
        bench.wait_for("all", commit)
        ours.append(time.perf_counter() - started)
        gits.append(bench.fetch(copy)[0])
    found = percentile(ours, 95)
    report.add(
        f"git push of {CHANGED} changes to the applied revision, p95 (the push alone takes {statistics.median(pushes):.3f} s)",
        found, "s", reference="git fetch of the same commit, p95", reference_value=percentile(gits, 95),
        goal=f"below {PUSH_SECONDS_MAX:g} s", met=found < PUSH_SECONDS_MAX,
    )  # fmt: skip
    report.add(
        "the same, median", statistics.median(ours), "s", reference="git fetch of the same commit, median",
        reference_value=statistics.median(gits), goal="as above", met=statistics.median(ours) < PUSH_SECONDS_MAX,
    )  # fmt: skip
    answered = percentile(hook.answer_seconds, 95) * MILLISECONDS
    report.add(
        "answer to a webhook, p95", answered, "ms", reference="git fetch of the same commit, p95",
        reference_value=percentile(gits, 95) * MILLISECONDS, goal="below 50 ms", met=answered < 50.0,
    )  # fmt: skip


def measure_unchanged(bench: Bench, report: Report) -> None:
    """The CPU of a sync that finds what it knows, the engine's and its children's, and whether it wrote anything."""
    process = bench.engine.process
    assert process is not None
    copy = bench.fresh_copy()
    bench.fetch(copy)
    request = git_source_pb2.SyncGitSourceRequest(name="gitSources/all")
    bench.client.git_sources.SyncGitSource(request, **bench.client.options)
    wait_until_still(bench.engine.home)
    before = store_size(bench.engine.home)
    ours, gits = [], []
    for _ in range(bench.size.syncs):
        started = cpu_seconds(process.pid)
        bench.client.git_sources.SyncGitSource(request, **bench.client.options)
        ours.append(cpu_seconds(process.pid) - started)
        gits.append(bench.fetch(copy)[1])
    found = statistics.fmean(ours)  # the kernel counts in hundredths of a second
    report.add(
        "CPU of an unchanged sync, git's included", found * MILLISECONDS, "ms",
        reference="CPU of an unchanged git fetch",
        reference_value=statistics.fmean(gits) * MILLISECONDS,
        goal=f"below {UNCHANGED_CPU_SECONDS_MAX * MILLISECONDS:g} ms", met=found < UNCHANGED_CPU_SECONDS_MAX,
    )  # fmt: skip
    written = {name for name, state in store_size(bench.engine.home).items() if before.get(name) != state}
    print("written to:", sorted(written) or "nothing")
    report.add(
        f"files of the store that {bench.size.syncs} unchanged syncs wrote to", len(written), "files",
        reference="files of the store", reference_value=max(1, len(before)), goal="none", met=not written,
    )  # fmt: skip


def measure_pruning(bench: Bench, report: Report) -> None:
    """From the start of a push that takes every plan away to the applied revision."""
    names = [f"env-{number}" for number in range(ENVIRONMENTS)]
    gone = [plan_file(name, at) for name in names for at in range(bench.size.plans)]
    copy = bench.fresh_copy()
    bench.fetch(copy)
    commit = bench.work.commit(dict.fromkeys(gone), f"Take {len(gone)} plans away")
    started = time.perf_counter()
    bench.work.push(bench.host.folder / f"{REPOSITORY}.git")
    bench.wait_for("all", commit)
    found = time.perf_counter() - started
    report.add(
        f"git push that takes {len(gone):,} plans away to the applied revision", found, "s",
        reference="git fetch of the same commit", reference_value=bench.fetch(copy)[0],
        goal=f"as a first sync: below {FIRST_SECONDS_MAX:g} s", met=found < FIRST_SECONDS_MAX,
    )  # fmt: skip


@contextmanager
def benched(folder: Path, size: Size) -> Iterator[tuple[Bench, Callable[[], Hook]]]:
    """Everything that is measured, and what makes the engine told of pushes from then on."""
    os.environ |= {"GIT_TOKEN": TOKEN, "WEBHOOK_SECRET": SECRET, "PYMIGRATE_REST_LISTEN": "127.0.0.1:0"}
    authority = make_authority(folder / "authority")
    (folder / "authority.pem").write_text(authority.pem)
    host = HttpsHost(folder / "host", authority)
    hooks: list[Hook] = []
    try:
        with running_engine(folder / "home", is_warm=False) as engine, engine.client() as client:

            def hooked() -> Hook:
                endpoint = (engine.home / "rest-endpoint").read_text().strip()
                hooks.append(Hook(f"http://{endpoint.removeprefix('http://')}/webhooks/all"))
                host.pushes.follow(hooks[-1])
                return hooks[-1]

            yield Bench(folder, host, engine, client, size), hooked
    finally:
        for hook in hooks:
            hook.close()
        host.close()


def main() -> None:
    """Measures everything and keeps it."""
    given = arguments(__doc__ or "")
    size = SIZES["tiny" if given.tiny else "quick" if given.quick else "whole"]
    report = Report("gitsync", ("grpcio", "PyYAML", "httpx"))
    with tempfile.TemporaryDirectory() as place, benched(Path(place), size) as (bench, hooked):
        measure_first(bench, report)
        hook = hooked()
        measure_pushes(bench, report, hook)
        measure_unchanged(bench, report)
        measure_pruning(bench, report)
    report.write(given.results)


if __name__ == "__main__":
    main()
