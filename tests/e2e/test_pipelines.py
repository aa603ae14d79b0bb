"""The snippets of examples/gitops/ci: valid to the formats' public schemas, and their shell lines run against a real engine."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.engines import EngineProcess

CI = Path(__file__).resolve().parents[2] / "examples" / "gitops" / "ci"
GITHUB, GITLAB = CI / ".github" / "workflows" / "definitions.yml", CI / ".gitlab-ci.yml"
INSTALL = "pip install pymigrate"


def _github() -> dict[str, str]:
    jobs: dict[str, Any] = yaml.load(GITHUB.read_text(), yaml.BaseLoader)["jobs"]
    return {name: "\n".join(step["run"] for step in job["steps"] if "run" in step) for name, job in jobs.items()}


def _gitlab() -> dict[str, str]:
    jobs: dict[str, Any] = yaml.load(GITLAB.read_text(), yaml.BaseLoader)
    return {
        name: "\n".join([*job.get("before_script", ()), *job["script"]])
        for name, job in jobs.items()
        if name != "stages"
    }


def _jenkins() -> dict[str, str]:
    text = (CI / "Jenkinsfile").read_text()
    stages = re.findall(r"stage\('(\w+)'\).*?\bsh ('''(.*?)'''|'(.*?)')", text, re.DOTALL)
    return {name.lower(): block or line for name, _, block, line in stages}


PIPELINES = {"github": _github, "gitlab": _gitlab, "jenkins": _jenkins}


class Pipeline:
    """The steps of a pipeline in a checkout of its own."""

    def __init__(self, steps: dict[str, str], engine: EngineProcess, checkout: Path) -> None:
        self.steps = steps
        self.checkout = checkout
        shutil.copytree(CI / "definitions", checkout / "definitions")
        self._environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYMIGRATE_HOME": str(engine.home),
            "GITHUB_STEP_SUMMARY": str(checkout / "summary.md"),
        }

    def run(self, step: str, code: int = 0) -> str:
        """Runs the lines of a step as the pipeline does, but for the installation; everything that it printed."""
        lines = [line for line in self.steps[step].splitlines() if line.strip() != INSTALL]
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", "\n".join(lines)],
            cwd=self.checkout,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def edit(self, before: str, after: str) -> None:
        """Changes a definition."""
        file = self.checkout / "definitions" / "sales.yaml"
        assert before in file.read_text()
        file.write_text(file.read_text().replace(before, after))

    def said(self) -> str:
        """What the comparison left for people."""
        left = [self.checkout / name for name in ("summary.md", "diff.txt")]
        return "".join(path.read_text() for path in left if path.exists())


@pytest.mark.parametrize("system", PIPELINES)
def test_a_pipeline_checks_compares_and_applies(system: str, engine: EngineProcess, tmp_path: Path) -> None:
    pipeline = Pipeline(PIPELINES[system](), engine, tmp_path / "checkout")
    assert set(pipeline.steps) == {"validate", "diff", "apply"}
    assert "5 definitions in 2 files: valid" in pipeline.run("validate")
    pipeline.run("diff")
    assert "environments/ci/plans/warehouse" in pipeline.said()
    assert "environments/ci/plans/warehouse created" in pipeline.run("apply")
    pipeline.edit("owner: Head of Sales", "owner: Somebody else")
    pipeline.run("diff")
    assert '"Head of Sales" → "Somebody else"' in pipeline.said()
    pipeline.edit("department: sales", "department: slaes")
    assert "did you mean `sales`?" in pipeline.run("validate", code=1)
    pipeline.run("diff", code=1)
    assert "did you mean `sales`?" in pipeline.run("apply", code=1)
    reports = [path.name for path in pipeline.checkout.iterdir() if path.suffix in {".xml", ".sarif"}]
    assert len(reports) == 1


@pytest.mark.parametrize(
    ("schema", "arguments", "file"),
    [
        ("vendor.github-workflows", (), GITHUB),
        ("vendor.gitlab-ci", ("--data-transform", "gitlab-ci"), GITLAB),
    ],
)
def test_a_snippet_is_valid_to_the_public_schema_of_its_format(
    schema: str, arguments: tuple[str, ...], file: Path
) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *arguments, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
