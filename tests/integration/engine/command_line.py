"""`pymigrate` as tests run it: in this process, against a served engine."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pymigrate.engine.entrypoints.cli import commands, definition_commands


class CommandLine:
    """The commands of every engine, and those of other modules that add some."""

    def __init__(self, home: Path, *modules: ModuleType) -> None:
        self.home = home
        self.app = typer.Typer()
        for module in (commands, definition_commands, *modules):
            module.add_to(self.app)

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Runs a command that ends with that exit code; everything that it printed."""
        result = CliRunner().invoke(self.app, [*arguments, "--home", str(self.home)], env={"COLUMNS": "400"})
        assert result.exit_code == code, result.output
        return result.output

    def json(self, *arguments: str) -> Any:
        """What a command prints as JSON, of which nothing is outside JSON."""
        return json.loads(self(*arguments, "--json"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    def apply(self, text: str, code: int = 0) -> list[str]:
        """Applies definitions; the lines that were printed."""
        file = self.home / "plan.yaml"
        file.write_text(text)
        return self("apply", "-f", str(file), code=code).splitlines()
