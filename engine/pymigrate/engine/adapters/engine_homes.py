"""The homes of engines on this machine: no connection reaches into one, whoever declares it. Who may declare connections in one environment
would read and write everything there by the store's own file, and have the engine's token."""

from pathlib import Path

from pymigrate.engine.domain.errors import InvalidDefinition, Problem

# What each home holds while its engine serves.
MARKS = ("endpoint", "acknowledge-key")


def refuse_engine_home(path: Path, field: str) -> None:
    """Raises InvalidDefinition for what lies in an engine's home, wherever links lead."""
    real = path.resolve()
    for folder in (real, *real.parents):
        if all((folder / mark).exists() for mark in MARKS):
            raise InvalidDefinition(
                (
                    Problem(
                        field,
                        f"`{path}` lies in the home of an engine, which no connection reaches: keep data elsewhere",
                    ),
                )
            )
