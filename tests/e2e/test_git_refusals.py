"""Whatever somebody pushes, and whatever becomes of the host: what was good goes on being served by a real engine, a condition says what
is the matter and where, and no secret shows.

One engine and one host for all; each case has a branch, a source and an environment of its own."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.v1 import definition_pb2, environment_pb2, git_source_pb2
from tests.e2e.engines import EngineProcess, running_engine
from tests.e2e.gitted import documents
from tests.git_hosting import TOKEN, USERNAME, Authority, HttpsHost
from tests.git_works import Work

REPOSITORY = "definitions"
BIG_BYTES = 100_000_000
SECRETS = ("ghp_1234567890abcdefghijklmnopqrstuvwxyz", "correct-horse-battery", "4f7Kq9ZbX2mN8vR3tY6w")
DEPARTMENTS = documents(("Department", "crm", {}), ("Department", "sales", {"dependencies": ["crm"]}))
PART = 'apiVersion: pymigrate.io/v1alpha1\nkind: Department\nmetadata: {name: hr}\nspec:\n  displayName: "People"\n'


@dataclass(frozen=True)
class Case:
    """One source with a branch of its own, of which the first commit is applied."""

    name: str
    client: Client
    engine: EngineProcess
    bare: Path
    work: Work
    good: str

    def push(self, files: dict[str, str | bytes | None], message: str = "Change definitions") -> str:
        """Commits and pushes."""
        sha = self.work.commit(files, message)
        self.give()
        return sha

    def give(self, *, is_forced: bool = False) -> None:
        """Pushes what was committed."""
        self.work.push(self.bare, f"HEAD:refs/heads/{self.name}", is_forced=is_forced)

    def sync(self) -> str:
        """Asks for a pass; the error that the caller is told, empty without one."""
        try:
            self.client.git_sources.SyncGitSource(
                git_source_pb2.SyncGitSourceRequest(name=f"gitSources/{self.name}"), **self.client.options
            )
        except grpc.RpcError as error:
            return str(error)
        return ""

    @property
    def status(self) -> git_source_pb2.GitSourceStatus:
        """Where it stands."""
        request = git_source_pb2.GetGitSourceRequest(name=f"gitSources/{self.name}")
        found: git_source_pb2.GitSource = self.client.git_sources.GetGitSource(request, **self.client.options)
        return found.status

    def condition(self, type_: str) -> git_source_pb2.GitCondition:
        """One of its conditions."""
        return next(each for each in self.status.conditions if each.type == type_)

    def served(self) -> list[environment_pb2.Department]:
        """What is stored, with versions and times."""
        request = environment_pb2.ListDepartmentsRequest(parent=f"environments/{self.name}")
        return list(self.client.environments.ListDepartments(request, **self.client.options).departments)

    def told(self) -> str:
        """Everything that anybody is told of it: by calls, in the log, in metrics, in the audit trail."""
        request = git_source_pb2.ListGitRevisionsRequest(parent=f"gitSources/{self.name}")
        revisions = self.client.git_sources.ListGitRevisions(request, **self.client.options)
        return f"{self.status} {revisions} {told_by(self.engine)}"


def told_by(engine: EngineProcess) -> str:
    """What an engine says to those who run it."""
    headers = {"authorization": f"Bearer {(engine.home / 'token').read_text().strip()}"}
    base = f"http://{(engine.home / 'metrics-endpoint').read_text().strip()}"
    metrics = httpx.get(f"{base}/metrics", headers=headers, timeout=60, trust_env=False)
    assert "pymigrate_git_passes_total" in metrics.text
    audit = b"".join(file.read_bytes() for file in engine.home.glob("engine.db*"))  # with everything else that is kept
    assert b"apply " in audit
    return f"{(engine.home / 'engine.log').read_text()} {metrics.text} {audit.decode('latin-1')}"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, git_authority: Authority) -> Iterator[HttpsHost]:
    """A host with one repository."""
    host = HttpsHost(tmp_path_factory.mktemp("refusals") / "host", git_authority)
    host.create(REPOSITORY)
    yield host
    host.close()


@pytest.fixture(scope="module")
def served_by(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    """The engine, with metrics on an address of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYMIGRATE_METRICS_LISTEN", "127.0.0.1:0")
        with running_engine(tmp_path_factory.mktemp("refusals") / "home") as process:
            yield process


