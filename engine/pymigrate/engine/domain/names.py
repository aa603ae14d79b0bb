"""Resource names after AIP-122, and what to say when one is not known."""

import difflib
import re
from collections.abc import Iterable

ID_PATTERN = re.compile(r"[a-z](?:[a-z0-9_-]{0,61}[a-z0-9])?")
_NEAREST = re.compile(r"; (?:did you mean `|there are `|none is declared yet)")
ID_RULE = "1 to 63 lower-case letters, digits, `-` or `_`, beginning with a letter and ending with a letter or digit"


def is_id(text: str) -> bool:
    """Whether the text may be the last segment of a name."""
    return ID_PATTERN.fullmatch(text) is not None


def last_segment(name: str) -> str:
    """`sales` of `environments/prod/departments/sales`."""
    return name.rsplit("/", 1)[-1]


def parent_of(name: str) -> str:
    """`environments/prod` of `environments/prod/departments/sales`; empty for a top-level name."""
    parts = name.split("/")
    return "/".join(parts[:-2])


def environment_of(name: str) -> str:
    """`environments/prod` of any name below it."""
    return "/".join(name.split("/")[:2])


def at_environment(affinity: str, name: str) -> str:
    """`shared@prod` of `shared` and any name below `environments/prod`: which hosts take such work of that environment."""
    return f"{affinity}@{last_segment(environment_of(name))}"


def plan_of(name: str) -> str:
    """`environments/prod/plans/warehouse` of any name below it."""
    return "/".join(name.split("/")[:4])


def without_nearest(text: str) -> str:
    """A refusal without what `nearest` told behind it."""
    return _NEAREST.split(text, maxsplit=1)[0]


def run_of(name: str) -> str:
    """`environments/prod/plans/warehouse/runs/r1` of any name below it."""
    return "/".join(name.split("/")[:6])


def matches(name: str, *collections: str) -> bool:
    """Whether the name is that of an object in these nested collections, with legal segments."""
    parts = name.split("/")
    if len(parts) != 2 * len(collections):
        return False
    return all(parts[2 * at] == word and parts[2 * at + 1] != "" for at, word in enumerate(collections))


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean `x`?` for the nearest known name, `; none is declared yet` without any, else the known ones, at most ten."""
    names = sorted(known)
    if not names:
        return "; none is declared yet"
    if close := difflib.get_close_matches(name, names, n=1, cutoff=0.6):
        return f"; did you mean `{close[0]}`?"
    listed = ", ".join(f"`{known_name}`" for known_name in names[:10])
    return f"; there are {listed}" + (" and others" if len(names) > 10 else "")


def no_run(name: str) -> str:
    """What to say where there is no run of a name, which may be that of something else."""
    if not matches(name, "environments", "plans", "runs"):
        return f"`{name}` is no run's name: write it as environments/prod/plans/warehouse/runs/r1"
    return f"there is no {name}"
