"""Whatever is wrong with a repository or what it holds: what is applied goes on serving, and a condition says what is the matter."""

import pytest

from pymigrate.engine.application.occurrences import Occurrences
from pymigrate.engine.application.told_environments import told_environment
from pymigrate.engine.domain.errors import PyMigrateError, RepositoryRefused, RepositoryUnavailable
from pymigrate.engine.domain.notices import Occurrence
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import git_source_pb2
from tests.unit.application.gitops.sourced import ME, NAME, Sourced, applied, department

TOKEN = "tok-very-secret"


async def serving(scene: Sourced) -> bool:
    """Whether what the first commit declared is still there."""
    return await scene.names() == ["departments/crm", "departments/sales"]


async def test_a_repository_that_is_away_says_since_when_and_what_is_applied_goes_on_serving() -> None:
    scene = await applied()
    scene.clock.advance(60)
    scene.hosted.failure = RepositoryUnavailable("git.example.com does not answer: 1")
    outcome = await scene.passed()
    assert (outcome.result, outcome.is_well) == ("failed", False)
    assert isinstance(outcome.error, RepositoryUnavailable)
    conditions = {each.type: each for each in (await scene.status()).conditions}
    assert (conditions["Available"].is_met, conditions["Available"].reason) == (False, "REPOSITORY_UNAVAILABLE")
    assert (conditions["Ready"].is_met, conditions["Ready"].reason) == (False, "REPOSITORY_UNAVAILABLE")
    assert conditions["Applied"].is_met
    since, writes = conditions["Available"].transition_time.ToDatetime(), scene.store.writes
    scene.clock.advance(60)
    scene.hosted.failure = RepositoryUnavailable("git.example.com does not answer: 2")
    await scene.passed()
    assert scene.store.writes == writes
    scene.hosted.failure = None
    scene.clock.advance(60)
    assert (await scene.passed()).result == "unchanged"
    conditions = {each.type: each for each in (await scene.status()).conditions}
    assert conditions["Available"].is_met
    assert (conditions["Available"].transition_time.ToDatetime() - since).total_seconds() == 120
    assert await serving(scene)


REFUSED = {
    "CREDENTIALS_REFUSED": "the repository does not take the credentials",
    "HOST_KEY_REFUSED": "the host has another key",
    "CERTIFICATE_REFUSED": "the host has another certificate",
    "REPOSITORY_MISSING": "there is no repository",
    "REPOSITORY_TOO_LARGE": "the repository is larger than 512 MiB",
}


@pytest.mark.parametrize(("reason", "said"), REFUSED.items())
async def test_a_repository_that_can_t_be_fetched_is_told_by_its_reason(reason: str, said: str) -> None:
    scene = await applied()
    scene.hosted.failure = RepositoryRefused(reason, said)
    assert not (await scene.passed()).is_well
    assert (await scene.conditions())["Available"] == f"!{reason}"
    assert said in await scene.said("Ready")
    assert await serving(scene)


async def test_a_branch_that_was_deleted_leaves_what_is_applied() -> None:
    scene = await applied(branch="main")
    del scene.hosted.branches["main"]
    await scene.passed()
    assert (await scene.conditions())["Available"] == "!REFERENCE_MISSING"
    assert "`main`" in await scene.said("Available")
    assert await serving(scene)


TREES = {
    "LINK_REFUSED": ("a.yaml", 0),
    "SUBMODULE_REFUSED": ("vendor", 0),
    "FILE_TOO_LARGE": ("big.yaml", 0),
    "PATH_REFUSED": ("..", 0),
    "TOO_MANY_FILES": ("", 0),
}


@pytest.mark.parametrize(("reason", "place"), TREES.items())
async def test_a_tree_that_is_refused_is_told_with_its_path(reason: str, place: tuple[str, int]) -> None:
    scene = await applied()
    sha = scene.push({"c.yaml": department("hr")})
    error: PyMigrateError = RepositoryRefused(reason, f"it is refused: {place[0]}", path=place[0], line=place[1])
    scene.hosted.unsound[sha] = error
    assert not (await scene.passed()).is_well
    conditions = await scene.conditions()
    assert (conditions["Valid"], conditions["Applied"]) == (f"!{reason}", "!HELD_BACK")
    status = await scene.status()
    assert (status.seen_commit, status.applied_commit != sha) == (sha, True)
    assert [each.file for each in status.problems] == [place[0]]
    assert await serving(scene)