@pytest.fixture
def case(request: pytest.FixtureRequest, host: HttpsHost, served_by: EngineProcess, tmp_path: Path) -> Iterator[Case]:
    """The case of a test, by the test's name."""
    words = re.sub("[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    name = f"case-{words[:50].strip('-')}"
    work, bare = Work(tmp_path / "work"), host.folder / f"{REPOSITORY}.git"
    good = work.commit({"defs/env.yaml": documents(("Environment", name, {})), "defs/good.yaml": DEPARTMENTS}, "Begin")
    with served_by.client() as client:
        made = Case(name, client, served_by, bare, work, good)
        made.give()
        (tmp_path / "token").write_text(host.token)
        source = git_source_pb2.GitSource(
            url=host.url(REPOSITORY), branch=name, path="defs", environment=name, interval_seconds=86_400
        )
        source.prune_policy = definition_pb2.PRUNE_POLICY_DELETE
        source.https.username, source.https.token = USERNAME, f"file://{tmp_path / 'token'}"
        source.https.ca_certificates = host.authority.pem
        client.git_sources.CreateGitSource(
            git_source_pb2.CreateGitSourceRequest(git_source_id=name, git_source=source), **client.options
        )
        assert not made.sync()
        assert (made.status.applied_commit, made.condition("Ready").is_met) == (good, True)
        yield made


def assert_held_back(case: Case, sha: str, reason: str, said: str, served: list[environment_pb2.Department]) -> None:
    """A commit is refused by this reason and message, the good one goes on being served, and the next good one is applied."""
    status, valid = case.status, case.condition("Valid")
    assert (valid.is_met, valid.reason) == (False, reason)
    assert said in valid.message
    assert case.condition("Ready").reason == reason
    assert (case.condition("Applied").is_met, case.condition("Applied").reason) == (False, "HELD_BACK")
    assert (status.applied_commit, status.seen_commit) == (case.good, sha)
    assert case.served() == served
    told = case.told()
    assert not [each for each in (*SECRETS, TOKEN) if each in told]


CONFLICT = f"{PART}<<<<<<< HEAD\n  owner: Ann\n=======\n  owner: Bob\n>>>>>>> other\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{this}: &{this} [{', '.join([f'*{before}'] * 8)}]\n"
    for before, this in zip("abcdefghij", "bcdefghijk", strict=True)
)
BROKEN: dict[str, tuple[str | bytes, int, str]] = {
    "no YAML": (f"{PART}  owner: [\n", 7, "defs/bad.yaml:7"),
    "no field": (f"{PART}  ownr: Ann\n", 6, "did you mean `owner`"),
    "no department": (f"{PART}  dependencies: [nobody]\n", 6, "nobody"),
    "a conflict": (CONFLICT, 6, "a merge"),
    "a bomb": (BOMB, 1, "anchors are not allowed"),
    "nesting": ("[" * 200_000, 1, "deep"),
    "a token": (PART.replace("People", SECRETS[0]), 5, "secret"),
    "a password in an address": (
        PART.replace("Department", "Connection").replace(
            'displayName: "People"', f'postgres: {{host: "me:{SECRETS[1]}@db", database: erp, user: me}}'
        ),
        5,
        "without a login",
    ),
    "a password that is none": (
        PART.replace("Department", "Connection").replace(
            'displayName: "People"',
            f'postgres: {{host: db, database: erp, user: me, password: "{SECRETS[2]}"}}',
        ),
        5,
        "reference",
    ),
}


