"""What a plugin may tell: each family of its answer either keeps to the rules or is left out, with the reason."""

import math
import re
from typing import Any

import orjson

from pymigrate.engine.ports.business_metrics import FAMILIES_MAX, FAMILY_SERIES_MAX, LABELS_MAX
from pymigrate.engine.ports.metrics import Family, Kind, Labels, Reading

RESERVED_NAMES = frozenset({"pymigrate", "process", "python", "go", "up", "scrape", "alerts"})
RESERVED_LABELS = frozenset({"le", "quantile", "job", "instance"})
RESERVED_ENDS = ("_total", "_bucket", "_count", "_sum", "_created", "_info")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,79}")


def refuse_name(plugin: str) -> str:
    """Why no metrics may begin with this entry point's name; empty where they may."""
    if not _WORD.fullmatch(plugin):
        return "the entry point's name must be lower-case letters, digits and `_`, beginning with a letter"
    if plugin.partition("_")[0] in RESERVED_NAMES:
        return f"names that begin with {plugin.partition('_')[0]}_ are not a plugin's"
    return ""


class PluginRules:
    """The rules for one plugin's answers. A family that keeps its name, kind, labels and text is the same object each time."""

    def __init__(self, plugin: str) -> None:
        self._plugin = plugin
        self._families: dict[str, Family] = {}

    def read(self, answer: bytes) -> tuple[list[Reading], list[str]]:
        """The readings of an answer, and why other families are left out. Raises ValueError for what is no answer."""
        told = orjson.loads(answer)
        if not isinstance(told, list):
            raise ValueError("the answer is no list of families")
        readings, problems, names = [], [], set[str]()
        for given in told[:FAMILIES_MAX]:
            try:
                reading = self._reading(given)
                if reading.family.name in names:
                    raise ValueError(f"{reading.family.name} is told twice")
                names.add(reading.family.name)
                readings.append(reading)
            except ValueError as error:
                problems.append(str(error))
        if len(told) > FAMILIES_MAX:
            problems.append(f"{len(told)} families are told, of which the first {FAMILIES_MAX} are taken")
        return readings, problems

    def _reading(self, given: Any) -> Reading:
        match given:
            case [str(name), str(kind), str(about), [*labels], [*values]]:
                family = self._family(name, kind, about, labels)
                return Reading(family, [_value(family, value) for value in values])
            case _:
                raise ValueError("a family is not written as name, kind, text, labels and values")

    def _family(self, name: str, kind: str, about: str, labels: list[Any]) -> Family:
        if not _WORD.fullmatch(name) or not name.startswith(f"{self._plugin}_"):
            raise ValueError(f"{name[:80]!r} does not begin with {self._plugin}_, or is no name of a metric")
        if kind not in {Kind.COUNTER, Kind.GAUGE}:
            raise ValueError(f"{name} is a {kind[:80]}: a plugin tells counters and gauges")
        if (kind == Kind.COUNTER) != name.endswith("_total") or (kind == Kind.GAUGE and name.endswith(RESERVED_ENDS)):
            raise ValueError(f"{name} is a {kind}: counters end in _total, and gauges in nothing that others end in")
        if len(labels) > LABELS_MAX or len(set(map(str, labels))) < len(labels):
            raise ValueError(f"{name} has {len(labels)} labels: at most {LABELS_MAX}, each once, are told")
        for label in labels:
            if not isinstance(label, str) or not _WORD.fullmatch(label) or label in RESERVED_LABELS:
                raise ValueError(f"{name} has the label {str(label)[:80]!r}, which is reserved or no name of a label")
        fresh = (Kind(kind), about, tuple(labels))
        known = self._families.get(name)
        if known is None:
            made = Family(name, fresh[0], about, fresh[2], FAMILY_SERIES_MAX, is_plugin=True)
            known = self._families.setdefault(name, made)
        if (known.kind, known.about, known.labels) != fresh:
            raise ValueError(
                f"{name} has another kind, text or labels than before: start the engine again to change them"
            )
        return known


def _value(family: Family, given: Any) -> tuple[Labels, float]:
    match given:
        case [[*labels], int(value) | float(value)] if (
            not isinstance(value, bool)
            and len(labels) == len(family.labels)
            and all(isinstance(label, str) for label in labels)
            and math.isfinite(value)
            and (value >= 0 or family.kind is Kind.GAUGE)
        ):
            return tuple(labels), float(value)
        case _:
            raise ValueError(
                f"{family.name} has a value that is no number, below 0, or has other labels: {str(given)[:80]}"
            )
