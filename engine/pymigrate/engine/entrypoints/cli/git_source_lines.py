"""Where sources stand, and what came of their commits, as lines and tables for a terminal."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from pymigrate.engine.entrypoints.cli.definition_reports import change_lines, plan_lines, problem_line
from pymigrate.engine.entrypoints.cli.spelling import spell_amount, spell_moment
from pymigrate.v1 import git_source_pb2
from pymigrate.v1.shape import enum_word

SHA_CHARACTERS = 12
REPORTED = git_source_pb2.REVERSAL_STATE_REPORTED
_REVISION_STATES = git_source_pb2.GitRevisionState.DESCRIPTOR
_REVERSAL_STATES = git_source_pb2.ReversalState.DESCRIPTOR


def sources_table(found: Sequence[git_source_pb2.GitSource]) -> Table:
    """A source a line."""
    grid = Table(box=None, pad_edge=False)
    for column in ("source", "environment", "ready", "reason", "applied", "since"):
        grid.add_column(column, no_wrap=True)
    for each in found:
        ready = next((condition for condition in each.status.conditions if condition.type == "Ready"), None)
        grid.add_row(
            each.name.rpartition("/")[2],
            each.environment or "(several)",
            "unknown" if ready is None else "yes" if ready.is_met else "no",
            ready.reason if ready is not None else "-",
            short(each.status.applied_commit),
            spell_moment(each.status.applied_time),
        )
    return grid


def status_lines(source: git_source_pb2.GitSource) -> Iterator[str]:
    """Where a source stands, with everything that keeps it."""
    status = source.status
    yield f"{source.name}: {source.url}{f' ({source.path})' if source.path else ''}"
    when = f" {spell_moment(status.applied_time)}, {status.object_count:,} objects" if status.applied_commit else ""
    yield f"applied: {short(status.applied_commit)}{when}"
    if status.seen_commit != status.applied_commit:
        yield f"seen: {short(status.seen_commit)} {spell_moment(status.seen_time)}"
    yield f"fetched: {spell_moment(status.fetch_time)}"
    if status.is_suspended:
        yield f"suspended by {status.suspended_by}" + (f": {status.suspend_reason}" if status.suspend_reason else "")
    for each in status.conditions:
        met = "yes" if each.is_met else "no"
        said = f": {each.message}" if each.message and not each.is_met else ""
        yield f"  {each.type}: {met}, {each.reason}, since {spell_moment(each.transition_time)}{said}"
    yield from (f"  problem: {problem_line(each)}" for each in status.problems)
    if status.drift:
        yield "differs from the commit:"
        yield from change_lines(status.drift)
    if status.HasField("reversal"):
        yield from reversal_lines(status.reversal)
        if status.reversal.state == git_source_pb2.REVERSAL_STATE_AWAITING_APPROVAL:
            yield f"  to approve it: pymigrate approve-reversal {source.name.rpartition('/')[2]} {status.reversal.commit}"


def revision_lines(revision: git_source_pb2.GitRevision) -> Iterator[str]:
    """What came, or would come, of a commit."""
    yield revision_line(revision)
    yield from change_lines(revision.changes)
    if revision.change_count > len(revision.changes):
        yield f"  and {revision.change_count - len(revision.changes):,} more"
    yield from plan_lines(revision.plans)
    yield from (f"  problem: {problem_line(each)}" for each in revision.problems)
    if revision.HasField("reversal"):
        yield from reversal_lines(revision.reversal)
    yield from (f"  started {run}" for run in revision.runs)


def revision_line(revision: git_source_pb2.GitRevision) -> str:
    """A commit on one line: what became of it, and by whom."""
    state = enum_word(_REVISION_STATES, revision.state) or "unknown"
    number = f"{revision.name.rpartition('/')[2]}. " if revision.name else ""
    when = f" {spell_moment(revision.time)}" if revision.time.seconds else ""
    about = f" {revision.subject}" if revision.subject else ""
    counted = f", {revision.change_count:,} changed" if revision.change_count else ", nothing changed"
    return f"{number}{short(revision.commit)}{about} ({revision.author}): {state}{when}{counted}"


def reversal_lines(reversal: git_source_pb2.Reversal) -> Iterator[str]:
    """What is undone for a commit, in its order."""
    state = enum_word(_REVERSAL_STATES, reversal.state).replace("_", " ")
    behind = ", ".join(short(commit) for commit in reversal.reverted_commits)
    yield f"{short(reversal.commit)} goes back behind {behind}: {state}" + (
        f": {reversal.message}" if reversal.message else ""
    )
    if reversal.approvals_min:
        yield f"  approved by {len(reversal.approved_by)} of {reversal.approvals_min}" + (
            f": {', '.join(reversal.approved_by)}" if reversal.approved_by else ""
        )
    for run in reversal.runs:
        phases = ", ".join(run.phases) or "nothing published"
        sealed = f"; sealed: {', '.join(run.sealed_phases)}" if run.sealed_phases else ""
        word = "undone" if run.is_undone else "stays" if reversal.state == REPORTED else "undo"
        yield f"  {word} {run.run} ({run.state}, {spell_amount(run.rows)} rows): {phases}{sealed}"


def short(digest: str) -> str:
    """The beginning of a digest, which is enough to tell it from others."""
    return digest[:SHA_CHARACTERS] or "none"
