"""What comes of a post: a ring, a word for pull requests, or the same refusal for whoever is not believed."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from pymigrate.engine.application.gitops.webhook_events import PullRequest
from pymigrate.engine.application.gitops.webhook_posts import Post, Taken
from pymigrate.engine.application.gitops.webhooks import BURST, Webhooks
from pymigrate.engine.domain.errors import SecretRefused, SecretsUnavailable
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import git_source_pb2 as pb
from tests.git_hosts.payloads import (
    BITBUCKET,
    GITHUB,
    GITLAB,
    bitbucket_change,
    bitbucket_pull_request,
    bitbucket_push,
    github_pull_request,
    github_push,
    gitlab_merge_request,
    gitlab_push,
    posted,
)
from tests.git_hosts.sources import NAME, SECRET, UID, SecretsOfSources, keep, source
from tests.unit.application.gitops.sourced import Sourced

PUSHES: Mapping[int, tuple[str, Callable[[], dict[str, Any]]]] = {
    GITHUB: ("push", github_push),
    GITLAB: ("Push Hook", gitlab_push),
    BITBUCKET: ("repo:push", bitbucket_push),
}


class Scene:
    """Webhooks over a store in memory, and what they told."""

    def __init__(self) -> None:
        self.store, self.clock, self.secrets = MemoryStore(), ManualClock(), SecretsOfSources()
        self.rung: list[str] = []
        self.asked: list[PullRequest] = []
        self.webhooks = self.fresh()

    def fresh(self) -> Webhooks:
        """Those of an engine that has just started over the same store."""
        return Webhooks(
            self.store, self.secrets, self.rung.append, lambda _, event: self.asked.append(event), self.clock
        )

    async def post(self, provider: int, kind: str, payload: object, secret: str = SECRET, delivery: str = "d") -> Taken:
        """Posts to the source."""
        return (
            await self.webhooks.receive("warehouse", Post(*posted(provider, kind, payload, secret, delivery)))
        ).taken

    async def push(self, secret: str = SECRET, delivery: str = "d", ref: str = "refs/heads/main") -> Taken:
        """Posts a push of GitHub's."""
        return await self.post(GITHUB, "push", github_push(ref), secret, delivery)


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize("provider", PUSHES)
async def test_a_push_to_the_sources_branch_rings_its_bell(scene: Scene, provider: int) -> None:
    await keep(scene.store, source(provider))
    kind, payload = PUSHES[provider]
    assert await scene.post(provider, kind, payload()) is Taken.TAKEN
    assert scene.rung == [NAME]


@pytest.mark.parametrize(
    ("changed", "kind", "payload", "is_rung"),
    [
        pytest.param({"branch": "main"}, "push", github_push("refs/heads/next"), False, id="another branch"),
        pytest.param({"branch": "v1"}, "push", github_push("refs/tags/v1"), False, id="a tag of the branch's name"),
        pytest.param({"tag": "v1"}, "push", github_push("refs/tags/v1"), True, id="the tag"),
        pytest.param({"tag": "v1"}, "push", github_push("refs/heads/v1"), False, id="a branch of the tag's name"),
        pytest.param({"commit": github_push()["after"]}, "push", github_push("refs/heads/x"), True, id="the commit"),
        pytest.param({"commit": "0" * 40}, "push", github_push(), False, id="another commit"),
        pytest.param({}, "push", github_push("refs/heads/main"), True, id="the default branch"),
        pytest.param({}, "push", github_push("refs/heads/next"), False, id="not the default branch"),
        pytest.param({}, "push", github_push("refs/tags/v1"), False, id="a tag, where the default branch is meant"),
        pytest.param(
            {"host": pb.GitHost(repository="acme/other")}, "push", github_push(), False, id="another repository"
        ),
        pytest.param(
            {"branch": "main", "host": pb.GitHost(repository="ACME/Definitions")},
            "push",
            github_push(),
            True,
            id="case",
        ),
        pytest.param({"branch": "main"}, "issues", {"action": "opened"}, False, id="something else"),
    ],
)
async def test_what_does_not_concern_the_sources_reference_rings_nothing(
    scene: Scene, changed: dict[str, Any], kind: str, payload: object, is_rung: bool
) -> None:
    declared = source()
    if "host" not in changed:
        declared.host.repository = ""
    declared.ClearField("branch")
    declared.MergeFrom(pb.GitSource(**changed))
    await keep(scene.store, declared)
    assert await scene.post(GITHUB, kind, payload) is (Taken.TAKEN if is_rung else Taken.IGNORED)
    assert scene.rung == ([NAME] if is_rung else [])


