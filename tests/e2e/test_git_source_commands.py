"""The commands of Git sources, as a person types them, over a real repository behind HTTPS."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymigrate.engine.entrypoints.cli import git_source_commands
from tests.e2e.engines import running_engine
from tests.git_hosting import TOKEN, HttpsHost
from tests.git_works import Work
from tests.integration.engine.command_line import CommandLine

pytestmark = pytest.mark.measured

ENVIRONMENT = """apiVersion: pymigrate.io/v1alpha1
kind: Environment
metadata: {name: prod}
spec: {displayName: NAME}
"""
SOURCE = """apiVersion: pymigrate.io/v1alpha1
kind: GitSource
metadata: {name: prod}
spec:
  url: URL
  branch: main
  environment: prod
  intervalSeconds: 86400
  https: {username: reader, token: env://GIT_TOKEN, caCertificates: PEM}
"""


@pytest.fixture
def work(tmp_path: Path, https_host: HttpsHost) -> Work:
    """A working tree with one environment, pushed."""
    https_host.create("migrations")
    work = Work(tmp_path / "work")
    work.commit({"prod.yaml": ENVIRONMENT.replace("NAME", "Production")}, "Declare production")
    work.push(https_host.folder / "migrations.git")
    return work


@pytest.fixture
def pymigrate(
    tmp_path: Path, https_host: HttpsHost, work: Work, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CommandLine]:
    """The command line of an engine with a source that has applied what was pushed."""
    monkeypatch.setenv("GIT_TOKEN", TOKEN)
    with running_engine(tmp_path / "home") as engine:
        typed = CommandLine(engine.home, git_source_commands)
        typed.apply(
            SOURCE.replace("URL", https_host.url("migrations")).replace("PEM", json.dumps(https_host.authority.pem))
        )
        typed("git-sources", "sync", "prod")
        yield typed


def test_a_commit_is_compared_applied_and_told_in_the_history(
    pymigrate: CommandLine, work: Work, https_host: HttpsHost
) -> None:
    second = work.commit({"prod.yaml": ENVIRONMENT.replace("NAME", "Live")}, "Call it live")
    work.push(https_host.folder / "migrations.git")
    told = pymigrate("git-sources", "diff", "prod", code=1)
    assert '~ environments/prod (prod.yaml:1)\n    display_name: "Production" → "Live"' in told
    assert "applied" in pymigrate("git-sources", "sync", "prod")
    assert pymigrate("git-sources", "diff", "prod").startswith(second[:12])
    history = pymigrate("git-sources", "history", "prod").splitlines()
    assert [line.partition("(")[0].split(" ", 2)[2].strip() for line in history] == [
        "Call it live",
        "Declare production",
    ]
    shown = pymigrate("git-sources", "get", "prod")
    assert f"applied: {second[:12]}" in shown
    assert "Ready: yes" in shown
    assert pymigrate("git-sources", "get", "gitSources/prod") == shown
    assert second[:12] in pymigrate("git-sources", "list")


def test_a_broken_commit_is_refused_with_its_file_and_line_and_the_good_one_stays(
    pymigrate: CommandLine, work: Work, https_host: HttpsHost
) -> None:
    good = work.head
    work.commit({"prod.yaml": ENVIRONMENT.replace("displayName", "displayNam")}, "Break it")
    work.push(https_host.folder / "migrations.git")
    assert "prod.yaml:4" in pymigrate("git-sources", "sync", "prod", code=1)
    assert "prod.yaml:4" in pymigrate("git-sources", "diff", "prod", code=2)
    shown = pymigrate("git-sources", "get", "prod", code=1)
    assert f"applied: {good[:12]}" in shown
    assert "Valid: no" in shown


def test_a_suspended_source_applies_nothing_until_it_is_resumed(
    pymigrate: CommandLine, work: Work, https_host: HttpsHost
) -> None:
    first = work.head
    pymigrate("git-sources", "suspend", "prod", "--reason", "an incident")
    second = work.commit({"prod.yaml": ENVIRONMENT.replace("NAME", "Live")}, "Call it live")
    work.push(https_host.folder / "migrations.git")
    pymigrate("git-sources", "sync", "prod", code=1)
    assert "suspended by local: an incident" in pymigrate("git-sources", "get", "prod")
    assert json.loads(pymigrate("git-sources", "get", "prod", "--json"))["status"]["appliedCommit"] == first
    pymigrate("git-sources", "resume", "prod")
    pymigrate("git-sources", "sync", "prod")
    assert json.loads(pymigrate("git-sources", "get", "prod", "--json"))["status"]["appliedCommit"] == second


def test_a_source_that_there_is_not_is_told_with_the_nearest_one(pymigrate: CommandLine) -> None:
    assert "prod" in pymigrate("git-sources", "get", "prot", code=1)
