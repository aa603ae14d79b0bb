"""The Containerfile of `examples/kubernetes`: what a linter says of it, and what its steps leave behind. No container engine is needed; no
image is built."""

import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.integration.kubernetes.container_steps import ContainerSteps

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "examples/kubernetes/Containerfile"


def test_a_linter_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, "--failure-threshold", "style", FILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


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
