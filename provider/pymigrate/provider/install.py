"""Installs the provider where `terraform init` finds it with no CLI configuration.

Terraform looks into an implied mirror in the user's home. What lies there is a launcher that is the same to the byte for everybody,
so that `.terraform.lock.hcl` can be committed; which Python it runs is written beside the user's data, a file a version.
"""

import os
import platform
import sys
from pathlib import Path

NAMESPACE = ("registry.terraform.io", "pymigrate", "pymigrate")  # how Terraform spells `source = "pymigrate/pymigrate"`
VERSION_VARIABLE = "PYMIGRATE_PROVIDER_VERSION"
MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64", "i686": "386"}
LAUNCHER = """#!/bin/sh
# The PyMigrate provider {version}. Made by `pymigrate provider install`; the same for everybody.
place="${{XDG_DATA_HOME:-$HOME/.local/share}}/pymigrate/provider/{version}/interpreter"
if [ ! -r "$place" ]; then
  echo "PyMigrate {version} is not installed for this user: run 'pymigrate provider install' ($place is missing)" >&2
  exit 1
fi
IFS= read -r interpreter < "$place"
if [ ! -x "$interpreter" ]; then
  echo "$interpreter, which has PyMigrate {version}, is gone: run 'pymigrate provider install' again" >&2
  exit 1
fi
{variable}={version} exec "$interpreter" -I -m pymigrate.provider "$@"
"""


def install(version: str, interpreter: str = sys.executable) -> Path:
    """Writes the launcher and where its interpreter is; the launcher's path. Doing it again changes nothing."""
    launcher = mirror() / version / target() / f"terraform-provider-pymigrate_v{version}"
    place = data_folder() / "provider" / version / "interpreter"
    for path, text, mode in (
        (launcher, LAUNCHER.format(version=version, variable=VERSION_VARIABLE), 0o755),
        (place, f"{interpreter}\n", 0o644),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.new")
        fresh.write_text(text)
        fresh.chmod(mode)
        fresh.replace(path)
    return launcher


def mirror() -> Path:
    """The implied mirror's folder of this provider."""
    return Path.home().joinpath(".terraform.d", "plugins", *NAMESPACE)


def data_folder() -> Path:
    """The user's data folder of PyMigrate."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "pymigrate"


def target() -> str:
    """Operating system and processor as Terraform spells them, such as `linux_amd64`."""
    machine = platform.machine()
    return f"{platform.system().lower()}_{MACHINES.get(machine, machine.lower())}"