FILES = {
    "a mistake in YAML": ("x: [1\n", "broken.yaml", "yaml"),
    "a conflict": ("<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> other\n", "broken.yaml", "yaml"),
    "a bomb": ("a: &a [x]\nb: [*a, *a]\n", "broken.yaml", "yaml"),
    "a doubled key": ("a: 1\na: 2\n", "broken.yaml", "yaml"),
    "what is not UTF-8": (b"\xff\xfe\x00", "broken.yaml", "file"),
    "what is no definition": ("a: 1\n", "broken.yaml", "envelope"),
    "a field that there is not": (department("hr").replace("{}", "{colour: red}"), "broken.yaml", "shape"),
    "what is not sound": (
        department("hr").replace("spec: {}", "spec: {dependencies: [nobody]}"),
        "broken.yaml",
        "invalid",
    ),
    "a secret": (department("hr", "ghp_1234567890abcdefghijklmnopqrstuvwxyz"), "broken.yaml", "secret"),
    "an object that is declared twice": (department("sales"), "broken.yaml", "duplicate"),
}


@pytest.mark.parametrize(("content", "file", "rule"), FILES.values(), ids=FILES)
async def test_a_broken_commit_after_a_good_one_keeps_the_good_one_and_says_where(
    content: str | bytes, file: str, rule: str
) -> None:
    scene = await applied()
    good = (await scene.status()).applied_commit
    sha = scene.push({file: content, "c.yaml": department("it")})
    outcome = await scene.passed()
    assert (outcome.result, outcome.is_well) == ("refused", False)
    status, conditions = await scene.status(), await scene.conditions()
    assert (status.applied_commit, status.seen_commit) == (good, sha)
    assert conditions["Valid"] == conditions["Ready"] == "!DEFINITIONS_INVALID"
    assert conditions["Applied"] == "!HELD_BACK"
    assert status.problems[0].file == file
    assert rule in {each.rule for each in status.problems}
    assert file in await scene.said("Valid")
    refused = (await scene.revisions())[-1]
    assert (refused.commit, refused.state) == (sha, git_source_pb2.GIT_REVISION_STATE_REFUSED)
    assert list(refused.problems) == list(status.problems)
    assert [action for _, action, _ in await scene.audited("refuse")] == [f"refuse {sha}"]
    assert "ghp_" not in str(status)
    assert await serving(scene)


async def test_a_refused_commit_is_told_once_and_what_comes_after_it_is_applied() -> None:
    scene = await applied()
    scene.push({"c.yaml": "[}"})
    await scene.passed()
    writes = scene.store.writes
    assert (await scene.passed()).result == "refused"
    assert scene.store.writes == writes
    scene.push({"c.yaml": department("hr")})
    assert (await scene.passed()).result == "applied"
    assert not (await scene.status()).problems
    assert (await scene.conditions())["Ready"] == "READY"


async def test_a_force_push_is_applied_and_told() -> None:
    scene = await applied()
    old = (await scene.status()).applied_commit
    root = scene.hosted.add(
        dict(scene.hosted.commits[old][1]) | {"c.yaml": department("hr").encode()},
        "Other",
        "E <e@x>",
        scene.clock.now(),
        (),
    )
    scene.hosted.branches["main"] = root
    assert (await scene.passed()).result == "applied"
    assert await scene.conditions() == {**await scene.conditions(), "Applied": "HISTORY_REWRITTEN", "Ready": "READY"}
    assert old in await scene.said("Applied")
    assert [action for _, action, _ in await scene.audited("rewrite")] == [f"rewrite {old}"]
    scene.push({"d.yaml": department("it")})
    await scene.passed()
    assert (await scene.conditions())["Applied"] == "APPLIED"


async def test_a_revert_is_no_force_push() -> None:
    scene = await applied()
    scene.push({"c.yaml": department("hr")})
    await scene.passed()
    scene.push({"c.yaml": None}, 'Revert "Change"\n\nThis reverts commit x.')
    await scene.passed()
    assert (await scene.conditions())["Applied"] == "APPLIED"


async def test_only_commits_with_a_good_signature_are_applied() -> None:
    scene = await applied(signatures={"sshAllowedSigners": "ada@example.com ssh-ed25519 AAAA"})
    assert (await scene.conditions())["Verified"] == "!SIGNATURE_REFUSED"
    assert await scene.names() == []
    scene.push({"c.yaml": department("hr")}, signer="ada@example.com")
    await scene.passed()
    assert (await scene.conditions())["Verified"] == "SIGNED"
    assert (await scene.revisions())[-1].signer == "ada@example.com"
    scene.push({"c.yaml": department("it")}, signer="eve@example.com")
    await scene.passed()
    conditions = await scene.conditions()
    assert (conditions["Verified"], conditions["Applied"]) == ("!SIGNATURE_REFUSED", "!HELD_BACK")
    assert await scene.names() == ["departments/crm", "departments/hr", "departments/sales"]


async def test_signatures_that_are_demanded_later_are_demanded_of_what_is_applied_too() -> None:
    scene = await applied()
    await scene.change("signatures", signatures={"sshAllowedSigners": "ada@example.com ssh-ed25519 AAAA"})
    await scene.passed()
    assert (await scene.conditions())["Verified"] == "!SIGNATURE_REFUSED"


