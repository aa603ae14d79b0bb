"""Imports every module of the packages, each as Python finds it: what type checkers accept may still not run.

Alembic's migrations are left out: they are no modules that anybody imports.
"""

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Iterator

PACKAGES = ("pymigrate.engine", "pymigrate.provider", "pymigrate.v1")
LEFT_OUT = ".migrations"


def modules() -> Iterator[str]:
    """The names of all modules, those of each package after it."""
    for name in PACKAGES:
        yield name
        package = importlib.import_module(name)
        yield from (
            found.name
            for found in pkgutil.walk_packages(package.__path__, f"{name}.")
            if LEFT_OUT not in found.name and not found.name.endswith("__main__")
        )


def main() -> int:
    """Tells each that can't be imported, and how many there are."""
    failed = 0
    for name in modules():
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 (whatever it is, it is told)
            failed += 1
            sys.stderr.write(f"{name} can't be imported:\n{traceback.format_exc(limit=-2)}")
    return failed


if __name__ == "__main__":
    sys.exit(min(main(), 1))
