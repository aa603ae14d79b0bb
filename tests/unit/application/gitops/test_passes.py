"""A pass of a source: what becomes of a commit, and that the same commit twice is nothing."""

import pytest

from pymigrate.engine.application.gitops.git_source_kinds import GIT_SOURCES
from pymigrate.engine.application.gitops.pass_outcomes import Wish
from pymigrate.engine.application.kinds import DEPARTMENTS, ENVIRONMENTS
from pymigrate.engine.domain.errors import InvalidDefinition, NotFound, NotOwned
from pymigrate.engine.ports.repository import Reference, ReferenceKind
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.repositories import MemoryHosted
from pymigrate.v1 import environment_pb2, git_source_pb2
from tests.unit.application.gitops.sourced import ENVIRONMENT, ME, NAME, Sourced, applied, department

MET = {
    "Ready": "READY",
    "Available": "FETCHED",
    "Verified": "NOT_DEMANDED",
    "Valid": "VALID",
    "Applied": "APPLIED",
    "InSync": "IN_SYNC",
    "Reversed": "NOTHING_TO_REVERSE",
}
State = git_source_pb2.GitRevisionState


async def test_the_first_commit_is_applied_as_one_revision_in_the_source_s_name() -> None:
    scene = Sourced()
    sha = scene.push({"env.yaml": ENVIRONMENT, "a/b.yaml": department("sales"), "README.md": "x"}, "Begin\n\nMore")
    await scene.declare()
    outcome = await scene.passed()
    assert (outcome.result, outcome.is_well) == ("applied", True)
    assert await scene.names() == ["departments/sales"]
    owners = await scene.store.read(lambda unit: [each[0] for each in unit.resources.owned("git/warehouse")])
    assert owners == ["environments/prod", "environments/prod/departments/sales"]
    [revision] = await scene.revisions()
    assert revision == outcome.revision
    assert (revision.name, revision.commit, revision.subject) == (f"{NAME}/revisions/1", sha, "Begin")
    assert (revision.author, revision.state, revision.actor) == (
        "Ada <ada@example.com>",
        State.GIT_REVISION_STATE_APPLIED,
        "git",
    )
    assert revision.change_count == len(revision.changes) == 2
    status = await scene.status()
    assert (status.applied_commit, status.seen_commit, status.object_count) == (sha, sha, 2)
    assert [each.type for each in status.conditions] == list(MET)
    assert await scene.conditions() == MET
    assert await scene.audited("apply") == [("git/warehouse", f"apply {sha}", "2 created")]
    assert scene.told == [revision]


async def test_the_same_commit_again_reads_no_file_and_writes_nothing() -> None:
    scene = await applied()
    writes, asked = scene.store.writes, scene.copy().asked.copy()
    scene.clock.advance(60)
    outcome = await scene.passed()
    assert (outcome.result, outcome.is_well) == ("unchanged", True)
    assert scene.store.writes == writes
    assert scene.copy().asked - asked == {"find": 1}


async def test_an_engine_that_starts_again_knows_what_is_applied() -> None:
    scene = (await applied()).again()
    writes, asked = scene.store.writes, scene.copy().asked.copy()
    assert (await scene.passed()).result == "unchanged"
    assert scene.store.writes == writes
    assert scene.copy().asked - asked == {"find": 1}


async def test_another_commit_is_applied_with_only_its_own_files_read() -> None:
    scene = await applied()
    before = scene.copy().asked.copy()
    sha = scene.push({"b.yaml": department("sales", "Sells"), "c.yaml": department("hr")})
    assert (await scene.passed()).result == "applied"
    assert (scene.copy().asked - before)["read"] == 2
    revision = (await scene.revisions())[-1]
    assert [(each.kind, each.file) for each in revision.changes] == [("Department", "b.yaml"), ("Department", "c.yaml")]
    assert (await scene.status()).applied_commit == sha


