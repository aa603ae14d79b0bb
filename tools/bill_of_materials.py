"""Writes the bill of materials of a wheel beside it: everything that a virtual environment holds which was made of the wheel, as CycloneDX.

`make wheel` installs the locked runtime and the wheel into a clean environment, and calls this with that environment's Python and the
folder of the wheel. What the bill names is held against the lock, so that nothing is shipped that nobody decided on.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
# What makes the environment and is no part of what is shipped.
MAKERS = frozenset({"pip", "setuptools"})
_PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)", re.MULTILINE)


def bill(python: Path, output: Path) -> None:
    """Writes what the environment of that Python holds."""
    command = [
        *(
            sys.executable,
            "-m",
            "cyclonedx_py",
            "environment",
            str(python),
            "--pyproject",
            str(ROOT / "pyproject.toml"),
        ),
        *("--output-reproducible", "--output-format", "JSON", "--output-file", str(output)),
    ]
    subprocess.run(command, check=True)


def locked(lock: str) -> set[tuple[str, str]]:
    """The packages of a lock, by name and version. One that is locked twice, for one platform and for another, is in it twice."""
    return {(_normal(name), version) for name, version in _PIN.findall(lock)}


def unlocked(document: Mapping[str, Any], lock: str) -> list[str]:
    """What a bill holds that the lock does not, one line for each."""
    held = {(_normal(each["name"]), each.get("version", "")) for each in document.get("components", [])}
    return [f"{name} {version}" for name, version in sorted(held - locked(lock)) if name not in MAKERS]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    """Writes the bill of the wheel in the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", type=Path, help="the Python of an environment that was made of the wheel")
    parser.add_argument("folder", type=Path, help="where the wheel is")
    given = parser.parse_args()
    wheels = sorted(given.folder.glob("*.whl"))
    if len(wheels) != 1:
        print(f"{given.folder} must hold one wheel, and holds {len(wheels)}: make it anew", file=sys.stderr)
        return 1
    output = wheels[0].with_suffix(".cdx.json")
    bill(given.python, output)
    found = unlocked(json.loads(output.read_text()), LOCK.read_text())
    for line in found:
        print(f"{output.name}: {line} is not in {LOCK.name}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
