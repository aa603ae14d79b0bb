"""What is said of a pull request, in Markdown that every host shows alike.

Whatever comes from files, the store or Git stands in code spans, in which no host renders HTML, follows a mention or takes a command.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pymigrate.engine.domain.names import last_segment
from pymigrate.engine.domain.quantiles import Quantiles
from pymigrate.engine.domain.spelling import spell_costs, spell_count, spell_quantiles
from pymigrate.v1 import definition_pb2, impact_pb2
from pymigrate.v1 import git_source_pb2 as pb
from pymigrate.v1.shape import enum_word

CHARACTERS_MAX = 30_000  # less than the least that a host takes
CHANGES_SHOWN_MAX = 40
FIELDS_SHOWN_MAX = 8
PROBLEMS_SHOWN_MAX = 30
RUNS_SHOWN_MAX = 20
DEPARTMENTS_SHOWN_MAX = 15
UNKNOWNS_SHOWN_MAX = 5
VALUE_CHARACTERS_MAX = 60
TEXT_CHARACTERS_MAX = 300
SECRET_RULE = "secret"  # noqa: S105 (the word for a kind of problem)
WHAT = {
    definition_pb2.CHANGE_ACTION_CREATE: "create",
    definition_pb2.CHANGE_ACTION_UPDATE: "update",
    definition_pb2.CHANGE_ACTION_DELETE: "delete",
    definition_pb2.CHANGE_ACTION_KEEP: "keep",
}


@dataclass(frozen=True, slots=True)
class PlanImpact:
    """What a plan would cost as it is proposed, and as it is stored; None: there is none, or it could not be told, as `said` tells."""

    plan: str
    proposed: impact_pb2.Impact | None = None
    stored: impact_pb2.Impact | None = None
    said: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """Everything that is said of the head of a pull request."""

    source: str
    revision: pb.GitRevision
    impacts: Sequence[PlanImpact] = ()
    left_out_count: int = 0


@dataclass(slots=True)
class _Page:
    """Lines, no more than there is room for."""

    lines: list[str] = field(default_factory=list)
    room: int = CHARACTERS_MAX

    def add(self, *lines: str) -> bool:
        """Whether they had room."""
        needed = sum(len(line) + 1 for line in lines)
        if needed > self.room:
            return False
        self.room -= needed
        self.lines += lines
        return True


def marker_of(source: str) -> str:
    """What the comment of a source is known by."""
    return f"<!-- pymigrate:{last_segment(source)} -->"


def code(text: str, characters_max: int = TEXT_CHARACTERS_MAX) -> str:
    """A text that is shown as it is, on one line, in a cell of a table too."""
    plain = "".join(each if each.isprintable() else " " for each in text)
    line = " ".join(plain.replace("`", "'").replace("|", "¦").split())
    if len(line) > characters_max:
        line = f"{line[: characters_max - 1]}…"
    return f"`{line}`" if line else ""


def comment_of(told: Told) -> str:
    """The comment."""
    revision = told.revision
    page = _Page()
    page.add(f"### PyMigrate: {code(last_segment(told.source))}", "")
    page.add(f"{_verdict(revision)} Commit {code(revision.commit[:12])} {code(revision.subject, 100)}.", "")
    for part in (_problems(revision), _reversal(revision), _changes(revision), _impacts(told)):
        for line in part:
            if not page.add(*line):
                page.lines.append("_More is left out: `pymigrate diff` tells all of it._")
                return "\n".join(page.lines)
    return "\n".join(page.lines).rstrip() + "\n"


def unchecked_of(source: str, commit: str, reason: str, said: str) -> str:
    """The comment where the head was not checked."""
    lines = [f"### PyMigrate: {code(last_segment(source))}", ""]
    at = f" Commit {code(commit[:12])}." if commit else ""
    lines.append(f"**Not checked** ({code(reason)}).{at} {code(said, 1_000)}")
    return "\n".join(lines) + "\n"


Lines = Iterator[tuple[str, ...]]


def _verdict(revision: pb.GitRevision) -> str:
    if revision.problems:
        return f"**{spell_count(len(revision.problems), 'problem')}: this would not be applied.**"
    if not revision.change_count:
        return "**Nothing would change.**"
    return f"**{spell_count(revision.change_count, 'object')} would change**, 0 problems."


def _problems(revision: pb.GitRevision) -> Lines:
    if not revision.problems:
        return
    yield "#### Problems", "", "| where | what |", "| --- | --- |"
    for each in revision.problems[:PROBLEMS_SHOWN_MAX]:
        place = ":".join(filter(None, (each.file, str(each.line) if each.line else ""))) or each.name
        what = f"{each.path}: {each.description}" if each.path else each.description
        yield (f"| {code(place)} | {code(what)} |",)
    if (left := len(revision.problems) - PROBLEMS_SHOWN_MAX) > 0:
        yield (f"| | and {left:,} more |",)
    yield ("",)


def _reversal(revision: pb.GitRevision) -> Lines:
    reversal = revision.reversal
    if not reversal.runs:
        return
    behind = ", ".join(code(each[:12]) for each in reversal.reverted_commits[:RUNS_SHOWN_MAX])
    yield "#### Runs that would be undone", ""
    state = enum_word(pb.ReversalState.DESCRIPTOR, reversal.state).replace("_", " ")
    approvals = f", with {spell_count(reversal.approvals_min, 'approval')}" if reversal.approvals_min else ""
    yield (
        f"This goes back behind {behind} ({state}{approvals}).",
        "",
        "| run | state | phases | rows |",
        "| --- | --- | --- | ---: |",
    )
    for run in reversal.runs[:RUNS_SHOWN_MAX]:
        phases = ", ".join(run.phases)
        if run.sealed_phases:
            phases += f" (can't be undone: {', '.join(run.sealed_phases)})"
        yield (f"| {code(run.run)} | {code(run.state)} | {code(phases)} | {run.rows:,} |",)
    if (left := len(reversal.runs) - RUNS_SHOWN_MAX) > 0:
        yield (f"| and {left:,} more | | | |",)
    yield ("",)
    if reversal.message:
        yield code(reversal.message), ""


def _changes(revision: pb.GitRevision) -> Lines:
    if not revision.changes:
        return
    hidden = _hidden(revision)
    yield "#### Changes", "", "| | object | fields |", "| --- | --- | --- |"
    for each in revision.changes[:CHANGES_SHOWN_MAX]:
        yield (f"| {WHAT.get(each.action, '')} | {code(each.name)} | {_fields(each, hidden)} |",)
    if (left := max(revision.change_count, len(revision.changes)) - CHANGES_SHOWN_MAX) > 0:
        yield (f"| | and {left:,} more | |",)
    yield ("",)


def _hidden(revision: pb.GitRevision) -> frozenset[str]:
    """The objects and files in which a secret stands: nothing of them is shown."""
    found = (each for each in revision.problems if each.rule == SECRET_RULE)
    return frozenset(place for each in found for place in (each.name, each.file) if place)


def _fields(change: definition_pb2.DefinitionChange, hidden: frozenset[str]) -> str:
    if change.reason:
        return code(change.reason)
    told = []
    for each in change.fields[:FIELDS_SHOWN_MAX]:
        if {change.name, change.file} & hidden:
            told.append(code(each.path))
            continue
        before, after = (code(value, VALUE_CHARACTERS_MAX) or "nothing" for value in (each.before, each.after))
        told.append(f"{code(each.path)}: {before} → {after}")
    if (left := len(change.fields) - FIELDS_SHOWN_MAX) > 0:
        told.append(f"and {left:,} more")
    return "; ".join(told)


def _impacts(told: Told) -> Lines:
    if not told.impacts:
        return
    yield "#### Impact", "", "By what was measured before; nothing was looked at. P50, and P90 where it differs.", ""
    for each in told.impacts:
        yield f"**{code(each.plan)}**", ""
        if each.proposed is None:
            yield code(each.said) or "can't be told", ""
            continue
        yield from _impact(each.proposed, each.stored)
    if told.left_out_count:
        yield f"{spell_count(told.left_out_count, 'other plan')} changed; `pymigrate impact` tells of each.", ""


def _impact(proposed: impact_pb2.Impact, stored: impact_pb2.Impact | None) -> Lines:
    yield "| | stored | proposed |", "| --- | --- | --- |"
    for name, figure in FIGURES.items():
        known = figure(stored.summary) if stored is not None else ""
        yield (f"| {name} | {known} | {figure(proposed.summary)} |",)
    yield ("",)
    kept = stored.departments if stored is not None else {}
    departments = sorted(proposed.departments.keys() | kept.keys())
    if departments:
        yield "| department | downtime, stored | downtime, proposed | cost, proposed |", "| --- | --- | --- | --- |"
        for each in departments[:DEPARTMENTS_SHOWN_MAX]:
            before, after = _of(kept, each), _of(proposed.departments, each)
            costs = _costs(after.costs) if after is not None else ""
            yield (f"| {code(each)} | {_downtime(before)} | {_downtime(after)} | {costs} |",)
        if (left := len(departments) - DEPARTMENTS_SHOWN_MAX) > 0:
            yield (f"| and {left:,} more | | | |",)
        yield ("",)
    unknowns = proposed.unknowns
    for each in unknowns[:UNKNOWNS_SHOWN_MAX]:
        yield (f"- not known: {code(each)}",)
    if (left := len(unknowns) - UNKNOWNS_SHOWN_MAX) > 0:
        yield (f"- not known: {left:,} more",)
    if unknowns:
        yield ("",)


def _of(departments: Mapping[str, impact_pb2.DepartmentImpact], name: str) -> impact_pb2.DepartmentImpact | None:
    return departments[name] if name in departments else None  # noqa: SIM401 (a map of protobuf makes what it is asked for)


def _downtime(department: impact_pb2.DepartmentImpact | None) -> str:
    return _span(department.downtime_seconds) if department is not None else "none"


def _span(seconds: impact_pb2.Quantiles) -> str:
    return spell_quantiles(Quantiles(seconds.p50, seconds.p90))


def _costs(costs: Mapping[str, impact_pb2.Quantiles]) -> str:
    return code(spell_costs({name: Quantiles(each.p50, each.p90) for name, each in costs.items()})) or "none"


FIGURES: Mapping[str, Callable[[impact_pb2.ImpactSummary], str]] = {
    "rating": lambda summary: enum_word(impact_pb2.ImpactRating.DESCRIPTOR, summary.rating),
    "duration": lambda summary: _span(summary.makespan_seconds),
    "downtime": lambda summary: _span(summary.downtime_seconds),
    "cost": lambda summary: _costs(summary.costs),
    "people": lambda summary: f"{summary.users:,}",
    "rows": lambda summary: f"{summary.rows:,}" if summary.rows >= 0 else "not all known",
    "phases within windows": lambda summary: f"{summary.phases_in_window} of {summary.phases}",
}
