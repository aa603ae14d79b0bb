"""Packages with business metrics, laid where an installer would lay them, on the path of whatever is started."""

import tomllib
from pathlib import Path

EXAMPLE = Path(__file__).parents[3] / "examples" / "metrics"
HEAD = """
import sys, time
from pymigrate.engine.ports.metrics import Family, Kind, Reading
"""
BODIES = {
    "hanging": "while True: pass",
    "sleeping": "time.sleep(3600)",
    "raising": "raise RuntimeError('the shop is\\nclosed')",
    "exiting": "sys.exit(3)",
    "endless": """
        family = Family("endless_x", Kind.GAUGE, "X.", ("name",))
        def values():
            at = 0
            while True:
                yield (f"name-{at}",), 1
                at += 1
        yield Reading(family, values())""",
    "million": """
        family = Family("million_x", Kind.GAUGE, "X.", ("name",))
        return [Reading(family, [((f"name-{at}",), 1) for at in range(1_000_000)])]""",
    "greedy": "return [bytearray(1 << 34)]",
    "wordy": "return [Reading(Family('wordy_x', Kind.GAUGE, 'x' * 5_000_000, ()), [])]",
    "forbidden": """
        yield Reading(Family("forbidden_x", Kind.GAUGE, "X.", ("le",)), [(("1",), 1)])
        yield Reading(Family("forbidden_y", Kind.GAUGE, "Y.", ("kind",)), [(("1",), 1)])""",
    "curious": """
        import os
        family = Family("curious_variables", Kind.GAUGE, "Variables that it is given.", ("kind",))
        yield Reading(family, [((name,), len(value)) for name, value in os.environ.items()])""",
    "printing": """
        print("printed"); sys.stdout.flush()
        import os; os.write(1, b"[]\\n")
        yield Reading(Family("printing_x", Kind.GAUGE, "X.", ()), [((), len(plans))])""",
}


def install(site: Path) -> None:
    """Lays the example and the plugins that misbehave below `site`."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    points = dict(project["entry-points"]["pymigrate.metrics"])
    (site / "invoice_metrics.py").parent.mkdir(parents=True, exist_ok=True)
    (site / "invoice_metrics.py").write_text((EXAMPLE / "invoice_metrics.py").read_text())
    _dist(site, project["name"], points)


def install_misbehaving(site: Path) -> None:
    """Lays the plugins that misbehave below `site`."""
    site.mkdir(parents=True, exist_ok=True)
    classes = [
        f"class {name.title()}:\n    def collect(self, plans):\n        {body.strip()}\n"
        for name, body in BODIES.items()
    ]
    (site / "misbehaving_metrics.py").write_text(HEAD + "\n\n".join(classes))
    (site / "broken_metrics.py").write_text("import nothing_of_this_name\n")
    points = {name: f"misbehaving_metrics:{name.title()}" for name in BODIES}
    _dist(site, "misbehaving-metrics", {**points, "broken": "broken_metrics:Broken"})


def _dist(site: Path, name: str, points: dict[str, str]) -> None:
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = "".join(f"{point} = {at}\n" for point, at in points.items())
    (info / "entry_points.txt").write_text(f"[pymigrate.metrics]\n{lines}")