@pytest.mark.parametrize(("content", "line", "said"), BROKEN.values(), ids=BROKEN)
def test_a_broken_commit(case: Case, content: str | bytes, line: int, said: str) -> None:
    served = case.served()
    sha = case.push({"defs/bad.yaml": content, "defs/more.yaml": documents(("Department", "it", {}))})
    case.sync()
    assert_held_back(case, sha, "DEFINITIONS_INVALID", said, served)
    assert (case.status.problems[0].file, case.status.problems[0].line) == ("defs/bad.yaml", line)
    mended = case.push({"defs/bad.yaml": PART})
    assert not case.sync()
    assert (case.status.applied_commit, case.condition("Ready").is_met) == (mended, True)
    assert [each.name.rpartition("/")[2] for each in case.served()] == ["crm", "hr", "it", "sales"]


def big(case: Case) -> str:
    place = case.work.folder / "defs" / "big.yaml"
    with place.open("wb") as file:
        file.truncate(BIG_BYTES)
    return case.push({})


def link(target: str) -> Callable[[Case], str]:
    def push(case: Case) -> str:
        (case.work.folder / "defs" / "link.yaml").symlink_to(target)
        return case.push({})

    return push


def out_of_the_tree(case: Case) -> str:
    """A folder that no command of git's writes, and that hosts which check nothing take."""
    blob = case.work.git("hash-object", "-w", "--stdin", told=PART.encode())
    inner = case.work.git("mktree", told=f"100644 blob {blob}\tx.yaml\n".encode())
    raw = b"40000 ..\0" + bytes.fromhex(inner)
    tree = case.work.git("hash-object", "-w", "-t", "tree", "--literally", "--stdin", told=raw)
    root = case.work.git("mktree", told=f"040000 tree {tree}\tdefs\n".encode())
    sha = case.work.git("commit-tree", root, "-p", case.good, "-m", "Out")
    case.work.push(case.bare, f"{sha}:refs/heads/{case.name}")
    return sha


def submodule(case: Case) -> str:
    case.work.git("update-index", "--add", "--cacheinfo", f"160000,{case.good},defs/vendor")
    sha = case.work.commit_staged("Add a submodule")
    case.give()
    return sha


def emptied(case: Case) -> str:
    return case.push({"defs/env.yaml": None, "defs/good.yaml": None, "defs/README.md": "later"})


def gone(case: Case) -> str:
    return case.push({"defs/env.yaml": None, "defs/good.yaml": None, "README.md": "elsewhere"})


def a_file(case: Case) -> str:
    case.work.git("rm", "-r", "--quiet", "defs")
    return case.push({"defs": PART})


REFUSED: dict[str, tuple[Callable[[Case], str], str, str]] = {
    "a file of 100 MB": (big, "FILE_TOO_LARGE", "defs/big.yaml has 100,000,000 bytes"),
    "a link to a file of the machine": (link("/etc/passwd"), "LINK_REFUSED", "defs/link.yaml is a link"),
    "a link out of the tree": (link("../../../../token"), "LINK_REFUSED", "defs/link.yaml is a link"),
    "a folder out of the tree": (out_of_the_tree, "NAME_REFUSED", "defs/../x.yaml"),
    "a submodule": (submodule, "SUBMODULE_REFUSED", "defs/vendor is a submodule"),
    "an empty folder": (emptied, "DEFINITIONS_INVALID", "the files declare nothing"),
    "no folder": (gone, "FOLDER_MISSING", "`defs`"),
    "a file in the folder's place": (a_file, "FOLDER_MISSING", "`defs`"),
}


@pytest.mark.parametrize(("push", "reason", "said"), REFUSED.values(), ids=REFUSED)
def test_a_tree_that_is_none(case: Case, push: Callable[[Case], str], reason: str, said: str) -> None:
    served = case.served()
    sha = push(case)
    case.sync()
    assert_held_back(case, sha, reason, said, served)


def test_a_repository_that_is_away_is_told_since_when_and_found_again(case: Case, host: HttpsHost) -> None:
    served = case.served()
    host.take_down()
    try:
        assert "UNAVAILABLE" in case.sync()
        first = case.condition("Available")
        assert (first.is_met, first.reason) == (False, "REPOSITORY_UNAVAILABLE")
        assert f"127.0.0.1:{host.port}" in first.message
        case.sync()
        assert case.condition("Available").transition_time == first.transition_time
        assert (case.status.applied_commit, case.served()) == (case.good, served)
        assert case.condition("Applied").is_met
        assert TOKEN not in case.told()
    finally:
        host.bring_up()
    assert not case.sync()
    assert case.condition("Available").is_met
    assert case.condition("Available").transition_time.ToNanoseconds() > first.transition_time.ToNanoseconds()
    assert case.served() == served


