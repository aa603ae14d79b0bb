"""Label selectors as the API reads them: `a=b, c!=d, e in (f, g), h notin (i), j, !k`."""

import re
from collections.abc import Callable, Mapping

from pymigrate.engine.ports.cluster import Object, ObjectRefused

Selector = Callable[[Object], bool]
_REQUIREMENT = re.compile(
    r"\s*(?:(?P<absent>!\s*)?(?P<key>[A-Za-z0-9][A-Za-z0-9./_-]*)"
    r"(?:\s*(?P<equal>==|=|!=)\s*(?P<value>[A-Za-z0-9._-]*)|\s+(?P<set>in|notin)\s*\((?P<values>[^()]*)\))?)\s*(?:,|$)"
)


def selector_of(text: str) -> Selector:
    """Whether an object's labels fulfil all of it; an empty one takes every object. Raises ObjectRefused."""
    wanted: list[Callable[[Mapping[str, str]], bool]] = []
    position = 0
    while position < len(text):
        if not (found := _REQUIREMENT.match(text, position)):
            raise ObjectRefused(f"the API said 400: unable to parse requirement: {text[position:]}")
        position = found.end()
        wanted.append(_requirement(found))
    return lambda item: all(each(item.get("metadata", {}).get("labels") or {}) for each in wanted)


def _requirement(found: "re.Match[str]") -> Callable[[Mapping[str, str]], bool]:
    key, equal, value = found["key"], found["equal"], found["value"]
    if found["set"]:
        values = {each.strip() for each in found["values"].split(",")}
        if found["set"] == "in":
            return lambda labels: key in labels and labels[key] in values
        return lambda labels: labels.get(key) not in values
    if equal == "!=":
        return lambda labels: labels.get(key) != value
    if equal:
        return lambda labels: labels.get(key) == value
    if found["absent"]:
        return lambda labels: key not in labels
    return lambda labels: key in labels
