"""What is said of a pull request: the changes, the problems, the runs and the cost; and nothing in it that acts or gives a secret away."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.application.gitops.pull_request_texts import (
    CHANGES_SHOWN_MAX,
    CHARACTERS_MAX,
    PROBLEMS_SHOWN_MAX,
    PlanImpact,
    Told,
    code,
    comment_of,
    marker_of,
    unchecked_of,
)
from pymigrate.v1 import definition_pb2, impact_pb2
from pymigrate.v1 import git_source_pb2 as pb

SOURCE = "gitSources/warehouse"
COMMIT = "da1560886d4f094c3e6c9ef40349f7d38b5d27d7"
HOSTILE = "@everyone <img src=x onerror=alert(1)> `/close` | [x](https://evil.example) #1 !2\n/merge\n- [ ] a \u202eb"
SPAN = re.compile(r"`[^`\n]*`")


def change(name: str = "environments/prod/plans/orders", **given: object) -> definition_pb2.DefinitionChange:
    """An object that is updated."""
    said = {"kind": "Plan", "action": definition_pb2.CHANGE_ACTION_UPDATE, "file": "plans/orders.yaml", **given}
    return definition_pb2.DefinitionChange(name=name, **said)  # type: ignore[arg-type]  # as a test gives them


def field(path: str, before: str, after: str) -> definition_pb2.FieldChange:
    """A field that differs."""
    return definition_pb2.FieldChange(path=path, before=before, after=after)


def revision(**given: object) -> pb.GitRevision:
    """What came of the head."""
    made = pb.GitRevision(commit=COMMIT, subject="Add orders", **given)  # type: ignore[arg-type]  # as a test gives them
    made.change_count = made.change_count or len(made.changes)
    return made


def impact(p50: float, p90: float, *departments: str) -> impact_pb2.Impact:
    """A plan that takes so long, and that takes these departments down for as long."""
    spread = impact_pb2.Quantiles(p50=p50, p90=p90)
    made = impact_pb2.Impact()
    found = made.summary
    found.rating, found.rows, found.users, found.phases = impact_pb2.IMPACT_RATING_MODERATE, 1_000_000, 10, 1
    found.makespan_seconds.CopyFrom(spread)
    found.downtime_seconds.CopyFrom(spread)
    found.costs["EUR"].CopyFrom(spread)
    for name in departments:
        made.departments[name].downtime_seconds.CopyFrom(spread)
    return made


def said(told: pb.GitRevision, *impacts: PlanImpact) -> str:
    """The comment."""
    return comment_of(Told(SOURCE, told, impacts))


def test_what_would_change_is_a_table_by_object_with_fields() -> None:
    text = said(revision(changes=[change(fields=[field("lanes_max", "4", "8"), field("labels.team", "", '"a"')])]))
    assert text.startswith("### PyMigrate: `warehouse`\n\n**1 object would change**, 0 problems. Commit `da1560886d4f`")
    assert (
        '| update | `environments/prod/plans/orders` | `lanes_max`: `4` → `8`; `labels.team`: nothing → `"a"` |' in text
    )


def test_what_is_kept_says_why() -> None:
    text = said(revision(changes=[change(action=definition_pb2.CHANGE_ACTION_KEEP, reason="it holds data")]))
    assert "| keep | `environments/prod/plans/orders` | `it holds data` |" in text


def test_nothing_is_told_as_nothing() -> None:
    assert "**Nothing would change.**" in said(revision())


def test_problems_stand_first_with_file_and_line() -> None:
    problem = definition_pb2.DefinitionProblem(
        file="plans/orders.yaml", line=7, path="spec.lanesMax", description="is 1 to 50"
    )
    text = said(revision(problems=[problem], changes=[change()]))
    assert "**1 problem: this would not be applied.**" in text
    assert "| `plans/orders.yaml:7` | `spec.lanesMax: is 1 to 50` |" in text
    assert text.index("#### Problems") < text.index("#### Changes")


def test_runs_that_would_be_undone_are_told_with_their_rows() -> None:
    run = pb.ReversedRun(run="r7", state="succeeded", phases=["orders", "items"], rows=1_200, sealed_phases=["items"])
    reversal = pb.Reversal(
        commit=COMMIT,
        reverted_commits=["c" * 40],
        state=pb.REVERSAL_STATE_AWAITING_APPROVAL,
        runs=[run],
        approvals_min=2,
        message="items is sealed",
    )
    text = said(revision(reversal=reversal))
    assert "This goes back behind `cccccccccccc` (awaiting approval, with 2 approvals)." in text
    assert "| `r7` | `succeeded` | `orders, items (can't be undone: items)` | 1,200 |" in text
    assert "`items is sealed`" in text


def test_the_impact_as_proposed_stands_beside_the_stored_one() -> None:
    plan = PlanImpact(
        "environments/prod/plans/orders", impact(7_200, 9_000, "sales", "hr"), impact(3_600, 3_600, "sales")
    )
    text = said(revision(changes=[change()]), plan)
    assert "| duration | 1 h | 2 h (P90 2 h 30 min) |" in text
    assert "| cost | `EUR 3,600` | `EUR 7,200 (P90 EUR 9,000)` |" in text
    assert "| `sales` | 1 h | 2 h (P90 2 h 30 min) |" in text
    assert "| `hr` | none | 2 h (P90 2 h 30 min) |" in text
    assert "| rows | 1,000,000 | 1,000,000 |" in text


def test_the_impact_of_a_new_plan_stands_alone() -> None:
    assert "| duration |  | 2 h |" in said(revision(), PlanImpact("p", impact(7_200, 7_200)))


def test_an_impact_that_cant_be_told_says_why() -> None:
    assert "`it waits for ever`" in said(revision(), PlanImpact("p", said="it waits for ever"))


def test_plans_beyond_the_first_are_counted() -> None:
    text = comment_of(Told(SOURCE, revision(), [PlanImpact("p", said="x")], left_out_count=3))
    assert "3 other plans changed" in text


def test_long_lists_are_cut_with_their_count() -> None:
    problems = [
        definition_pb2.DefinitionProblem(file=f"{n}.yaml", description="x") for n in range(PROBLEMS_SHOWN_MAX + 5)
    ]
    changes = [change(f"environments/prod/plans/p{n}") for n in range(CHANGES_SHOWN_MAX + 7)]
    text = said(revision(problems=problems, changes=changes, change_count=1_000))
    assert "| | and 5 more |" in text
    assert f"| | and {1_000 - CHANGES_SHOWN_MAX:,} more | |" in text


def test_a_comment_is_never_longer_than_a_host_takes() -> None:
    fields = [field("p" * 500, "b" * 500, "a" * 500)] * 20
    text = said(revision(changes=[change(f"{'n' * 280}{n}", fields=fields) for n in range(100)]))
    assert len(text) < CHARACTERS_MAX + 200
    assert text.endswith("_More is left out: `pymigrate diff` tells all of it._")


def test_nothing_of_an_object_with_a_secret_in_it_is_shown() -> None:
    problem = definition_pb2.DefinitionProblem(
        file="c.yaml", line=3, name="environments/prod/connections/crm", description="is a secret", rule="secret"
    )
    changes = [
        change(
            "environments/prod/connections/crm", file="c.yaml", fields=[field("postgres.password", "", '"hunter2"')]
        ),
        change("environments/prod/connections/erp", file="c.yaml", fields=[field("options.key", "", '"hunter3"')]),
        change("environments/prod/plans/p", file="p.yaml", fields=[field("lanes_max", "1", "2")]),
    ]
    text = said(revision(problems=[problem], changes=changes))
    assert "hunter" not in text
    assert "`postgres.password`" in text
    assert "`lanes_max`: `1` → `2`" in text


def outside_of_code(text: str) -> str:
    """What hosts render."""
    return SPAN.sub("", text)


@pytest.mark.parametrize("hostile", [HOSTILE, "``` @a ```", "\\`@a", "`" * 7, "a`b`c @d", "<!-- -->", "\r\n/close"])
def test_nothing_that_others_wrote_acts(hostile: str) -> None:
    problem = definition_pb2.DefinitionProblem(file=hostile, line=1, name=hostile, path=hostile, description=hostile)
    run = pb.ReversedRun(run=hostile, state=hostile, phases=[hostile], sealed_phases=[hostile])
    reversal = pb.Reversal(runs=[run], reverted_commits=[hostile], message=hostile)
    changes = [change(hostile, fields=[field(hostile, hostile, hostile)], file="x"), change(hostile, reason=hostile)]
    costly = impact(1, 2, hostile)
    costly.summary.costs[hostile].p90 = 3
    costly.unknowns.append(hostile)
    made = pb.GitRevision(commit=hostile, subject=hostile, problems=[problem], reversal=reversal, changes=changes)
    text = comment_of(
        Told(f"gitSources/{hostile}", made, [PlanImpact(hostile, costly), PlanImpact(hostile, said=hostile)])
    )
    text += unchecked_of(SOURCE, hostile, hostile, hostile)
    rendered = outside_of_code(text)
    for sign in ("@", "<", "[", "#1", "!2", "evil", "`", "\u202e"):
        assert sign not in rendered, sign
    assert all(not line.startswith("/") for line in text.splitlines())
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in rows)


@given(st.text(max_size=50))
def test_code_is_one_span_on_one_line(text: str) -> None:
    found = code(text)
    assert found == "" or re.fullmatch(r"`[^`|\n\r]+`", found)


def test_a_marker_names_the_source() -> None:
    assert marker_of(SOURCE) == "<!-- pymigrate:warehouse -->"


def test_a_head_that_was_not_checked_says_why() -> None:
    text = unchecked_of(SOURCE, COMMIT, "FORK", "it is in another repository")
    assert "**Not checked** (`FORK`). Commit `da1560886d4f`. `it is in another repository`" in text
