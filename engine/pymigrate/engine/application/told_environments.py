"""Whose rules are held against an entry of the stream: those of the environment that its subject lies in, and of a Git source those of the
environment that the source declares."""

from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import git_source_pb2

SOURCES = "gitSources/"


def told_environment(unit: Unit, subject: str) -> str:
    """The environment's resource name; of what lies in none, and of a source that is gone, what no environment is called."""
    if subject.startswith(SOURCES):
        source = unit.resources.get("/".join(subject.split("/")[:2]))
        if source is not None and (declared := git_source_pb2.GitSource.FromString(source.body).environment):
            return f"environments/{declared}"
    return environment_of(subject)
