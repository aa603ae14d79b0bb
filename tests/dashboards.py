"""What the dashboards of examples/monitoring ask Prometheus: their panels, expressions and variables, as Grafana would send them."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MONITORING = Path(__file__).resolve().parents[1] / "examples/monitoring"
FILES = sorted((MONITORING / "grafana/dashboards").glob("*.json"))


@dataclass(frozen=True)
class Query:
    """One expression, and where it stands."""

    dashboard: str
    panel: str
    expression: str

    def filled(self, variables: Mapping[str, str]) -> str:
        """The expression with variables in their places. Raises KeyError for one that has no value."""
        return re.sub(r"\$\{?(\w+)\}?", lambda found: variables[found[1]], self.expression)

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel}"


def dashboard(file: Path) -> dict[str, Any]:
    """A dashboard as Grafana loads it."""
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def panels(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Its panels that show something."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries() -> list[Query]:
    """Every expression of every panel."""
    return [
        Query(file.stem, panel["title"], target["expr"])
        for file in FILES
        for panel in panels(dashboard(file))
        for target in panel["targets"]
    ]


def variables() -> list[tuple[Query, str]]:
    """The series that each variable's values are taken from, and their label."""
    found = []
    for file in FILES:
        for variable in dashboard(file)["templating"]["list"]:
            if variable["type"] == "query":
                asked = variable["query"]["query"].removeprefix("label_values(").removesuffix(")")
                selector, label = asked.rsplit(", ", 1)
                found.append((Query(file.stem, f"${variable['name']}", selector), label))
    return found


def families(expressions: Iterable[str]) -> set[str]:
    """The engine's own families that expressions name; a histogram once, whatever of it is named."""
    named = {name for each in expressions for name in re.findall(r"(?<![\w:])pymigrate_[a-z_]+", each)}
    return {re.sub(r"(_duration_seconds)_(bucket|count|sum)$", r"\1", name) for name in named}