async def test_one_of_several_pushed_branches_is_enough(scene: Scene) -> None:
    await keep(scene.store, source(BITBUCKET))
    payload = bitbucket_push(bitbucket_change("next"), bitbucket_change("main"))
    assert await scene.post(BITBUCKET, "repo:push", payload) is Taken.TAKEN
    assert scene.rung == [NAME]


@pytest.mark.parametrize(
    ("provider", "kind", "payload"),
    [
        (GITHUB, "pull_request", github_pull_request()),
        (GITLAB, "Merge Request Hook", gitlab_merge_request()),
        (BITBUCKET, "pullrequest:created", bitbucket_pull_request()),
    ],
)
async def test_a_pull_request_to_the_sources_branch_is_handed_on(
    scene: Scene, provider: int, kind: str, payload: object
) -> None:
    await keep(scene.store, source(provider))
    assert await scene.post(provider, kind, payload) is Taken.TAKEN
    assert [event.number for event in scene.asked] == [7]
    assert scene.rung == []


async def test_a_pull_request_to_another_branch_is_ignored(scene: Scene) -> None:
    await keep(scene.store, source())
    assert await scene.post(GITHUB, "pull_request", github_pull_request(target="next")) is Taken.IGNORED
    assert scene.asked == []


async def test_a_source_that_tells_nothing_of_pull_requests_ignores_them(scene: Scene) -> None:
    declared = source()
    declared.host.reports_pull_requests = False
    await keep(scene.store, declared)
    assert await scene.post(GITHUB, "pull_request", github_pull_request()) is Taken.IGNORED
    assert scene.asked == []


async def test_a_ping_is_taken_and_rings_nothing(scene: Scene) -> None:
    await keep(scene.store, source())
    assert await scene.post(GITHUB, "ping", {"zen": "Anything added dilutes everything else."}) is Taken.TAKEN
    assert (scene.rung, scene.asked) == ([], [])


async def test_nobody_learns_why_a_post_is_refused(scene: Scene) -> None:
    await keep(scene.store, source())
    wrong = await scene.webhooks.receive("warehouse", Post(*posted(GITHUB, "push", github_push(), "another one")))
    unsigned = await scene.webhooks.receive("warehouse", Post({"x-github-event": "push"}, b"{}"))
    unknown = await scene.webhooks.receive("nothing", Post(*posted(GITHUB, "push", github_push(), SECRET)))
    no_name = await scene.webhooks.receive("../warehouse", Post(*posted(GITHUB, "push", github_push(), SECRET)))
    assert wrong == unsigned == unknown == no_name
    assert wrong.taken is Taken.REFUSED
    assert scene.rung == []


async def test_a_source_without_a_webhook_takes_no_posts(scene: Scene) -> None:
    declared = source()
    declared.ClearField("webhook")
    await keep(scene.store, declared)
    assert await scene.push() is Taken.REFUSED


async def test_another_hosts_signature_is_not_believed(scene: Scene) -> None:
    await keep(scene.store, source(GITHUB))
    assert await scene.post(BITBUCKET, "repo:push", bitbucket_push()) is Taken.REFUSED
    assert await scene.post(GITLAB, "Push Hook", gitlab_push()) is Taken.REFUSED


@pytest.mark.parametrize("value", ["", "short"])
async def test_a_secret_that_is_none_believes_nobody(scene: Scene, value: str) -> None:
    await keep(scene.store, source())
    scene.secrets.memory.put("HOOK", value)
    assert await scene.push(value) is Taken.REFUSED


async def test_a_repeated_delivery_is_known_and_rings_nothing(scene: Scene) -> None:
    await keep(scene.store, source())
    assert await scene.push() is Taken.TAKEN
    assert await scene.push() is Taken.KNOWN
    assert await scene.push(delivery="another") is Taken.TAKEN
    assert scene.rung == [NAME, NAME]


async def test_a_repeated_delivery_is_known_to_the_next_engine_too(scene: Scene) -> None:
    await keep(scene.store, source())
    await scene.push()
    await scene.webhooks.close()
    scene.webhooks = scene.fresh()
    assert await scene.push() is Taken.KNOWN


async def test_a_delivery_that_nobody_believes_is_not_remembered(scene: Scene) -> None:
    await keep(scene.store, source())
    await scene.push("another one")
    assert await scene.push() is Taken.TAKEN


async def test_deliveries_are_kept_for_a_day_with_the_answers_to_calls(scene: Scene) -> None:
    await keep(scene.store, source())
    await scene.push()
    await scene.webhooks.close()
    scene.clock.advance(86_401)
    dropped = await scene.store.transact(lambda unit: unit.requests.drop_before(scene.clock.now()))
    assert dropped == 1


async def test_what_no_host_sends_is_told_with_its_place(scene: Scene) -> None:
    await keep(scene.store, source())
    reception = await scene.webhooks.receive("warehouse", Post(*posted(GITHUB, "push", {"ref": 7}, SECRET)))
    assert reception.taken is Taken.MALFORMED
    assert "`repository` is no map" in reception.said