def test_a_token_that_is_refused(case: Case, host: HttpsHost) -> None:
    served, host.token = case.served(), "another-token-that-nobody-has"
    try:
        assert case.sync()
        available = case.condition("Available")
        assert (available.is_met, available.reason) == (False, "CREDENTIALS_REFUSED")
        assert (case.status.applied_commit, case.served()) == (case.good, served)
        assert TOKEN not in case.told()
        assert host.token not in case.told()
    finally:
        host.token = TOKEN


def test_a_force_push_is_applied_and_told(case: Case) -> None:
    case.work.git("checkout", "--quiet", "--orphan", "other")
    sha = case.work.commit({"defs/good.yaml": documents(("Department", "hr", {}))}, "From the beginning")
    case.give(is_forced=True)
    assert not case.sync()
    applied = case.condition("Applied")
    assert (applied.is_met, applied.reason) == (True, "HISTORY_REWRITTEN")
    assert case.good in applied.message
    assert f"rewrite {case.good}" in case.told()
    assert case.status.applied_commit == sha
    assert [each.name.rpartition("/")[2] for each in case.served()] == ["hr"]


def test_a_branch_that_is_deleted(case: Case) -> None:
    served = case.served()
    case.work.push(case.bare, f":refs/heads/{case.name}")
    assert f"no branch `{case.name}`" in case.sync()
    available = case.condition("Available")
    assert (available.is_met, available.reason) == (False, "REFERENCE_MISSING")
    assert f"`{case.name}`" in available.message
    assert (case.status.applied_commit, case.served()) == (case.good, served)
    case.give()
    assert not case.sync()
    assert case.condition("Ready").is_met


def test_hooks_in_the_repository_run_nowhere(case: Case, tmp_path: Path) -> None:
    hook = f"#!/bin/sh\ntouch {tmp_path}/ran\n"
    names = ("post-checkout", "post-merge", "reference-transaction", "pre-auto-gc", "fsmonitor-watchman")
    files: dict[str, str | bytes | None] = {
        f"{folder}/{name}": hook for folder in (".githooks", "defs/hooks") for name in names
    }
    attributes = {".gitattributes": "* filter=x diff=x merge=x\n", "defs/.gitattributes": "* filter=x\n"}
    configured = {
        ".gitconfig": f'[filter "x"]\n smudge = touch {tmp_path}/ran\n[core]\n fsmonitor = touch {tmp_path}/ran\n'
    }
    sha = case.push({**files, **attributes, **configured, "defs/more.yaml": PART})
    assert not case.sync()
    assert (case.status.applied_commit, len(case.served())) == (sha, 3)
    assert not (tmp_path / "ran").exists()


def test_a_branch_like_an_option_is_declared_by_nobody_and_asked_for_by_nobody(case: Case, tmp_path: Path) -> None:
    served = case.served()
    for name in (f"--upload-pack=touch {tmp_path}/ran", "-x", f"--exec=touch${{IFS}}{tmp_path}/ran"):
        source = git_source_pb2.GitSource(url="https://127.0.0.1/x.git", branch=name)
        create = git_source_pb2.CreateGitSourceRequest(git_source_id="odd", git_source=source)
        with pytest.raises(grpc.RpcError, match="branch") as raised:
            case.client.git_sources.CreateGitSource(create, **case.client.options)
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        diff = git_source_pb2.DiffGitSourceRequest(name=f"gitSources/{case.name}", reference=name)
        with pytest.raises(grpc.RpcError, match="reference") as raised:
            case.client.git_sources.DiffGitSource(diff, **case.client.options)
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    case.work.git("update-ref", "refs/heads/-x", "HEAD")
    case.work.push(case.bare, "refs/heads/-x:refs/heads/-x")
    assert not case.sync(), "that others have one harms nobody"
    assert case.served() == served
    assert not (tmp_path / "ran").exists()
