"""Writes docs/types.md from the connectors, and tells whether what is committed is what they say."""

import argparse
import sys
from pathlib import Path

from pymigrate.engine.adapters.connectors.type_matrix import document

PAGE = Path(__file__).resolve().parent.parent / "docs" / "types.md"


def main() -> int:
    """Write in place, or with --check only compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page is not up to date")
    if parser.parse_args().check:
        if PAGE.read_text() != document():
            sys.stderr.write(f"{PAGE.name} is not what the connectors say: run python -m tools.types_page\n")
            return 1
        return 0
    PAGE.write_text(document())
    return 0


if __name__ == "__main__":
    sys.exit(main())