async def test_secrets_are_read_once_for_a_burst(scene: Scene) -> None:
    await keep(scene.store, source())
    for number in range(20):
        assert await scene.push(delivery=str(number)) is Taken.TAKEN
    assert scene.secrets.asked == [False]


async def test_a_rotated_secret_is_noticed_by_the_first_post_that_it_signs(scene: Scene) -> None:
    await keep(scene.store, source())
    scene.secrets.memory.is_stale = True  # its backend would give the one before, from memory
    assert await scene.push() is Taken.TAKEN
    scene.secrets.memory.put("HOOK", "the next secret")
    scene.clock.advance(2)
    assert await scene.push("the next secret", "2") is Taken.TAKEN
    assert await scene.push(SECRET, "3") is Taken.REFUSED


async def test_while_a_secret_is_replaced_both_are_good(scene: Scene) -> None:
    declared = source()
    declared.webhook.secrets.append("env://HOOK_BEFORE")
    scene.secrets.memory.put("HOOK_BEFORE", "the one of before")
    await keep(scene.store, declared)
    assert await scene.push(SECRET, "1") is Taken.TAKEN
    assert await scene.push("the one of before", "2") is Taken.TAKEN


async def test_another_reference_is_read_at_once(scene: Scene) -> None:
    declared = source()
    await keep(scene.store, declared)
    await scene.push()
    declared.webhook.secrets[:] = ["env://OTHER"]
    scene.secrets.memory.put("OTHER", "another secret")
    await keep(scene.store, declared, version=2)
    assert await scene.push("another secret", "2") is Taken.TAKEN
    assert await scene.push(SECRET, "3") is Taken.REFUSED


async def test_forged_posts_make_no_backend_be_asked_again_and_again(scene: Scene) -> None:
    await keep(scene.store, source())
    for number in range(50):
        assert await scene.push("forged", str(number)) is Taken.REFUSED
    assert len(scene.secrets.asked) == 1
    scene.clock.advance(1.5)
    for number in range(50):
        await scene.push("forged", str(number))
    assert scene.secrets.asked == [False, True]


@pytest.mark.parametrize("failure", [None, SecretRefused("env://HOOK: no"), SecretsUnavailable("env://HOOK: sealed")])
async def test_a_secret_that_cant_be_read_is_no_refusal(scene: Scene, failure: Exception | None) -> None:
    await keep(scene.store, source())
    if failure is None:
        scene.secrets.memory.remove("HOOK")
    else:
        scene.secrets.memory.failures["env://HOOK"] = failure  # type: ignore[assignment]  # one of ours
    assert await scene.push() is Taken.UNREADABLE
    assert scene.rung == []
    condition = scene.webhooks.condition(UID)
    assert condition is not None
    assert (condition.type, condition.is_met) == ("Heard", False)
    assert condition.reason in {"SECRET_MISSING", "SECRET_REFUSED", "SECRETS_UNAVAILABLE"}
    assert "env://HOOK" in condition.message
    since = condition.transition_time.ToDatetime()
    scene.clock.advance(10)
    await scene.push()
    again = scene.webhooks.condition(UID)
    assert again is not None
    assert again.transition_time.ToDatetime() == since
    scene.secrets.memory.failures.clear()
    scene.secrets.memory.put("HOOK", SECRET)
    assert await scene.push() is Taken.TAKEN
    assert scene.webhooks.condition(UID) is None


def test_posts_to_one_source_are_limited_and_leave_others_alone(scene: Scene) -> None:
    admitted = [scene.webhooks.admit("warehouse") for _ in range(BURST + 50)]
    assert sum(admitted) == BURST
    assert scene.webhooks.admit("other")
    scene.clock.advance(1)
    assert scene.webhooks.admit("warehouse")


def test_posts_to_ever_other_names_are_limited_too(scene: Scene) -> None:
    assert sum(scene.webhooks.admit(f"s{number}") for number in range(5_000)) == 1_000


