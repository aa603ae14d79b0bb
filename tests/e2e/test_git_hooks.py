"""The whole way of a push: a real repository tells a real engine by its host's signed webhook, which applies the commit and tells the
host's API of it; and of a pull request, which is answered with what it would change and cost."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from pymigrate.v1 import git_source_pb2 as pb
from tests.e2e.engines import EngineProcess, running_engine
from tests.git_hosting import HttpsHost, Pushed
from tests.git_hosts import payloads
from tests.git_hosts.bitbucket import BitbucketServer
from tests.git_hosts.github import GitHubServer
from tests.git_hosts.gitlab import GitLabServer
from tests.git_works import Work

pytestmark = pytest.mark.measured

SECRET, API_TOKEN = "It's a Secret to Everybody", "a-token-of-the-test"
WAIT_SECONDS = 60
ENVIRONMENT = """apiVersion: pymigrate.io/v1alpha1
kind: Environment
metadata: {name: prod}
spec: {}
---
apiVersion: pymigrate.io/v1alpha1
kind: Department
metadata: {name: sales}
spec: {}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {name: legacy}
spec: {sqlite: {path: /data/legacy.db}}
---
apiVersion: pymigrate.io/v1alpha1
kind: Connection
metadata: {name: warehouse}
spec: {duckdb: {path: /data/warehouse.duckdb}}
"""


def plan(department: str = "sales", lanes: int = 1) -> str:
    """The plan as a file declares it."""
    return f"""apiVersion: pymigrate.io/v1alpha1
kind: Plan
metadata: {{name: orders}}
spec:
  lanesMax: {lanes}
  phases:
    first:
      department: {department}
      datasets:
        orders:
          source: {{connection: legacy, relation: orders}}
          target: {{connection: warehouse, relation: orders}}
"""


@dataclass
class Host:
    """A host's webhook and its API."""

    provider: Any
    repository: str
    server: Any
    head: str
    push: Callable[[Pushed], tuple[str, object]]
    pull_request: tuple[str, object]
    statuses: Callable[[str], list[tuple[str, str]]]
    comments: Callable[[], list[str]]
    words: Mapping[str, str] = field(default_factory=dict)


def github() -> Host:
    server = GitHubServer()
    return Host(
        pb.GIT_PROVIDER_GITHUB,
        "acme/definitions",
        server,
        "refs/pull/7/head",
        lambda pushed: ("push", payloads.github_push(pushed.reference, pushed.after)),
        ("pull_request", payloads.github_pull_request()),
        lambda sha: [(each["state"], each["description"]) for each in server.statuses.get(sha, [])],
        lambda: [each["body"] for each in server.comments.get(7, [])],
        {"success": "success", "failure": "failure"},
    )


def gitlab() -> Host:
    server = GitLabServer()
    return Host(
        pb.GIT_PROVIDER_GITLAB,
        "acme/data/definitions",
        server,
        "refs/merge-requests/7/head",
        lambda pushed: ("Push Hook", payloads.gitlab_push(pushed.reference, pushed.after)),
        ("Merge Request Hook", payloads.gitlab_merge_request()),
        lambda sha: [(each["status"], each["description"]) for each in server.statuses.get(sha, [])],
        lambda: [each["body"] for each in server.notes.get(7, [])],
        {"success": "success", "failure": "failed"},
    )


def bitbucket() -> Host:
    server = BitbucketServer()

    def pushed(found: Pushed) -> tuple[str, object]:
        change = payloads.bitbucket_change(found.reference.removeprefix("refs/heads/"))
        change["new"]["target"]["hash"] = found.after
        return "repo:push", payloads.bitbucket_push(change)

    return Host(
        pb.GIT_PROVIDER_BITBUCKET,
        "acme/definitions",
        server,
        "refs/heads/add-orders",
        pushed,
        ("pullrequest:created", payloads.bitbucket_pull_request()),
        lambda sha: [(each["state"], each["description"]) for each in server.statuses.get(sha, {}).values()],
        lambda: [each["content"]["raw"] for each in server.comments.get(7, [])],
        {"success": "SUCCESSFUL", "failure": "FAILED"},
    )


@pytest.fixture(params=[github, gitlab, bitbucket], ids=lambda made: made.__name__)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    made: Host = request.param()
    yield made
    made.server.close()