async def test_a_commit_that_changes_nothing_here_is_noted_as_applied() -> None:
    scene = await applied(path="prod")
    assert await scene.conditions() == {**await scene.conditions(), "Valid": "!FOLDER_MISSING"}
    scene.push({"prod/env.yaml": ENVIRONMENT})
    await scene.passed()
    sha = scene.push({"elsewhere/x.yaml": "[}"})
    assert (await scene.passed()).result == "applied"
    revision = (await scene.revisions())[-1]
    assert (revision.commit, revision.change_count) == (sha, 0)


async def test_documents_of_other_environments_are_skipped_and_counted() -> None:
    scene = await applied()
    other = "apiVersion: pymigrate.io/v1alpha1\nkind: Department\nmetadata: {name: x, environment: dev}\nspec: {}\n"
    scene.push({"other.yaml": other})
    await scene.passed()
    assert (await scene.status()).skipped_count == 1


async def test_what_a_source_declares_is_changed_by_nobody_else() -> None:
    scene = await applied()
    name = "environments/prod/departments/sales"
    with pytest.raises(NotOwned, match="managed by git/warehouse"):
        await scene.store.transact(lambda unit: scene.catalog.delete(unit, DEPARTMENTS, name, "", ME))


async def test_a_source_that_is_gone_is_passed_by_nobody() -> None:
    with pytest.raises(NotFound):
        await Sourced().passed()


async def test_a_status_that_somebody_wrote_meanwhile_makes_the_pass_begin_again() -> None:
    scene = await applied()
    scene.push({"c.yaml": department("hr")})

    def write(unit: Unit) -> None:
        source = GIT_SOURCES.read(unit.resources.list("gitSources", "", "", 1)[0])
        version, body = unit.git_records.status(source.uid) or (0, b"")
        unit.git_records.set_status(source.uid, body, version)

    scene.store.meddle = write
    assert (await scene.passed()).result == "applied"
    assert len(await scene.revisions()) == 2


async def test_a_source_that_only_looks_tells_once_and_applies_when_it_is_asked_to() -> None:
    scene = Sourced()
    sha = scene.push({"env.yaml": ENVIRONMENT, "b.yaml": department("sales")})
    await scene.declare(syncMode="SYNC_MODE_DRY_RUN")
    outcome = await scene.passed()
    assert (outcome.result, outcome.is_well) == ("checked", True)
    assert await scene.names() == []
    assert (await scene.conditions())["Applied"] == "!DRY_RUN"
    writes = scene.store.writes
    await scene.passed()
    assert scene.store.writes == writes
    [checked] = await scene.revisions()
    assert (checked.state, checked.change_count) == (State.GIT_REVISION_STATE_CHECKED, 2)
    assert (await scene.passed(wish=Wish("ada", applies=True))).result == "applied"
    assert (await scene.revisions())[-1].actor == "ada"
    assert await scene.audited("apply") == [("ada", f"apply {sha}", "2 created")]
    assert await scene.conditions() == MET


async def test_a_check_tells_everything_and_stores_nothing() -> None:
    scene = await applied()
    scene.push({"c.yaml": department("hr")}, branch="feature", parents=[scene.hosted.branches["main"]])
    writes = scene.store.writes
    revision = await scene.passes.check(NAME, Reference(ReferenceKind.BRANCH, "feature"))
    assert scene.store.writes == writes
    assert (revision.name, revision.state) == ("", State.GIT_REVISION_STATE_CHECKED)
    assert [each.name for each in revision.changes] == ["environments/prod/departments/hr"]
    scene.push({"d.yaml": "[}"}, branch="feature")
    revision = await scene.passes.check(NAME, Reference(ReferenceKind.BRANCH, "feature"))
    assert [(each.file, each.line) for each in revision.problems] == [("d.yaml", 1)]


