"""What happens to sources that nobody plans for: two that declare the same, one that is moved or deleted amid a pass, a folder that is
empty, a clock that goes back."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.gitops.git_source_kinds import GIT_SOURCES
from pymigrate.engine.application.kinds import ENVIRONMENTS
from pymigrate.engine.domain.errors import NotFound, NotOwned, PyMigrateError
from pymigrate.engine.ports.store import Unit
from pymigrate.engine.testing.repositories import MemoryHosted
from pymigrate.v1 import environment_pb2, git_source_pb2
from tests.unit.application.gitops.sourced import ENVIRONMENT, ME, NAME, SYSTEMS, Sourced, applied, department, plan

OTHER = "gitSources/other"
OTHER_URL = "https://git.example.com/team/other.git"
DELETING = "PRUNE_POLICY_DELETE"


async def owners(scene: Sourced) -> dict[str, str]:
    """Who declares what in the environment."""
    found = await scene.store.read(lambda unit: list(unit.resources.within("environments/prod")))
    return {each.name.removeprefix("environments/prod/"): each.managed_by for each in found}


def other_repository(scene: Sourced) -> MemoryHosted:
    """Another repository that is hosted besides."""
    return scene.repositories.hosted.setdefault(OTHER_URL, MemoryHosted())


async def test_of_two_sources_that_declare_the_same_object_the_first_keeps_it_and_the_second_is_told_whose_it_is() -> (
    None
):
    scene = await applied()
    other_repository(scene).commit({"x.yaml": department("sales", "theirs"), "y.yaml": department("hr")})
    await scene.declare("other", url=OTHER_URL)
    outcome = await scene.passed(OTHER)
    assert (outcome.result, outcome.is_well) == ("refused", False)
    [problem] = (await scene.status(OTHER)).problems
    assert (problem.file, problem.line, problem.rule) == ("x.yaml", 1, "refused")
    assert "git/warehouse" in problem.description
    assert (await owners(scene)) == {"departments/crm": "git/warehouse", "departments/sales": "git/warehouse"}
    await scene.passed()
    assert (await scene.conditions())["Ready"] == "READY"


async def test_an_object_goes_from_one_source_to_another_when_the_first_declares_it_no_longer() -> None:
    scene = await applied(prunePolicy=DELETING)
    other_repository(scene).commit({"x.yaml": department("sales")})
    await scene.declare("other", url=OTHER_URL)
    await scene.passed(OTHER)
    scene.push({"b.yaml": None})
    await scene.passed()
    assert (await scene.passed(OTHER)).result == "applied"
    assert (await owners(scene)) == {"departments/crm": "git/warehouse", "departments/sales": "git/other"}


async def test_a_source_that_is_deleted_amid_its_pass_writes_nothing_more() -> None:
    scene = await applied()
    scene.push({"c.yaml": department("hr")})
    scene.store.meddle = lambda unit: scene.catalog.delete(unit, GIT_SOURCES, NAME, "", ME)
    with pytest.raises(NotFound):
        await scene.passed()
    assert "departments/hr" not in await scene.names()
    assert (await owners(scene)) == {"departments/crm": "api", "departments/sales": "api"}


async def test_a_source_that_is_deleted_and_declared_anew_amid_a_pass_is_another_one() -> None:
    scene = await applied()
    scene.push({"c.yaml": department("hr")})

    def meddle(unit: Unit) -> None:
        source = scene.catalog.get(unit, GIT_SOURCES, NAME)
        scene.catalog.delete(unit, GIT_SOURCES, NAME, "", ME)
        source.path = "elsewhere"
        scene.catalog.create(unit, GIT_SOURCES, "", "warehouse", source, ME)

    scene.store.meddle = meddle
    with pytest.raises(NotFound):
        await scene.passed()
    assert "departments/hr" not in await scene.names()
    assert not (await scene.status()).applied_commit


async def test_a_source_that_is_moved_to_another_branch_amid_its_pass_applies_that_one() -> None:
    scene = await applied(branch="main")
    first = scene.hosted.branches["main"]
    scene.push({"c.yaml": department("hr")})
    wanted = scene.push({"d.yaml": department("it")}, branch="release", parents=[first])

    def meddle(unit: Unit) -> None:
        source = scene.catalog.get(unit, GIT_SOURCES, NAME)
        source.branch = "release"
        scene.catalog.update(unit, GIT_SOURCES, source, FieldMask(paths=["branch"]), ME)

    scene.store.meddle = meddle
    await scene.passed()
    assert (await scene.status()).applied_commit == wanted
    assert "departments/hr" not in await scene.names()


async def test_a_source_that_is_moved_to_another_repository_is_what_that_one_says_and_no_rewritten_history() -> None:
    scene = await applied(prunePolicy=DELETING)
    scene.clock.advance(1)
    wanted = other_repository(scene).commit({"x.yaml": department("hr")})
    await scene.change("url", url=OTHER_URL)
    assert (await scene.passed()).result == "applied"
    assert (await scene.status()).applied_commit == wanted
    assert await scene.names() == ["departments/hr"]
    assert (await scene.conditions())["Applied"] == "APPLIED"


async def test_an_environment_is_deleted_by_nobody_while_a_source_declares_anything_in_it() -> None:
    scene = await applied()

    def delete(unit: Unit) -> None:
        scene.catalog.delete(unit, ENVIRONMENTS, "environments/prod", "", ME)

    with pytest.raises(NotOwned, match="git/warehouse"):
        await scene.store.transact(delete)


async def test_an_environment_of_another_side_is_deleted_by_nobody_while_a_source_declares_anything_in_it() -> None:
    scene = Sourced()

    def declare(unit: Unit) -> None:
        scene.catalog.create(unit, ENVIRONMENTS, "", "prod", environment_pb2.Environment(), ME)

    def delete(unit: Unit) -> None:
        scene.catalog.delete(unit, ENVIRONMENTS, "environments/prod", "", ME)

    await scene.store.transact(declare)
    scene.push({"b.yaml": department("sales")})
    await scene.declare()
    await scene.passed()
    with pytest.raises(PyMigrateError) as raised:
        await scene.store.transact(delete)
    assert "environments/prod" in raised.value.message


async def test_a_source_whose_environment_is_gone_says_so_and_applies_again_when_it_is_back() -> None:
    scene = Sourced()
    scene.push({"b.yaml": department("sales")})
    await scene.declare()
    assert (await scene.passed()).result == "refused"
    assert "environments/prod" in await scene.said("Valid")
    await scene.store.transact(
        lambda unit: scene.catalog.create(unit, ENVIRONMENTS, "", "prod", environment_pb2.Environment(), ME)
    )
    assert (await scene.passed()).result == "applied"


async def test_of_two_pushes_within_a_pass_the_second_comes_with_the_next() -> None:
    scene = await applied()
    scene.push({"c.yaml": department("hr")})

    def push(_: Unit) -> None:
        scene.push({"d.yaml": department("it")})

    scene.store.meddle = push
    await scene.passed()
    assert await scene.names() == ["departments/crm", "departments/hr", "departments/sales"]
    await scene.passed()
    assert "departments/it" in await scene.names()


async def test_a_clock_that_goes_back_takes_nothing_from_passes() -> None:
    scene = await applied()
    scene.clock.jump(-86_400)
    scene.push({"c.yaml": department("hr")})
    assert (await scene.passed()).result == "applied"
    assert (await scene.conditions())["Ready"] == "READY"
    writes = scene.store.writes
    scene.clock.jump(10 * 86_400)
    assert (await scene.passed()).result == "unchanged"
    assert scene.store.writes == writes
    assert [each.commit for each in await scene.revisions()][-1] == (await scene.status()).applied_commit


async def test_a_tag_that_is_moved_is_followed_and_is_no_rewritten_history() -> None:
    scene = Sourced()
    first = scene.push({"env.yaml": ENVIRONMENT, "b.yaml": department("sales")})
    second = scene.push({"c.yaml": department("hr")})
    scene.hosted.tags["v1"] = second
    await scene.declare(tag="v1")
    await scene.passed()
    scene.hosted.tags["v1"] = first
    assert (await scene.passed()).result == "applied"
    assert (await scene.status()).applied_commit == first
    assert (await scene.conditions())["Applied"] == "APPLIED"


async def test_a_commit_that_is_pinned_is_applied_once_whatever_is_pushed() -> None:
    scene = Sourced()
    first = scene.push({"env.yaml": ENVIRONMENT, "b.yaml": department("sales")})
    scene.push({"c.yaml": department("hr")})
    await scene.declare(commit=first)
    await scene.passed()
    writes = scene.store.writes
    scene.push({"d.yaml": department("it")})
    assert (await scene.passed()).result == "unchanged"
    assert ((await scene.status()).applied_commit, scene.store.writes) == (first, writes)


RUBBISH = {
    "nothing": b"",
    "a branch": b"main\n",
    "an option": b"--upload-pack=touch /tmp/x\n",
    "bytes": b"\x00\xff\xfe" * 100,
    "too much": b"a" * 1_000_000,
    "two commits": (b"a" * 40 + b"\n") * 2,
    "a short one": b"abcdef0\n",
    "a commit of another length": b"a" * 41,
}


@pytest.mark.parametrize("content", RUBBISH.values(), ids=RUBBISH)
async def test_a_pin_file_of_rubbish_is_refused_at_its_line_and_what_is_applied_stays(content: bytes) -> None:
    scene = Sourced()
    first = scene.push({"env.yaml": ENVIRONMENT, "b.yaml": department("sales")})
    scene.push({"pins/prod": first})
    await scene.declare("staging")
    await scene.declare(promotion={"promotedFrom": "staging", "pinFile": "pins/prod"})
    await scene.passed()
    scene.push({"pins/prod": content})
    assert not (await scene.passed()).is_well
    status = await scene.status()
    assert (await scene.conditions())["Valid"] == "!PIN_REFUSED"
    assert [(each.file, each.line) for each in status.problems] == [("pins/prod", 1)]
    assert len(await scene.said("Valid")) < 1_000
    assert (status.applied_commit, await scene.names()) == (first, ["departments/sales"])


async def test_line_ends_and_a_byte_order_mark_of_windows_make_no_difference() -> None:
    scene = await applied()
    text = department("crm", "Kunden")
    scene.push({"a.yaml": text})
    await scene.passed()
    scene.push({"a.yaml": b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()})
    outcome = await scene.passed()
    assert (outcome.result, outcome.revision.change_count) == ("applied", 0)


EMPTY = {
    "every file is gone": {"env.yaml": None, "a.yaml": None, "b.yaml": None},
    "files hold nothing": {"env.yaml": "", "a.yaml": "# later\n", "b.yaml": "---\n"},
    "everything is of another environment": {
        "env.yaml": None,
        "a.yaml": department("crm").replace("{name: crm}", "{name: crm, environment: dev}"),
        "b.yaml": None,
    },
}


@pytest.mark.parametrize("files", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("policy", ["", DELETING])
async def test_a_commit_that_declares_nothing_more_never_deletes_everything(
    files: dict[str, str | None], policy: str
) -> None:
    scene = await applied(prunePolicy=policy)
    before, first = await owners(scene), (await scene.status()).applied_commit
    scene.push({**files, "README.md": "moved"})
    outcome = await scene.passed()
    assert await owners(scene) == before
    if policy:
        assert (outcome.result, (await scene.conditions())["Valid"]) == ("refused", "!DEFINITIONS_INVALID")
        assert "declare nothing" in await scene.said("Valid")
        assert (await scene.status()).applied_commit == first


async def test_a_folder_that_declares_nothing_at_first_is_applied_as_that() -> None:
    scene = Sourced()
    sha = scene.push({"README.md": "later"})
    await scene.declare(prunePolicy=DELETING)
    assert (await scene.passed()).result == "applied"
    assert ((await scene.status()).applied_commit, (await scene.status()).object_count) == (sha, 0)


async def test_a_repository_without_a_commit_is_told_and_applied_when_it_has_one() -> None:
    scene = Sourced()
    await scene.declare()
    await scene.passed()
    assert (await scene.conditions())["Available"] == "!REFERENCE_MISSING"
    scene.push({"env.yaml": ENVIRONMENT})
    assert (await scene.passed()).result == "applied"


async def test_a_source_of_terraform_is_declared_by_no_repository_and_the_other_way_round() -> None:
    scene = Sourced()
    said = (
        "apiVersion: pymigrate.io/v1alpha1\nkind: GitSource\nmetadata: {name: other}\nspec: {url: " + OTHER_URL + "}\n"
    )
    scene.push({"env.yaml": ENVIRONMENT, "s.yaml": said})
    await scene.declare(environment="")
    terraform = Caller("ci", "terraform")

    def declare(unit: Unit) -> None:
        source = git_source_pb2.GitSource(url=OTHER_URL)
        scene.catalog.create(unit, GIT_SOURCES, "", "other", source, terraform)

    await scene.store.transact(declare)
    assert (await scene.passed()).result == "refused"
    assert "terraform" in await scene.said("Valid")
    await scene.change("taken_over_sides", takenOverSides=["terraform"])
    assert (await scene.passed()).result == "applied"
    with pytest.raises(NotOwned, match="git/warehouse"):
        await scene.store.transact(lambda unit: scene.catalog.delete(unit, GIT_SOURCES, OTHER, "", terraform))


async def test_a_plan_that_is_started_by_its_commit_is_started_once_though_the_clock_goes_back() -> None:
    scene = Sourced()
    scene.push({"env.yaml": ENVIRONMENT, "s.yaml": SYSTEMS, "d.yaml": department("sales"), "p.yaml": plan("p")})
    await scene.declare(startedPlans=["*"])
    await scene.passed()
    scene.clock.jump(-3_600)
    for _ in range(3):
        await scene.passed()
    assert len(scene.runs.started) == 1


SUBJECTS = {
    "\x1b[2J\x1b]0;owned\x07Clear the screen": r"\x1b[2J\x1b]0;owned\x07Clear the screen",
    "Undo\r\u202eevil": r"Undo\r\u202eevil",
    "x" * 1_000_000: "x" * 300 + "…",
    "Use ghp_1234567890abcdefghijklmnopqrstuvwxyz": "(it holds what looks like a GitHub token)",
    "Merge commit '9d1ffc189284b06588015379ebfaf9f275fb6ff7' into main": None,
    "Größere Änderung für 北京": None,
}


@pytest.mark.parametrize(("subject", "told"), SUBJECTS.items(), ids=range(len(SUBJECTS)))
async def test_what_committers_say_is_told_as_one_short_line_that_steers_nothing_and_shows_no_secret(
    subject: str, told: str | None
) -> None:
    scene = await applied()
    scene.push({"c.yaml": department("hr")}, f"{subject}\n\nMore of it")
    await scene.passed()
    assert (await scene.revisions())[-1].subject == (subject if told is None else told)
