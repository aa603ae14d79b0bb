"""Every definition that the project shows people: files of examples/, and what stands in fences of Markdown."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_FENCE = re.compile(r"^```(?:yaml|json)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_MARK = "pymigrate.io/v1alpha1"


def shown_definitions() -> Iterator[tuple[str, str, bytes]]:
    """Each with where it stands, the name of a file that it could have, and what it says. Those for Kubernetes are not among them."""
    for where, name, content in shown_resources():
        if not where.startswith(("examples/kubernetes/", "docs/kubernetes")):
            yield where, name, content


def shown_resources() -> Iterator[tuple[str, str, bytes]]:
    """The same with those for Kubernetes, beside which others of its kinds may stand."""
    for path in sorted((ROOT / "examples").rglob("*")):
        if path.suffix in {".yaml", ".yml", ".json"} and path.is_file() and _MARK in path.read_text():
            yield str(path.relative_to(ROOT)), path.name, path.read_bytes()
    for page in sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", *(ROOT / "examples").rglob("*.md")]):
        text = page.read_text()
        for found in _FENCE.finditer(text):
            if f"apiVersion: {_MARK}" in found[1]:
                line = text.count("\n", 0, found.start()) + 2
                yield f"{page.relative_to(ROOT)}:{line}", "shown.yaml", found[1].encode()
