"""One lock file for everybody, through the real terraform: what one user's init wrote is right in the home of another one."""

import shutil
from pathlib import Path

from tests.e2e.engines import EngineProcess
from tests.e2e.terraforms import Terraform

LOCK = ".terraform.lock.hcl"
CONFIGURATION = 'resource "pymigrate_environment" "small" { environment_id = "small" }\n'


def test_a_lock_file_that_is_committed_holds_for_another_user(
    require_terraform: str, tmp_path: Path, engine: EngineProcess
) -> None:
    one, other = (Terraform(require_terraform, tmp_path / name, engine) for name in ("one", "other"))
    one.write(CONFIGURATION)
    one.apply()
    locked = (one.folder / LOCK).read_text()
    assert 'provider "registry.terraform.io/pymigrate/pymigrate"' in locked
    for name in (LOCK, "main.tf", "terraform.tfstate"):
        shutil.copy(one.folder / name, other.folder)
    other.must("init", "-lockfile=readonly")
    assert other.changes() == 0
    assert (other.folder / LOCK).read_text() == locked


def test_a_provider_that_was_tampered_with_is_refused(
    require_terraform: str, tmp_path: Path, engine: EngineProcess
) -> None:
    terraform = Terraform(require_terraform, tmp_path / "one", engine)
    terraform.write(CONFIGURATION)
    terraform.must("init")
    shutil.rmtree(terraform.folder / ".terraform")
    (launcher,) = terraform.home.glob(".terraform.d/plugins/**/terraform-provider-pymigrate_v*")
    launcher.write_text(launcher.read_text() + "# changed\n")
    done = terraform.run("init")
    assert done.code == 1
    assert "checksum" in done.output
