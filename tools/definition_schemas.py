"""Writes schemas/ from the contract's descriptors, and tells whether what is committed is what they say."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from pymigrate.engine.entrypoints.definition_schemas import definition_schemas

FOLDER = Path(__file__).resolve().parent.parent / "schemas"


def main() -> int:
    """Write in place, or with --check only compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a schema is not up to date")
    is_check = parser.parse_args().check
    fresh = rendered()
    known = {path.name for path in FOLDER.glob("*.json")}
    stale = sorted(known - fresh.keys())
    wrong = sorted(name for name, text in fresh.items() if name not in known or (FOLDER / name).read_text() != text)
    if is_check:
        if stale or wrong:
            said = ", ".join([*wrong, *stale])
            sys.stderr.write(
                f"schemas/ is not what the contract says ({said}): run python -m tools.definition_schemas\n"
            )
        return 1 if stale or wrong else 0
    FOLDER.mkdir(exist_ok=True)
    for name in stale:
        (FOLDER / name).unlink()
    for name in wrong:
        (FOLDER / name).write_text(fresh[name])
    return 0


def rendered() -> Mapping[str, str]:
    """Every file by its name."""
    return {
        f"{name}.json": json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
        for name, schema in definition_schemas().items()
    }


if __name__ == "__main__":
    sys.exit(main())