class BusyStore(MemoryStore):
    """That answers nothing and writes nothing until a test lets it go on, as behind a pass that writes."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.read_count = 0

    async def read(self, work: Callable[[Any], Any]) -> Any:
        self.read_count += 1
        await self.go_on.wait()
        return await super().read(work)

    async def transact(self, work: Callable[[Any], Any]) -> Any:
        await self.go_on.wait()
        return await super().transact(work)


@pytest.fixture
async def busy(scene: Scene) -> BusyStore:
    """The scene's store from now on, which knows a source, as the scene's webhooks do since their start."""
    store = BusyStore()
    scene.store = store
    await keep(store, source())
    scene.webhooks = scene.fresh()
    await scene.webhooks.restore()
    return store


async def test_an_answer_waits_for_no_pass(scene: Scene, busy: BusyStore) -> None:
    busy.go_on.clear()
    answers: list[Awaitable[Taken]] = [scene.push(delivery=str(number)) for number in range(10)]
    assert [await answer for answer in answers] == [Taken.TAKEN] * 10
    assert await scene.push(delivery="3") is Taken.KNOWN
    assert await scene.push("forged") is Taken.REFUSED
    assert scene.rung == [NAME] * 10
    assert busy.read_count <= 3  # the one that is waited for no longer, and no more of them
    busy.go_on.set()
    await scene.webhooks.close()
    assert await busy.transact(lambda unit: unit.requests.drop_before(scene.clock.now().replace(year=2100))) == 10


async def test_while_a_pass_is_under_way_the_store_is_not_even_asked(scene: Scene, busy: BusyStore) -> None:
    webhooks = Webhooks(busy, scene.secrets, scene.rung.append, lambda *_: None, scene.clock, lambda name: name == NAME)
    await webhooks.restore()
    before = busy.read_count
    scene.webhooks = webhooks
    assert await scene.push() is Taken.TAKEN
    assert busy.read_count == before
    await webhooks.close()


async def test_what_a_busy_store_says_later_holds_from_then_on(scene: Scene, busy: BusyStore) -> None:
    declared = source()
    declared.branch = "next"
    await keep(busy, declared, version=2)
    busy.go_on.clear()
    assert await scene.push(delivery="1") is Taken.TAKEN
    busy.go_on.set()
    await scene.webhooks.close()
    for _ in range(10):
        await asyncio.sleep(0)
    assert await scene.push(delivery="2") is Taken.IGNORED


async def test_a_source_that_is_new_is_known_from_its_first_commit_on(scene: Scene, busy: BusyStore) -> None:
    scene.webhooks = scene.fresh()
    declared = source()
    declared.uid = UID
    scene.webhooks.heard(declared, pb.GitRevision())
    busy.go_on.clear()
    assert await scene.push() is Taken.TAKEN
    busy.go_on.set()
    await scene.webhooks.close()


async def test_a_source_that_was_deleted_is_forgotten(scene: Scene, busy: BusyStore) -> None:
    await busy.transact(lambda unit: unit.resources.delete(NAME, 1))
    assert await scene.push() is Taken.REFUSED
    busy.go_on.clear()
    asked = asyncio.ensure_future(scene.push(delivery="2"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not asked.done()
    busy.go_on.set()
    assert await asked is Taken.REFUSED


async def test_secrets_are_read_again_beside_the_post_that_asks_for_them(scene: Scene) -> None:
    await keep(scene.store, source())
    await scene.push(delivery="1")
    scene.secrets.memory.put("HOOK", "the next secret")
    scene.clock.advance(6)
    assert await scene.push(delivery="2") is Taken.TAKEN
    await scene.webhooks.close()
    assert await scene.push(delivery="3") is Taken.REFUSED
    assert await scene.push("the next secret", "4") is Taken.TAKEN


async def test_secrets_that_are_being_read_again_are_not_waited_for(scene: Scene) -> None:
    await keep(scene.store, source())
    await scene.push(delivery="1")
    scene.secrets.go_on.clear()
    scene.clock.advance(6)
    assert [await scene.push(delivery=str(number)) for number in range(2, 5)] == [Taken.TAKEN] * 3
    scene.secrets.go_on.set()
    await scene.webhooks.close()
    assert scene.secrets.asked == [False, False]


async def test_secrets_that_were_read_long_ago_believe_nobody_before_they_are_read(scene: Scene) -> None:
    await keep(scene.store, source())
    await scene.push(delivery="1")
    scene.secrets.memory.put("HOOK", "the next secret")
    scene.clock.advance(61)
    assert await scene.push(delivery="2") is Taken.REFUSED


async def test_secrets_that_cant_be_read_again_are_told_and_believe_nobody(scene: Scene) -> None:
    await keep(scene.store, source())
    await scene.push(delivery="1")
    scene.secrets.memory.failures["env://HOOK"] = SecretsUnavailable("env://HOOK: sealed")
    scene.clock.advance(6)
    assert await scene.push(delivery="2") is Taken.TAKEN
    await scene.webhooks.close()
    assert scene.webhooks.condition(UID) is not None
    assert await scene.push(delivery="3") is Taken.UNREADABLE


async def test_a_source_that_is_not_heard_says_so_when_it_is_asked_for() -> None:
    sourced = Sourced()
    declared = await sourced.declare()
    sourced.sources.also_tell(lambda uid: pb.GitCondition(type="Heard") if uid == declared.uid else None)
    found = await sourced.sources.with_status(declared)
    assert [each.type for each in found.status.conditions][-1] == "Heard"