async def test_a_declared_branch_tag_or_commit_is_what_is_applied() -> None:
    scene = Sourced()
    first = scene.push({"env.yaml": ENVIRONMENT})
    scene.push({"b.yaml": department("sales")})
    scene.hosted.tags["v1"] = first
    await scene.declare(tag="v1")
    await scene.passed()
    assert (await scene.status()).applied_commit == first
    await scene.change("tag", "branch", branch="main")
    await scene.passed()
    assert (await scene.status()).applied_commit == scene.hosted.branches["main"]
    assert (await scene.conditions())["Applied"] == "APPLIED"
    await scene.change("branch", "commit", commit=first)
    await scene.passed()
    assert (await scene.status()).applied_commit == first


async def test_what_a_source_no_longer_declares_is_deleted_where_it_says_so() -> None:
    scene = await applied(prunePolicy="PRUNE_POLICY_DELETE")
    scene.push({"a.yaml": None})
    await scene.passed()
    assert await scene.names() == ["departments/sales"]
    kept = await applied()
    kept.push({"a.yaml": None})
    await kept.passed()
    assert await kept.names() == ["departments/crm", "departments/sales"]


async def test_another_side_s_object_is_taken_over_where_that_side_is_named() -> None:
    scene = Sourced()
    scene.push({"env.yaml": ENVIRONMENT, "b.yaml": department("sales")})

    def declare(unit):  # type: ignore[no-untyped-def]  # a unit of work
        scene.catalog.create(unit, ENVIRONMENTS, "", "prod", environment_pb2.Environment(), ME)

    await scene.store.transact(declare)
    await scene.declare()
    outcome = await scene.passed()
    assert (outcome.result, outcome.is_well) == ("refused", False)
    assert (await scene.conditions())["Valid"] == "!DEFINITIONS_INVALID"
    assert "env.yaml:1" in await scene.said("Valid")
    assert await scene.names() == []
    await scene.change("taken_over_sides", takenOverSides=["api"])
    assert (await scene.passed()).result == "applied"


CHILD = """apiVersion: pymigrate.io/v1alpha1
kind: GitSource
metadata: {name: child}
spec: {url: "https://git.example.com/other.git", environment: prod}
"""


async def test_a_source_of_one_environment_declares_no_sources() -> None:
    scene = await applied()
    scene.push({"child.yaml": CHILD})
    assert (await scene.passed()).result == "applied"
    assert (await scene.status()).skipped_count == 1
    with pytest.raises(NotFound):
        await scene.passed("gitSources/child")


async def test_what_a_source_declared_that_is_pruned_is_its_own_side_s_from_then_on() -> None:
    scene = Sourced()
    scene.push({"env.yaml": ENVIRONMENT, "child.yaml": CHILD})
    await scene.declare(environment="", prunePolicy="PRUNE_POLICY_DELETE")
    await scene.passed()
    url = "https://git.example.com/other.git"
    scene.repositories.hosted[url] = MemoryHosted()
    scene.repositories.hosted[url].commit({"x.yaml": department("hr")})
    assert (await scene.passed("gitSources/child")).result == "applied"
    scene.push({"child.yaml": None})
    await scene.passed()
    owned = await scene.store.read(lambda unit: [each[0] for each in unit.resources.owned("git/warehouse")])
    assert "environments/prod/departments/hr" in owned
    with pytest.raises(NotFound):
        await scene.passed("gitSources/child")


async def test_an_environment_is_not_changed_while_it_holds_what_the_source_declares() -> None:
    scene = await applied()
    with pytest.raises(InvalidDefinition, match="declares objects of `prod`"):
        await scene.change("environment", environment="dev")


async def test_who_asks_for_what_is_applied_already_costs_no_more_than_the_clock() -> None:
    scene = await applied()
    writes, asked = scene.store.writes, scene.copy().asked.copy()
    outcome = await scene.passed(wish=Wish("ada", applies=True))
    assert outcome.result == "unchanged"
    assert (scene.store.writes, scene.copy().asked - asked) == (writes, {"find": 1})
    assert (await scene.passes.revision_of(outcome)).commit == (await scene.status()).applied_commit
