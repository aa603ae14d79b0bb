"""Whether an occurrence is one that a rule or a silence means, compiled once for the many that are looked at."""

from collections.abc import Callable, Iterable

from pymigrate.engine.domain.notices import EventMatch, Occurrence

ANY_TEXT = "*"
ANY_BELOW = ".*"
TEXTS_KEPT_MAX = 10_000
# What is found beyond a bound: entries with these beginnings tell of a figure, a drift or a window.
FOUND_FIGURE = "kpi."
FOUND_DRIFT = "drift."
FOUND_WINDOW = "window."
# Calls that had no effect: many, and of no interest but to whoever asks for them. A rule means them only where it names them.
NAMED_ALONE = frozenset({"audit.deny", "audit.read"})

Test = Callable[[str], bool]


class Matcher:
    """One match. `rule` is the one that it belongs to, empty for a silence's: what a figure, a drift or a window is matched by must have
    been found by this very rule, and by any rule for a silence."""

    def __init__(self, match: EventMatch, rule: str = "") -> None:
        self._match = match
        self._rule = rule
        self._finds = match.finds
        self._figure = match.kpi.figure if match.kpi is not None else ""
        self._found = _found_prefixes(match)
        self._type = _type_test(match.types)
        self._unnamed = NAMED_ALONE.difference(match.types) if rule else frozenset[str]()
        self._severity_min = match.severity_min
        self._plan = _glob_test(match.plans)
        self._phase = _glob_test(match.phases)
        self._department = _glob_test(match.departments)
        self._reasons = frozenset(match.reasons)

    def matches(self, occurrence: Occurrence) -> bool:
        """Whether everything that is given matches."""
        if occurrence.severity < self._severity_min or occurrence.type in self._unnamed:
            return False
        if self._finds:
            if not self._is_found(occurrence):
                return False
        elif self._type is not None and not self._type(occurrence.type):
            return False
        return (
            (self._plan is None or self._plan(occurrence.plan))
            and (self._phase is None or self._phase(occurrence.phase))
            and (self._department is None or self._department(occurrence.department))
            and (not self._reasons or occurrence.reason in self._reasons)
        )

    def why_not(self, occurrence: Occurrence) -> str:
        """What does not match, as a part of a sentence; empty where everything does."""
        match = self._match
        if occurrence.severity < match.severity_min:
            return f"it is less grave than {match.severity_min.name.lower()}"
        if occurrence.type in self._unnamed:
            return f"its type {occurrence.type} is told only by a rule that names it"
        if self._finds and not self._is_found(occurrence):
            return "this rule did not find it" if self._rule else "it was not found beyond such a bound"
        if not self._finds and self._type is not None and not self._type(occurrence.type):
            return f"its type {occurrence.type} is none of {', '.join(match.types)}"
        for word, value, test, wanted in (
            ("plan", occurrence.plan, self._plan, match.plans),
            ("phase", occurrence.phase, self._phase, match.phases),
            ("department", occurrence.department, self._department, match.departments),
        ):
            if test is not None and not test(value):
                return f"its {word} {value} is none of {', '.join(wanted)}" if value else f"it has no {word}"
        if self._reasons and occurrence.reason not in self._reasons:
            reasons = ", ".join(match.reasons)
            return f"its reason {occurrence.reason} is none of {reasons}" if occurrence.reason else "it has no reason"
        return ""

    def _is_found(self, occurrence: Occurrence) -> bool:
        if not occurrence.type.startswith(self._found):
            return False
        if self._rule:
            return occurrence.rule == self._rule
        is_figure = occurrence.type.startswith(FOUND_FIGURE)
        return bool(occurrence.rule) and (not is_figure or occurrence.figure == self._figure)


def _found_prefixes(match: EventMatch) -> tuple[str, ...]:
    known = (
        (FOUND_FIGURE, match.kpi is not None),
        (FOUND_DRIFT, match.drift_min > 0),
        (FOUND_WINDOW, match.window_closes_seconds > 0),
    )
    return tuple(prefix for prefix, is_given in known if is_given)


def _type_test(types: Iterable[str]) -> Test | None:
    """None where every type will do. `phase.*` means those that begin with `phase.`; `*` any."""
    exact, prefixes = set[str](), list[str]()
    for each in types:
        if each == ANY_TEXT:
            return None
        if each.endswith(ANY_BELOW):
            prefixes.append(each.removesuffix(ANY_TEXT))
        else:
            exact.add(each)
    if not exact and not prefixes:
        return None
    beginnings = tuple(prefixes)
    return lambda type_: type_ in exact or (bool(beginnings) and type_.startswith(beginnings))


def _glob_test(patterns: Iterable[str]) -> Test | None:
    """None where any text will do, an empty one too; `*` alone asks for one that is there. Nothing but `*` is special."""
    exact, globs = set[str](), list[list[str]]()
    for pattern in patterns:
        if ANY_TEXT in pattern:
            globs.append(pattern.split(ANY_TEXT))
        else:
            exact.add(pattern)
    if not globs:
        return exact.__contains__ if exact else None
    known: dict[str, bool] = {}

    def test(text: str) -> bool:
        if text not in known:
            if len(known) >= TEXTS_KEPT_MAX:
                known.clear()
            known[text] = bool(text) and (text in exact or any(_has_parts(text, parts) for parts in globs))
        return known[text]

    return test


def _has_parts(text: str, parts: list[str]) -> bool:
    """Whether the text begins with the first part, ends with the last, and has the others in between, in their order. Taking each as
    early as it comes misses none, so that no pattern costs more than its length times the text's."""
    first, *between, last = parts
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in between:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
