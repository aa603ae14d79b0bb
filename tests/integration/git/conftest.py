"""Copies in a folder of the test's own."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from pymigrate.engine.adapters.git.repositories import GitRepositories
from pymigrate.engine.adapters.git.repository import GitRepository
from pymigrate.engine.ports.redaction import Redactor
from tests.git_hosting import HttpsHost
from tests.git_works import Work


@pytest.fixture
def redactor() -> Redactor:
    """Is told of every secret."""
    return Redactor()


@pytest.fixture
def repositories(tmp_path: Path, redactor: Redactor) -> GitRepositories:
    """As an engine has them."""
    return GitRepositories(tmp_path / "repositories", redactor)


@pytest.fixture
def repository(repositories: GitRepositories) -> GitRepository:
    """One copy, which is not there yet."""
    return repositories.of("one")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    """A working tree without a commit."""
    return Work(tmp_path / "work")


@pytest.fixture
def pushed(https_host: HttpsHost, work: Work) -> Callable[..., str]:
    """Commits files and pushes them to the repository `defs` of the host over HTTPS; the commit."""
    bare = https_host.create("defs")

    def push(files: dict[str, str | bytes | None], message: str = "Change definitions") -> str:
        sha = work.commit(files, message)
        work.push(bare)
        return sha

    return push


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the engine runs on, since each starts processes in a way of its own."""
    return {"uvloop": uvloop.new_event_loop}
