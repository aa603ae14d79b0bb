"""Packages of examples as an installer would lay them: with the metadata by which their entry points are found."""

import tomllib
from pathlib import Path


def lay_out(example: Path, site: Path) -> None:
    """Makes `site` with the metadata of the example's package; its modules are the caller's to put on the path."""
    project = tomllib.loads((example / "pyproject.toml").read_text())["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    [(group, names)] = project["entry-points"].items()
    (info / "entry_points.txt").write_text(f"[{group}]\n" + "".join(f"{name} = {at}\n" for name, at in names.items()))