class Scene:
    """A repository that posts to an engine, whose source looks by itself once a day."""

    def __init__(self, engine: EngineProcess, https: HttpsHost, host: Host, folder: Path) -> None:
        self.engine, self.https, self.host = engine, https, host
        self.work = Work(folder)
        self.bare = https.create("definitions")
        self.answers: list[int] = []
        self.url = f"http://{(engine.home / 'rest-endpoint').read_text().strip()}/webhooks/warehouse"

    def declare(self) -> None:
        """Creates the source, which applies what is there."""
        source = pb.GitSource(
            url=self.https.url("definitions"),
            branch="main",
            environment="prod",
            interval_seconds=86_400,
            https=pb.GitHttpsLogin(
                username=self.https.username, token="env://GIT_TOKEN", ca_certificates=self.https.authority.pem
            ),
            webhook=pb.GitWebhook(provider=self.host.provider, secrets=["env://HOOK_SECRET", "env://HOOK_BEFORE"]),
            host=pb.GitHost(
                provider=self.host.provider,
                api_url=self.host.server.url,
                repository=self.host.repository,
                token="env://API_TOKEN",
                reports_commits=True,
                reports_pull_requests=True,
            ),
        )
        request = pb.CreateGitSourceRequest(git_source_id="warehouse", git_source=source)
        with self.engine.client() as client:
            client.git_sources.CreateGitSource(request, metadata=client.metadata, timeout=WAIT_SECONDS)

    def source(self) -> pb.GitSource:
        """The source as it stands."""
        with self.engine.client() as client:
            request = pb.GetGitSourceRequest(name="gitSources/warehouse")
            found: pb.GitSource = client.git_sources.GetGitSource(
                request, metadata=client.metadata, timeout=WAIT_SECONDS
            )
        return found

    def commit(self, files: Mapping[str, str | None], message: str) -> str:
        """A commit that the host will know."""
        sha = self.work.commit(files, message)
        self.host.server.commits.add(sha)
        return sha

    def tell(self, pushed: Pushed) -> None:
        """What the host posts when something was pushed."""
        self.post(*self.host.push(pushed), delivery=pushed.after)

    def post(self, kind: str, payload: object, secret: str = SECRET, delivery: str = payloads.DELIVERY) -> int:
        """Posts; the status."""
        headers, body = payloads.posted(self.host.provider, kind, payload, secret, delivery)
        with httpx.Client(trust_env=False, timeout=WAIT_SECONDS) as client:
            self.answers.append(client.post(self.url, content=body, headers=headers).status_code)
        return self.answers[-1]

    def told_of(self, sha: str) -> tuple[str, str]:
        """State and description of a commit at the host, as soon as it has one."""
        self.host.server.wait_for(lambda: bool(self.host.statuses(sha)), WAIT_SECONDS)
        return self.host.statuses(sha)[-1]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, https_host: HttpsHost, host: Host) -> Iterator[Scene]:
    settings = {
        "PYMIGRATE_REST_LISTEN": "127.0.0.1:0",
        "PYMIGRATE_OUTGOING_ALLOWED": "127.0.0.0/8",
        "GIT_TOKEN": https_host.token,
        "HOOK_SECRET": SECRET,
        "HOOK_BEFORE": "the secret of before",
        "API_TOKEN": API_TOKEN,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with running_engine(tmp_path / "home") as engine:
        yield Scene(engine, https_host, host, tmp_path / "work")


def test_a_push_is_applied_and_its_commit_told(scene: Scene) -> None:
    first = scene.commit({"env.yaml": ENVIRONMENT, "plans/orders.yaml": plan()}, "Begin")
    scene.work.push(scene.bare)
    scene.declare()
    success, failure = scene.host.words["success"], scene.host.words["failure"]
    assert scene.told_of(first) == (success, "5 changed, 0 problems")

    scene.https.pushes.follow(scene.tell)
    second = scene.commit({"plans/orders.yaml": plan(lanes=2)}, "Use two lanes")
    scene.work.push(scene.bare)
    assert scene.told_of(second) == (success, "1 changed, 0 problems")
    assert scene.source().status.applied_commit == second

    broken = scene.commit({"plans/orders.yaml": plan("nobody")}, "Break it")
    scene.work.push(scene.bare)
    state, description = scene.told_of(broken)
    assert (state, description.partition(":")[0]) == (failure, "plans/orders.yaml")
    assert scene.source().status.applied_commit == second
    assert scene.answers == [202, 202]
    assert scene.host.server.violations == []


def test_a_pull_request_is_told_what_it_would_change_and_cost(scene: Scene) -> None:
    first = scene.commit({"env.yaml": ENVIRONMENT, "plans/orders.yaml": plan()}, "Begin")
    scene.work.push(scene.bare)
    scene.declare()
    scene.told_of(first)
    scene.work.switch("add-orders", first)
    head = scene.commit({"plans/orders.yaml": plan(lanes=3)}, "Use three lanes")
    scene.work.push(scene.bare, f"HEAD:{scene.host.head}")
    assert scene.post(*scene.host.pull_request) == 202
    assert scene.told_of(head) == (scene.host.words["success"], "1 would change, 0 problems")
    (comment,) = scene.host.comments()
    assert "pymigrate:warehouse" in comment
    assert "| update | `environments/prod/plans/orders` | `lanes_max`: `1` → `3` |" in comment
    assert "**`environments/prod/plans/orders`**" in comment
    assert "| duration |" in comment

    broken = scene.commit({"plans/orders.yaml": plan("nobody")}, "Break it")
    scene.work.push(scene.bare, f"HEAD:{scene.host.head}")
    assert scene.post(*scene.host.pull_request, delivery="another") == 202
    assert scene.told_of(broken)[0] == scene.host.words["failure"]
    scene.host.server.wait_for(lambda: "this would not be applied" in scene.host.comments()[-1], WAIT_SECONDS)
    assert len(scene.host.comments()) == 1
    assert scene.source().status.applied_commit == first
    assert scene.host.server.violations == []


def test_whoever_is_not_the_host_is_refused_and_a_replay_ignored(scene: Scene) -> None:
    first = scene.commit({"env.yaml": ENVIRONMENT}, "Begin")
    scene.work.push(scene.bare)
    scene.declare()
    scene.told_of(first)
    second = scene.commit({"plans/orders.yaml": plan()}, "Add a plan")
    scene.work.push(scene.bare)
    pushed = scene.host.push(Pushed("definitions", first, second, "refs/heads/main"))
    assert scene.post(*pushed, secret="somebody else's") == 401
    other = scene.host.push(Pushed("definitions", first, second, "refs/heads/next"))
    assert scene.post(*other, delivery="other") == 200
    assert scene.source().status.applied_commit == first
    assert scene.post(*pushed, secret="the secret of before") == 202
    assert scene.told_of(second)[0] == scene.host.words["success"]
    assert scene.post(*pushed) == 200


def test_a_host_that_is_away_holds_up_no_commit(scene: Scene) -> None:
    first = scene.commit({"env.yaml": ENVIRONMENT}, "Begin")
    scene.work.push(scene.bare)
    go_on = threading.Event()
    scene.host.server.faults.append(scene.host.server.unauthorized().__class__(503, hangs_until=go_on))
    scene.declare()
    scene.host.server.wait_for(lambda: bool(scene.host.server.calls), WAIT_SECONDS)
    assert scene.source().status.applied_commit == first
    go_on.set()
    assert scene.told_of(first)[0] == scene.host.words["success"]


def test_git_beside_calls_leaves_grpc_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, https_host: HttpsHost
) -> None:
    """As an engine of no test's runs, which nothing tells to."""
    monkeypatch.delenv("GRPC_ENABLE_FORK_SUPPORT")
    monkeypatch.setenv("PYMIGRATE_REST_LISTEN", "127.0.0.1:0")
    for name in ("GIT_TOKEN", "API_TOKEN", "HOOK_SECRET", "HOOK_BEFORE"):
        monkeypatch.setenv(name, https_host.token)
    host = github()
    with running_engine(tmp_path / "home", is_warm=False) as engine:
        scene = Scene(engine, https_host, host, tmp_path / "work")
        for number in range(3):
            sha = scene.commit({"env.yaml": ENVIRONMENT, "plans/orders.yaml": plan(lanes=number + 1)}, "Change")
            scene.work.push(scene.bare)
            if number == 0:
                scene.declare()
            with engine.client() as client:
                request = pb.SyncGitSourceRequest(name="gitSources/warehouse")
                done = client.git_sources.SyncGitSource(request, metadata=client.metadata, timeout=WAIT_SECONDS)
            assert done.commit == sha
        assert "fork" not in (engine.home / "engine.log").read_text()
    host.server.close()
