"""Service accounts' tokens: whose they are the cluster says, and it is not asked about what can't be right."""

from typing import Any

import jwt
import pytest

from pymigrate.engine.adapters.identity.kubernetes_tokens import ASKED_AT_ONCE_MAX, KubernetesAuthenticator
from pymigrate.engine.domain.errors import Unauthenticated
from pymigrate.engine.ports.cluster import ClusterForbidden, ClusterUnavailable, Object, ResourceType
from pymigrate.engine.ports.identity import Identity, IdentityUnavailable
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.clusters import MemoryCluster

ACCOUNT = "system:serviceaccount:jobs:runner"
GROUPS = ("system:serviceaccounts", "system:serviceaccounts:jobs", "system:authenticated")
KEY = "whatever a cluster signs with, which is none of our business"


class Scene:
    """A cluster that knows one account's token."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.cluster = MemoryCluster(self.clock)
        self.way_in = KubernetesAuthenticator(self.cluster, "pymigrate", self.clock)

    def token(self, **changed: Any) -> str:
        """What an account would show; the cluster does not know it yet."""
        end = int(self.clock.now().timestamp()) + 600
        claims = {"iss": "https://kubernetes.default.svc", "sub": ACCOUNT, "aud": ["pymigrate"], "exp": end} | changed
        return jwt.encode({name: value for name, value in claims.items() if value is not None}, KEY)

    def known(self, **changed: Any) -> str:
        """A token that the cluster knows."""
        token = self.token(**changed)
        self.cluster.tokens.know(token, ACCOUNT, GROUPS, ("pymigrate",))
        return token


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_service_account_is_who_the_cluster_says_that_it_is(scene: Scene) -> None:
    assert await scene.way_in.identify(scene.known()) == Identity("kubernetes/jobs/runner", frozenset(GROUPS))


async def test_what_is_no_service_account_s_is_left_to_others(scene: Scene) -> None:
    for token in (
        "pms_x",
        "a.b.c",
        scene.token(sub="ann"),
        scene.token(sub=None),
        scene.token(sub="system:serviceaccount:a"),
    ):
        assert await scene.way_in.identify(token) is None
    assert not scene.cluster.calls


async def test_a_token_that_the_cluster_does_not_know_lets_nobody_in(scene: Scene) -> None:
    with pytest.raises(Unauthenticated, match="does not know"):
        await scene.way_in.identify(scene.token())


@pytest.mark.parametrize(
    "changed", [{"aud": "vault"}, {"aud": None}, {"aud": ["api"]}, {"exp": 0}, {"exp": None}, {"exp": "x"}]
)
async def test_the_cluster_is_not_asked_about_a_token_for_somebody_else_or_without_an_end(
    scene: Scene, changed: dict[str, Any]
) -> None:
    with pytest.raises(Unauthenticated):
        await scene.way_in.identify(scene.known(**changed))
    assert not scene.cluster.calls


async def test_what_a_token_says_of_itself_makes_nobody_another_account(scene: Scene) -> None:
    token = scene.token(sub="system:serviceaccount:kube-system:admin")
    scene.cluster.tokens.know(token, ACCOUNT, GROUPS, ("pymigrate",))
    assert await scene.way_in.identify(token) == Identity("kubernetes/jobs/runner", frozenset(GROUPS))


async def test_an_answer_for_another_audience_lets_nobody_in(scene: Scene) -> None:
    token = scene.token()
    scene.cluster.tokens.know(token, ACCOUNT, GROUPS, ("api",))
    with pytest.raises(Unauthenticated):
        await scene.way_in.identify(token)


class AnsweringCluster(MemoryCluster):
    """Says the same of every token."""

    def __init__(self, clock: ManualClock, status: dict[str, Any]) -> None:
        super().__init__(clock)
        self._status = status

    async def create(self, kind: ResourceType, new: Object, *, is_dry_run: bool = False) -> Object:
        return {"metadata": {}, "status": self._status}


@pytest.mark.parametrize(
    "changed",
    [
        {"authenticated": False},
        {"authenticated": "true"},
        {"authenticated": None},
        {"audiences": []},  # as a server says that does not know of them
        {"audiences": None},
        {"audiences": ["api"]},
        {"user": {}},
        {"user": None},
    ],
)
async def test_an_answer_that_does_not_say_all_that_is_asked_lets_nobody_in(
    scene: Scene, changed: dict[str, Any]
) -> None:
    whole = {"authenticated": True, "user": {"username": ACCOUNT, "groups": [*GROUPS]}, "audiences": ["pymigrate"]}
    sound = KubernetesAuthenticator(AnsweringCluster(scene.clock, whole), "pymigrate", scene.clock)
    assert await sound.identify(scene.token()) is not None
    odd = KubernetesAuthenticator(AnsweringCluster(scene.clock, whole | changed), "pymigrate", scene.clock)
    with pytest.raises(Unauthenticated):
        await odd.identify(scene.token())


async def test_somebody_who_is_no_service_account_is_not_let_in_as_one(scene: Scene) -> None:
    for username in ("admin", "system:node:n1", "system:serviceaccount:a:b:c", "system:serviceaccount:a/b:c"):
        token = scene.token(jti=username)
        scene.cluster.tokens.know(token, username, GROUPS, ("pymigrate",))
        with pytest.raises(Unauthenticated):
            await scene.way_in.identify(token)


async def test_an_answer_is_kept_for_a_minute_and_no_longer(scene: Scene) -> None:
    token = scene.known()
    await scene.way_in.identify(token)
    scene.cluster.tokens.forget(token)
    scene.clock.advance(59)
    assert await scene.way_in.identify(token) is not None
    assert len(scene.cluster.calls) == 1
    scene.clock.advance(1)
    with pytest.raises(Unauthenticated):
        await scene.way_in.identify(token)


async def test_no_answer_is_kept_beyond_the_token_s_end(scene: Scene) -> None:
    token = scene.known(exp=int(scene.clock.now().timestamp()) + 30)
    await scene.way_in.identify(token)
    scene.clock.advance(30)
    with pytest.raises(Unauthenticated, match="has ended"):
        await scene.way_in.identify(token)


async def test_an_engine_that_may_not_ask_lets_nobody_in_and_says_what_to_do(scene: Scene) -> None:
    scene.cluster.faults.fail(lambda: ClusterForbidden("403"))
    with pytest.raises(IdentityUnavailable, match="tokenreviews"):
        await scene.way_in.identify(scene.known())


async def test_a_cluster_that_is_away_lets_nobody_in_meanwhile(scene: Scene) -> None:
    scene.cluster.faults.fail(lambda: ClusterUnavailable("away"), times=1)
    token = scene.known()
    with pytest.raises(IdentityUnavailable):
        await scene.way_in.identify(token)
    assert await scene.way_in.identify(token) is not None


async def test_many_tokens_that_are_none_ask_the_cluster_a_few_at_a_time(scene: Scene) -> None:
    import asyncio

    under_way, most = 0, 0
    go_on = asyncio.Event()

    async def counted(_: object) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await go_on.wait()
        under_way -= 1

    scene.cluster.faults.before.append(counted)
    asked = [asyncio.create_task(scene.way_in.identify(scene.token(jti=str(at)))) for at in range(50)]
    for _ in range(100):
        await asyncio.sleep(0)
    assert most == ASKED_AT_ONCE_MAX
    go_on.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(answer, Unauthenticated) for answer in answers)
    assert most == ASKED_AT_ONCE_MAX
