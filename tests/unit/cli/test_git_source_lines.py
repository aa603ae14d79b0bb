"""What a terminal says of a source: what a person has to do comes whole, to be copied."""

from pymigrate.engine.entrypoints.cli.git_source_lines import status_lines
from pymigrate.v1 import git_source_pb2 as pb

COMMIT = "1a7121550a106c606f86372348913b679a05de3c"
RUN = "environments/prod/plans/p/runs/r1"


def lines(status: pb.GitSourceStatus) -> list[str]:
    """A source of this status."""
    return list(status_lines(pb.GitSource(name="gitSources/prod", url="https://git.example.com/a.git", status=status)))


def reversal(state: pb.ReversalState.ValueType, *, is_undone: bool = False) -> pb.GitSourceStatus:
    """One whose newest commit goes back behind a run."""
    run = pb.ReversedRun(run=RUN, state="succeeded", rows=5, phases=["orders"], is_undone=is_undone)
    return pb.GitSourceStatus(reversal=pb.Reversal(commit=COMMIT, state=state, runs=[run], approvals_min=1))


def test_where_nothing_is_applied_no_time_and_no_objects_are_told() -> None:
    assert "applied: none" in lines(pb.GitSourceStatus())


def test_what_waits_for_approval_says_the_command_that_approves_it() -> None:
    told = lines(reversal(pb.REVERSAL_STATE_AWAITING_APPROVAL))
    assert f"  to approve it: pymigrate approve-reversal prod {COMMIT}" in told
    assert f"  undo {RUN} (succeeded, 5 rows): orders" in told


def test_runs_that_were_undone_or_stay_are_not_told_as_if_they_were_to_be_undone() -> None:
    done = lines(reversal(pb.REVERSAL_STATE_DONE, is_undone=True))
    assert f"  undone {RUN} (succeeded, 5 rows): orders" in done
    assert not any("to approve it" in each for each in done)
    assert f"  stays {RUN} (succeeded, 5 rows): orders" in lines(reversal(pb.REVERSAL_STATE_REPORTED))
