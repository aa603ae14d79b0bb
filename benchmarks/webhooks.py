"""Signed webhooks answered by a real engine while passes of the same source are under way, each of which applies a change to all of its
definitions: the time from a post to its answer.

Reference: the probe of liveness of the same server, asked in turns with the posts.
"""

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from _figures import Report, arguments, percentile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pymigrate.v1 import git_source_pb2 as pb  # the tests' words are found from the root
from tests.e2e.engines import EngineProcess, running_engine
from tests.git_hosting import HttpsHost, make_authority
from tests.git_hosts.payloads import github_push, posted
from tests.git_works import Work

SECRET = "It's a Secret to Everybody"
GOAL_MS = 50.0
PAUSE_SECONDS = 0.06  # below the rate at which posts to one source are looked at
PASS_SECONDS_MAX = 60.0
ENVIRONMENT = "apiVersion: pymigrate.io/v1alpha1\nkind: Environment\nmetadata: {name: prod}\nspec: {}\n"
NAME = "gitSources/warehouse"


def department(number: int, version: int) -> str:
    """A department as a file declares it."""
    spec = f"{{displayName: Department {number}, users: {version}}}"
    return f"apiVersion: pymigrate.io/v1alpha1\nkind: Department\nmetadata: {{name: d{number}}}\nspec: {spec}\n"


@dataclass
class Scene:
    """A repository, and an engine that applies it when it is told to."""

    engine: EngineProcess
    host: HttpsHost
    work: Work
    http: httpx.Client
    posts_ms: list[float] = field(default_factory=list)
    probes_ms: list[float] = field(default_factory=list)
    deliveries: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def declare(self) -> None:
        """Creates the source, which looks by itself once a day."""
        self.host.create("definitions")
        login = pb.GitHttpsLogin(
            username=self.host.username, token="env://GIT_TOKEN", ca_certificates=self.host.authority.pem
        )
        source = pb.GitSource(
            url=self.host.url("definitions"),
            branch="main",
            environment="prod",
            interval_seconds=86_400,
            https=login,
            webhook=pb.GitWebhook(provider=pb.GIT_PROVIDER_GITHUB, secrets=["env://HOOK_SECRET"]),
        )
        request = pb.CreateGitSourceRequest(git_source_id="warehouse", git_source=source)
        with self.engine.client() as client:
            client.git_sources.CreateGitSource(request, metadata=client.metadata)

    def applied_commit(self) -> str:
        """What the source has applied."""
        with self.engine.client() as client:
            found = client.git_sources.GetGitSource(pb.GetGitSourceRequest(name=NAME), metadata=client.metadata)
        return str(found.status.applied_commit)

    def post(self, sha: str) -> None:
        """Posts a push of which something comes, and asks for the probe."""
        delivery = str(next(self.deliveries))
        headers, body = posted(pb.GIT_PROVIDER_GITHUB, "push", github_push(after=sha), SECRET, delivery)
        began = time.perf_counter()
        answer = self.http.post("/webhooks/warehouse", content=body, headers=headers)
        self.posts_ms.append(1_000 * (time.perf_counter() - began))
        if answer.status_code != 202:
            raise RuntimeError(f"a post is answered with {answer.status_code}: {answer.text}")
        began = time.perf_counter()
        self.http.get("/livez").raise_for_status()
        self.probes_ms.append(1_000 * (time.perf_counter() - began))

    def round(self, count: int, version: int) -> float:
        """Pushes a change of all definitions, and posts until it is applied; how long that took, in seconds."""
        files = {f"departments/d{number}.yaml": department(number, version) for number in range(count)}
        sha = self.work.commit({"environment.yaml": ENVIRONMENT, **files}, f"Version {version}")
        self.work.push(self.host.folder / "definitions.git")
        began = time.perf_counter()
        while True:
            self.post(sha)
            if self.applied_commit() == sha:
                return time.perf_counter() - began
            if time.perf_counter() - began > PASS_SECONDS_MAX:
                raise RuntimeError("the commit was not applied")
            time.sleep(PAUSE_SECONDS)


def main() -> None:
    """Measures and keeps the figures."""
    asked = arguments(__doc__ or "")
    count, rounds = (20, 2) if asked.tiny else (300, 4) if asked.quick else (1_000, 6)
    report = Report("webhooks", ["starlette", "uvicorn"])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # git may still tidy up
        place = Path(folder)
        host = HttpsHost(place / "host", make_authority(place / "authority"))
        os.environ.update({"PYMIGRATE_REST_LISTEN": "127.0.0.1:0", "GIT_TOKEN": host.token, "HOOK_SECRET": SECRET})
        with running_engine(place / "home", is_warm=False) as engine:
            url = f"http://{(place / 'home' / 'rest-endpoint').read_text().strip()}"
            with httpx.Client(base_url=url, trust_env=False, timeout=PASS_SECONDS_MAX) as http:
                scene = Scene(engine, host, Work(place / "work"), http)
                scene.declare()
                lasted = [scene.round(count, version) for version in range(1, rounds + 1)]
        host.close()
    posts, probes = (percentile(each, 95) for each in (scene.posts_ms, scene.probes_ms))
    report.add(
        f"a signed post answered while {count:,} definitions are applied, p95",
        posts,
        "ms",
        reference="the probe of liveness, in turns, p95",
        reference_value=probes,
        goal=f"below {GOAL_MS:g} ms",
        met=posts < GOAL_MS,
    )
    print(
        f"{len(scene.posts_ms)} posts, p50 {percentile(scene.posts_ms, 50):.1f} ms, at most {max(scene.posts_ms):.1f} ms"
    )
    print(f"applied within {max(lasted):.2f} s of the first post")
    report.write(asked.results)


if __name__ == "__main__":
    main()
