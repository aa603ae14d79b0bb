"""Writes what the provider says of itself: the contract's comments beside its code, and from its schemas pages in the registry's layout.

With --check it tells whether what is committed is what contract, schemas and examples say.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pymigrate.provider.descriptions import FILE
from tools.contract_comments import comments
from tools.terraform_schema import Section, sections

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples" / "terraform"
LEFT_OUT = ("worker",)
OUTPUT_ONLY = " Output only."
GENERATED = "<!-- Written by `python -m tools.terraform_pages` from schemas, the contract's comments and examples/terraform. -->"


def main() -> int:
    """Write in place, or with --check only compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where something is not up to date")
    is_check = parser.parse_args().check
    told = descriptions()
    if not is_check:
        FILE.write_text(told)
    wanted = {FILE: told} | pages()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    orphans = [path for path in generated() if path not in wanted]
    if is_check:
        for path in (*stale, *orphans):
            sys.stderr.write(
                f"{path.relative_to(ROOT)} is not what the provider says: run python -m tools.terraform_pages\n"
            )
        return 1 if stale or orphans else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
    for path in orphans:
        path.unlink()
    return 0


def descriptions() -> str:
    """The comments that schemas may need, as JSON."""
    kept = {name: text.removesuffix(OUTPUT_ONLY) for name, text in sorted(comments(LEFT_OUT).items())}
    return json.dumps(kept, indent=0, ensure_ascii=False) + "\n"


def pages() -> dict[Path, str]:
    """Every page with its text."""
    return {ROOT / "docs" / section.page: page(section) for section in sections()}


def generated() -> Iterator[Path]:
    """The pages that were written before."""
    for folder in ("resources", "data-sources", "functions", "ephemeral-resources"):
        yield from sorted((ROOT / "docs" / folder).glob("*.md"))


def page(section: Section) -> str:
    """One page in the manner of the registry's."""
    first = section.description.partition("\n")[0]
    parts = [
        f'---\npage_title: "{section.title}"\nsubcategory: "{section.subcategory}"\ndescription: |-\n  {first}\n---',
        GENERATED,
        f"# {section.heading}",
        section.description,
        *_examples(section.before),
        section.body,
        *_examples(section.after),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _examples(wanted: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    for title, place, language in wanted:
        if (path := EXAMPLES / place).exists():
            yield f"## {title}\n\n```{language}\n{path.read_text().rstrip()}\n```"


if __name__ == "__main__":
    sys.exit(main())
