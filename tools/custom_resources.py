"""Writes examples/kubernetes/crds from the contract's descriptors, and tells whether what is committed is what they say."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from pymigrate.engine.entrypoints.custom_resources import as_yaml, custom_resource_definitions

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "kubernetes" / "crds"
_HEAD = "# Written from the contract by `make proto`: change that instead.\n"


def main() -> int:
    """Write in place, or with --check only compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file is not up to date")
    is_check = parser.parse_args().check
    fresh = rendered()
    known = {path.name for path in FOLDER.glob("*.yaml")}
    stale = sorted(known - fresh.keys())
    wrong = sorted(name for name, text in fresh.items() if name not in known or (FOLDER / name).read_text() != text)
    if is_check:
        if stale or wrong:
            said = ", ".join([*wrong, *stale])
            sys.stderr.write(f"{FOLDER.name}/ is not what the contract says ({said}): run make proto\n")
        return 1 if stale or wrong else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (FOLDER / name).unlink()
    for name in wrong:
        (FOLDER / name).write_text(fresh[name])
    return 0


def rendered() -> Mapping[str, str]:
    """Every file by its name, and what kustomize finds them by."""
    files = {
        f"{definition['spec']['names']['plural']}.yaml": _HEAD + as_yaml(definition)
        for definition in custom_resource_definitions().values()
    }
    found_by = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(files),
    }
    return files | {"kustomization.yaml": _HEAD + as_yaml(found_by)}


if __name__ == "__main__":
    sys.exit(main())
