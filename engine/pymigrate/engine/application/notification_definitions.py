"""What stakeholders, rules, schedules and silences have in common of what may be declared: which events match, who is told, and names of
others that must be there. Each noun has its own checks in a module beside this."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from pymigrate.engine.application.event_types import event_type_problems
from pymigrate.engine.application.field_definitions import is_line, names_problems, number_problems
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import nearest
from pymigrate.engine.domain.watched_figures import FIGURES, figure_of
from pymigrate.v1 import notification_pb2

ROLES_MAX = 16
NAMES_MAX = 1_000
PATTERNS_MAX = 100
BOUND_MAX = 1e18
HOLD_SECONDS_MAX = 31 * 24 * 3600.0
WINDOW_SECONDS_MAX = 31 * 24 * 3600.0
DRIFT_MAX = 100.0
_PATTERN = re.compile(r"[a-z0-9_*-]{1,63}")
_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class Known:
    """What an environment has that definitions of notifications may name, by last segments."""

    stakeholders: Collection[str] = field(default_factory=frozenset)
    schedules: Collection[str] = field(default_factory=frozenset)
    departments: Collection[str] = field(default_factory=frozenset)
    templates: Collection[str] = field(default_factory=frozenset)


def match_problems(path: str, match: notification_pb2.EventMatch, *, may_find: bool) -> Iterator[Problem]:
    """Problems of which events match. `may_find`: whether it may make events of its own, as a rule's does and a silence's does not."""
    yield from event_type_problems(f"{path}.types", match.types)
    yield from severity_problems(f"{path}.severity_min", match.severity_min)
    for name, patterns in (("plans", match.plans), ("phases", match.phases), ("departments", match.departments)):
        yield from _listed(f"{path}.{name}", patterns, _PATTERN, "a name's last segment, with `*` for any text")
    yield from _listed(f"{path}.reasons", match.reasons, _REASON, "a reason, as SOURCE_UNAVAILABLE")
    finds = [name for name in ("kpi", "drift_min", "window_closes_seconds") if _is_set(match, name)]
    if finds and not may_find:
        yield Problem(f"{path}.{finds[0]}", "is for rules, which find it: name the type of event, as kpi.crossed")
        return
    if finds and match.types:
        yield Problem(f"{path}.types", f"is not asked beside `{finds[0]}`, which makes its own events: leave it empty")
    for name in finds[1:]:
        yield Problem(f"{path}.{name}", f"is not asked beside `{finds[0]}`: what it finds is a rule of its own")
    if match.HasField("kpi"):
        yield from _kpi_problems(f"{path}.kpi", match.kpi)
    yield from number_problems(f"{path}.drift_min", match.drift_min, 0, DRIFT_MAX)
    yield from number_problems(f"{path}.window_closes_seconds", match.window_closes_seconds, 0, WINDOW_SECONDS_MAX)


def recipients_problems(path: str, recipients: notification_pb2.Recipients, known: Known) -> Iterator[Problem]:
    """Problems of who is told."""
    yield from names_problems(f"{path}.roles", recipients.roles, ROLES_MAX)
    stakeholders, schedules = f"{path}.stakeholders", f"{path}.on_call_schedules"
    yield from known_problems(stakeholders, "stakeholder", recipients.stakeholders, known.stakeholders)
    yield from known_problems(schedules, "on-call schedule", recipients.on_call_schedules, known.schedules)


def names_nobody(recipients: notification_pb2.Recipients) -> bool:
    """Whether nobody is named at all."""
    return not recipients.ListFields()


def known_problems(path: str, noun: str, names: Sequence[str], known: Collection[str]) -> Iterator[Problem]:
    """Problems of names of other objects of the environment: each must be there, and is named once."""
    if len(names) > NAMES_MAX:
        yield Problem(path, f"has at most {NAMES_MAX:,} entries")
    if len(set(names)) < len(names):
        yield Problem(path, f"names a {noun} twice")
    for name in dict.fromkeys(names):
        yield from missing_problems(path, noun, name, known)


def missing_problems(path: str, noun: str, name: str, known: Collection[str]) -> Iterator[Problem]:
    """A problem where the environment has no object of that name."""
    if name not in known:
        said = f"there is no {noun} `{name}` in this environment{nearest(name, known)}"
        yield Problem(path, said, is_missing=True)


def severity_problems(path: str, number: int) -> Iterator[Problem]:
    """Problems of a severity, which may be one that only a later version knows."""
    if number not in notification_pb2.Severity.values():
        yield Problem(path, f"{number} is no severity: use info, warning, error or critical")


def _kpi_problems(path: str, threshold: notification_pb2.KpiThreshold) -> Iterator[Problem]:
    figure = figure_of(threshold.figure)
    if figure is None:
        near = nearest(threshold.figure, FIGURES)
        yield Problem(f"{path}.figure", f"`{threshold.figure}` is no figure of Kpis{near}")
    else:
        least = -BOUND_MAX if figure.least is None else figure.least
        most = BOUND_MAX if figure.most is None else figure.most
        yield from number_problems(f"{path}.bound", threshold.bound, least, most)
    yield from number_problems(f"{path}.hold_seconds", threshold.hold_seconds, 0, HOLD_SECONDS_MAX)
    yield from number_problems(f"{path}.hysteresis", threshold.hysteresis, 0, 1)


def _is_set(match: notification_pb2.EventMatch, name: str) -> bool:
    return match.HasField("kpi") if name == "kpi" else bool(getattr(match, name))


def _listed(path: str, values: Sequence[str], rule: re.Pattern[str], meant: str) -> Iterator[Problem]:
    if len(values) > PATTERNS_MAX:
        yield Problem(path, f"has at most {PATTERNS_MAX} entries")
    for value in values:
        if not rule.fullmatch(value):
            shown = f"`{value}`" if is_line(value) else "one of them"
            yield Problem(path, f"{shown} is not {meant}")
