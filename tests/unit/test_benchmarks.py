"""Every benchmark runs, at a size at which its figures say nothing, and keeps its figures in the one form."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.kube_processes import PROGRAMS, programs
from tests.measuring import unmeasured
from tests.servers import PostgresCluster

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py"))
SERVED = {"impact", "lanes", "transfer"}  # those that start a PostgreSQL server
CLUSTERED = {"kube_operator"}  # those that start a Kubernetes API server
SECONDS_MAX = 240
FIGURE = {"figure", "value", "unit", "reference", "reference_value", "ratio", "goal", "met"}


def measured(script: str, results: Path) -> dict[str, object]:
    """What a script keeps when it is run at its smallest."""
    command = [sys.executable, f"benchmarks/{script}.py", "--tiny", "--results", str(results)]
    ended = subprocess.run(
        command, cwd=ROOT, env=unmeasured(), capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    assert ended.returncode == 0, ended.stderr
    kept = json.loads((results / f"{script}.json").read_text())
    assert isinstance(kept, dict)
    return kept


@pytest.mark.parametrize("script", [script for script in SCRIPTS if script not in SERVED | CLUSTERED])
def test_a_benchmark_runs_and_keeps_its_figures_beside_a_reference(script: str, tmp_path: Path) -> None:
    require_figures(measured(script, tmp_path))


@pytest.mark.parametrize("script", sorted(SERVED))
def test_a_benchmark_with_a_server_does_so_too(
    script: str, tmp_path: Path, postgres_clusters: Callable[[str], PostgresCluster]
) -> None:
    postgres_clusters("registry")  # where there is no server this says so
    require_figures(measured(script, tmp_path))


@pytest.mark.parametrize("script", sorted(CLUSTERED))
def test_a_benchmark_with_a_cluster_does_so_too(script: str, tmp_path: Path) -> None:
    programs(tmp_path, PROGRAMS)  # where there are none this says so
    require_figures(measured(script, tmp_path))


def require_figures(kept: dict[str, object]) -> None:
    """The form that every result has."""
    assert set(kept) - {"outcomes"} == {"command", "date", "cores", "versions", "figures"}
    figures = kept["figures"]
    assert isinstance(figures, list)
    assert figures
    for figure in figures:
        assert set(figure) == FIGURE
        assert figure["reference"]
        assert figure["reference_value"] > 0


def test_configurations_of_impact_analysis_that_are_not_measured_now_stay_as_they_were_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    impact = importlib.import_module("impact")
    first, second = impact.scenes()[:2]

    def outcome(scene: str, seconds: float) -> object:
        predicted = impact.Predicted(seconds, 2 * seconds, "measured")
        return impact.Outcome(scene, "a", predicted, predicted, (seconds, seconds), "2026-01-02")

    assert impact.merged([outcome(first.name, 1.0)], tmp_path) == [outcome(first.name, 1.0)]
    kept = [asdict(outcome(name, 2.0)) for name in (second.name, first.name, "one that is no more")]  # type: ignore[call-overload]  # loaded by name
    (tmp_path / "impact.json").write_text(json.dumps({"outcomes": kept}))
    assert impact.merged([outcome(first.name, 3.0)], tmp_path) == [outcome(first.name, 3.0), outcome(second.name, 2.0)]


def test_every_result_that_is_kept_belongs_to_a_script() -> None:
    kept = {path.stem for path in (ROOT / "benchmarks" / "results").glob("*.json")}
    assert kept == set(SCRIPTS)
