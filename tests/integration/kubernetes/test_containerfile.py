"""The Containerfile of `examples/kubernetes`: the rules that it keeps, and what its steps leave behind. No container engine is needed; no
image is built."""

import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.integration.kubernetes.container_rules import broken_rules
from tests.integration.kubernetes.container_steps import ContainerSteps

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "examples/kubernetes/Containerfile"


def test_it_keeps_every_rule(tmp_path: Path) -> None:
    assert broken_rules(ContainerSteps(FILE, ROOT, tmp_path).steps) == []


@pytest.mark.parametrize(
    ("written", "instead", "rule"),
    [
        ("USER 10001:10001", "USER root", "by number who is not root"),
        ("FROM ${PYTHON_IMAGE}\n", "FROM python\n", "is an argument"),
        ("python:3.13-slim-bookworm", "python:latest", "has a tag"),
        ("--no-install-recommends ", "", "--no-install-recommends"),
        ("    && rm -rf /var/lib/apt/lists/*", "    && true", "rm -rf /var/lib/apt/lists"),
        ("--require-hashes -r requirements.lock", "-r requirements.lock", "locked by its hash"),
        ('ENTRYPOINT ["pymigrate"]', "ENTRYPOINT pymigrate", "exec form"),
        ("COPY --from=build", "COPY --from=builder", "by a name that there is"),
        ("COPY engine engine", "COPY . .", "what is copied is named"),
        ("ARG REVISION=unknown", "ARG DEPLOY_TOKEN=abc", "no secret"),
        ("WORKDIR /src", "WORKDIR src", "absolute"),
        ("COPY provider provider", "ADD provider provider", "a better way"),
        ("RUN apt-get update", "RUN curl -sSf https://example.com | sh && apt-get update", "fetched past the locks"),
    ],
)
def test_it_would_break_a_rule_otherwise(tmp_path: Path, written: str, instead: str, rule: str) -> None:
    text = FILE.read_text()
    assert written in text
    changed = tmp_path / "Containerfile"
    changed.write_text(text.replace(written, instead))
    assert any(rule in each for each in broken_rules(ContainerSteps(changed, ROOT, tmp_path).steps))


def test_it_runs_as_a_user_by_number_who_is_not_root(tmp_path: Path) -> None:
    steps = ContainerSteps(FILE, ROOT, tmp_path)
    [user] = [value for instruction, value in steps.steps if instruction == "USER"]
    assert all(part.isdecimal() and int(part) > 0 for part in user.split(":"))


def test_images_that_it_starts_from_are_an_argument(tmp_path: Path) -> None:
    steps = ContainerSteps(FILE, ROOT, tmp_path).steps
    assert steps[0][0] == "ARG"
    assert {value.split()[0] for instruction, value in steps if instruction == "FROM"} == {"${PYTHON_IMAGE}"}


@pytest.mark.timeout(900)
def test_its_steps_leave_a_program_that_runs_and_nothing_that_builds() -> None:
    with tempfile.TemporaryDirectory() as folder:
        steps = ContainerSteps(FILE, ROOT, Path(folder))
        steps.do()

        def ran(*arguments: str) -> str:
            return subprocess.run(
                arguments, env=steps.variables(), cwd=steps.root, capture_output=True, text=True, check=True
            ).stdout

        venv = steps.inside(Path("/opt/pymigrate"))
        [program] = steps.entrypoint
        assert ran(str(venv / "bin" / program), "--version") == f"pymigrate {version('pymigrate')}\n"
        assert "--affinity" in ran(str(venv / "bin" / "python"), "-m", "pymigrate.engine.main.worker", "--help")
        assert Path(
            ran(str(venv / "bin" / "python"), "-c", "import pymigrate.engine as e; print(e.__file__)")
        ).is_relative_to(venv)
        [packages] = venv.glob("lib/python3*/site-packages")
        assert not [each for each in ("pip", "hatchling", "setuptools", "pytest") if (packages / each).exists()]
        assert not steps.inside(Path("/src")).exists()
        passwd = (steps.root / "etc/passwd").read_text()
        assert passwd.split(":")[2:4] == steps.user.split(":")
        assert steps.inside(Path("/var/lib/pymigrate")).stat().st_mode & 0o777 == 0o700
        assert len(steps.left_out) == 1