async def test_a_token_that_was_rotated_is_read_once_more() -> None:
    scene = Sourced()
    scene.push({"env.yaml": "apiVersion: pymigrate.io/v1alpha1\nkind: Environment\nmetadata: {name: prod}\nspec: {}\n"})
    scene.places.put("TOKEN", TOKEN)
    scene.places.is_stale = True
    scene.hosted.token = TOKEN
    await scene.declare(https={"token": "env://TOKEN"})
    assert (await scene.passed()).result == "applied"
    scene.places.put("TOKEN", "another-secret")
    scene.hosted.token = "another-secret"
    assert (await scene.passed()).result == "unchanged"
    assert scene.places.rereads == {"env://TOKEN": 1}
    scene.hosted.token = "which nobody has"
    assert (await scene.passed()).result == "failed"
    assert scene.places.rereads == {"env://TOKEN": 2}
    assert (await scene.conditions())["Available"] == "!CREDENTIALS_REFUSED"
    assert "secret" not in str(await scene.status())


async def test_a_missing_secret_is_told_by_its_reference() -> None:
    scene = Sourced()
    scene.push({})
    await scene.declare(https={"token": "env://TOKEN"})
    await scene.passed()
    assert (await scene.conditions())["Available"] == "!SECRET_MISSING"
    assert "env://TOKEN" in await scene.said("Available")


async def test_a_secret_in_what_a_repository_says_is_shown_to_nobody() -> None:
    scene = await applied()
    scene.places.put("TOKEN", TOKEN)
    scene.hosted.failure = RepositoryRefused("CREDENTIALS_REFUSED", f"https://x:{TOKEN}@host says no")
    await scene.change("https", https={"token": "env://TOKEN"})
    await scene.passed()
    assert TOKEN not in str(await scene.status())


async def test_a_pin_says_which_commit_of_the_branch_is_applied() -> None:
    scene = Sourced()
    first = scene.push(
        {"env.yaml": "apiVersion: pymigrate.io/v1alpha1\nkind: Environment\nmetadata: {name: prod}\nspec: {}\n"}
    )
    await scene.declare("staging")
    await scene.declare(promotion={"promotedFrom": "staging", "pinFile": "pins/prod"})
    await scene.passed()
    conditions = await scene.conditions()
    assert conditions["Valid"] == conditions["Ready"] == "!NOT_PROMOTED", (
        "and not the WAITING of what no pass has come to"
    )
    scene.push({"b.yaml": department("sales")})
    scene.push({"pins/prod": f"{first}\n"})
    assert (await scene.passed()).result == "applied"
    assert (await scene.status()).applied_commit == (await scene.status()).seen_commit == first
    assert await scene.names() == []
    writes = scene.store.writes
    assert (await scene.passed()).result == "unchanged"
    assert scene.store.writes == writes
    scene.push({"pins/prod": "f" * 40})
    await scene.passed()
    assert (await scene.conditions())["Valid"] == "!PIN_REFUSED"
    assert [(each.file, each.line) for each in (await scene.status()).problems] == [("pins/prod", 1)]
    scene.push({"pins/prod": "main"})
    await scene.passed()
    assert "all 40" in await scene.said("Valid")
    assert (await scene.status(NAME)).applied_commit == first


async def test_that_a_source_fails_and_recovers_is_told_once_each_under_its_name() -> None:
    scene = await applied()
    for text in ("1", "2"):
        scene.hosted.failure = RepositoryUnavailable(f"does not answer: {text}")
        await scene.passed()
    scene.hosted.failure = None
    for _ in range(2):
        await scene.passed()
    assert await scene.audited("fail", "recover") == [
        ("git/warehouse", "fail REPOSITORY_UNAVAILABLE", "does not answer: 1"),
        ("git/warehouse", "recover READY", "what is stored is what the repository says"),
    ]


async def test_a_source_that_is_suspended_or_only_looks_does_not_fail() -> None:
    scene = await applied()
    await scene.sources.suspend(NAME, "", ME)
    scene.push({"c.yaml": department("hr")})
    await scene.passed()
    assert (await scene.conditions())["Ready"] == "!SUSPENDED"
    assert await scene.audited("fail", "recover") == []


async def test_what_becomes_of_commits_is_held_against_the_rules_of_the_source_s_environment() -> None:
    scene = await applied()
    entries = await scene.store.read(lambda unit: list(unit.feed.after("", 100)[0]))
    told = [each for each in entries if each.subject == NAME and each.type.startswith("apply")]

    def read(unit: Unit) -> list[Occurrence]:
        return Occurrences().of(unit, told)

    [occurrence] = await scene.store.read(read)
    assert (occurrence.environment, occurrence.type) == ("environments/prod", "audit.apply")
    assert await scene.store.read(lambda unit: told_environment(unit, "gitSources/gone")) == "gitSources/gone"
