"""The repositories that definitions come from."""

from pathlib import Path

from pymigrate.engine.adapters.git.repositories import GitRepositories
from pymigrate.engine.ports.redaction import Redactor


def build_repositories(home: Path, redactor: Redactor) -> GitRepositories:
    """Keeps copies under `home/repositories`; the redactor is told of every token and key. Git itself is looked for when a source is first
    fetched, since an engine without sources needs none."""
    return GitRepositories(home / "repositories", redactor)
