"""Two sides that want one thing, through the real terraform: it is said who changed what and what to do, and nothing is overwritten."""

import itertools
import shutil
from pathlib import Path

import grpc
import pytest

from pymigrate.v1 import environment_pb2, environment_pb2_grpc
from tests.e2e.acceptance import Stage, attached, engine
from tests.e2e.engines import EngineProcess
from tests.e2e.terraforms import COMMAND_SECONDS

__all__ = ["attached", "engine"]
NUMBERS = itertools.count(1)
DECLARATION = ("environment", "department", "connection", "plan", "phase")
SECONDS_MAX = 60


@pytest.fixture
def stages(require_terraform: str, engine: EngineProcess, attached: str, tmp_path: Path) -> tuple[Stage, Stage]:
    """Two working directories that declare the same environment."""
    name = f"conflict-{next(NUMBERS)}"
    one, other = (Stage(require_terraform, tmp_path / each, engine, attached, name) for each in ("one", "other"))
    return one, other


def said(output: str) -> str:
    """What was printed, without frames and line breaks."""
    return " ".join(output.replace("│", " ").split())


def declared_by(side: str, stage: Stage) -> str:
    """Another side's environment of the stage's name; its resource name."""
    endpoint, token = ((stage.engine.home / name).read_text().strip() for name in ("endpoint", "token"))
    request = environment_pb2.CreateEnvironmentRequest(
        environment_id=stage.environment_id, environment=environment_pb2.Environment(display_name="Theirs")
    )
    metadata = (("authorization", f"Bearer {token}"), ("pymigrate-managed-by", side))
    with grpc.insecure_channel(endpoint) as channel:
        made = environment_pb2_grpc.EnvironmentServiceStub(channel).CreateEnvironment(
            request, metadata=metadata, timeout=SECONDS_MAX
        )
    name: str = made.name
    return name


def test_a_lost_state_tells_how_to_take_over_everything_that_exists(stages: tuple[Stage, Stage]) -> None:
    stage, _ = stages
    stage.declare(*DECLARATION)
    stage.must("apply", "-auto-approve")
    names = {address: values["name"] for address, values in stage.resources().items()}
    (stage.folder / "terraform.tfstate").unlink()
    done = stage.run("apply", "-auto-approve")
    assert done.code == 1
    told = said(done.output)
    assert f"environments/{stage.environment_id} exists already" in told
    for address, name in names.items():
        command = f"terraform import {address.partition('.')[0]}.<name> {name}"
        assert command in told
        stage.must("import", address, name)
    assert stage.planned() == {}


def test_of_two_applies_at_once_one_makes_each_object_and_the_other_is_told_that_it_is_there(
    stages: tuple[Stage, Stage],
) -> None:
    for stage in stages:
        stage.declare(*DECLARATION)
    processes = [stage.start("apply", "-auto-approve") for stage in stages]
    outputs = [process.communicate(timeout=COMMAND_SECONDS)[0] for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 1], outputs
    winner, loser = sorted(zip(stages, processes, outputs, strict=True), key=lambda each: each[1].returncode)
    assert f"environments/{stages[0].environment_id} exists already" in said(loser[2])
    assert "another apply made it" in said(loser[2])
    assert set(loser[0].resources()) == set()
    assert winner[0].planned() == {}


def test_an_apply_whose_lock_expired_does_not_overwrite_what_the_next_one_did(stages: tuple[Stage, Stage]) -> None:
    first, second = stages
    first.declare(*DECLARATION)
    first.must("apply", "-auto-approve")
    shutil.copy(first.folder / "terraform.tfstate", second.folder)
    first.declare(*DECLARATION, change=lambda text: text.replace('verification = "full"', 'verification = "sampled"'))
    first.must("apply", "-auto-approve")
    second.declare(*DECLARATION, change=lambda text: text.replace("phase_id        =", "priority = 5\n  phase_id ="))
    stale = second.run("apply", "-auto-approve", "-lock=false", "-refresh=false")
    assert stale.code == 1
    told = said(stale.output)
    assert "was changed elsewhere and is not changed" in told
    assert "it is managed by terraform" in told
    assert "verification: `full` is now `sampled`" in told
    assert "Run terraform plan again" in told
    assert first.planned() == {}


@pytest.mark.parametrize("side", ["git", "kubernetes"])
def test_what_git_or_kubernetes_declares_is_not_taken_over(stages: tuple[Stage, Stage], side: str) -> None:
    stage, _ = stages
    name = declared_by(side, stage)
    stage.declare("environment")
    done = stage.run("apply", "-auto-approve")
    assert done.code == 1
    told = said(done.output)
    assert f"{name} exists already" in told
    assert f"only {side} may change it" in told
    assert "terraform import" not in told
    assert f"{name} is managed by {side}" in said(stage.must("import", "pymigrate_environment.prod", name))
    for command in ("apply", "destroy"):
        done = stage.run(command, "-auto-approve")
        assert done.code == 1
        assert f"{name} is managed by {side}, and terraform may not change it: change it there" in said(done.output)
    assert stage.find("environment", name).display_name == "Theirs"


def test_a_protected_plan_is_destroyed_only_after_its_protection_was_taken_off(stages: tuple[Stage, Stage]) -> None:
    stage, _ = stages
    stage.declare(
        *DECLARATION, change=lambda text: text.replace("deletion_protection = false", "deletion_protection = true")
    )
    stage.must("apply", "-auto-approve")
    done = stage.run("plan", "-destroy")
    assert done.code == 1
    assert "is protected from deletion" in done.output
    assert "Set `deletion_protection = false` and apply" in said(done.output)
    stage.declare(*DECLARATION)
    stage.must("apply", "-auto-approve")
    stage.destroy()
