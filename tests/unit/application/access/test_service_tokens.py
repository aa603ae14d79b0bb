"""Tokens of services: who shows one, how it is rotated, and how it ends."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from pymigrate.engine.application.access.service_tokens import COLLECTION, ServiceTokens
from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.domain.errors import (
    AlreadyExists,
    InvalidDefinition,
    NotFound,
    NotPermitted,
    Unauthenticated,
)
from pymigrate.engine.ports.identity import Identity
from pymigrate.engine.ports.store import AuditEntry
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1.access_pb2 import (
    CreateServiceTokenRequest,
    ListServiceTokensRequest,
    RotateServiceTokenRequest,
    ServiceToken,
)

ADMIN = Caller("oidc/ann")
CI = Identity("service/ci")


class Scene:
    """The tokens over a store in memory."""

    def __init__(self) -> None:
        self.clock = ManualClock(datetime(2026, 11, 26, 12, 0, tzinfo=UTC))
        self.store = MemoryStore()
        ids = itertools.count(1)
        self.tokens = ServiceTokens(self.store, Surroundings(self.clock, lambda: f"uid-{next(ids)}"))

    async def made(self, token_id: str = "ci", seconds: float = 0) -> str:
        """A new token's text; it ends after so many seconds, 0: never."""
        asked = CreateServiceTokenRequest(service_token_id=token_id)
        if seconds:
            asked.service_token.expire_time.FromDatetime(self.clock.now() + timedelta(seconds=seconds))
        return (await self.tokens.create(asked, ADMIN)).token

    async def rotated(self, overlap_seconds: float = 0) -> str:
        """The text of the one that comes after it."""
        asked = RotateServiceTokenRequest(name="serviceTokens/ci", overlap_seconds=overlap_seconds)
        return (await self.tokens.rotate(asked, ADMIN)).token

    async def refuses(self, token: str) -> bool:
        """Whether nobody is let in by it."""
        try:
            await self.tokens.identify(token)
        except Unauthenticated:
            return True
        return False

    async def trail(self) -> list[AuditEntry]:
        """What was noted."""
        return await self.store.read(lambda unit: list(unit.audit.list(0, 100)))


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_whoever_shows_a_token_is_the_service_that_it_was_made_for(scene: Scene) -> None:
    assert await scene.tokens.identify(await scene.made()) == CI


async def test_what_is_no_token_of_a_service_is_left_to_others(scene: Scene) -> None:
    assert await scene.tokens.identify("eyJhbGciOiJub25lIn0.e30.") is None


async def test_a_token_of_another_service_or_one_that_was_changed_lets_nobody_in(scene: Scene) -> None:
    token, other = await scene.made("ci"), await scene.made("deploy")
    assert await scene.refuses(token.replace(".ci", ".deploy"))
    assert await scene.refuses(token.replace(".ci", ".nobody"))
    assert await scene.refuses(f"{token}x")
    assert await scene.refuses(token[:-4] + ".ci")
    assert await scene.refuses("pms_")
    assert await scene.tokens.identify(other) == Identity("service/deploy")


async def test_the_store_holds_no_text_by_which_a_token_could_be_shown(scene: Scene) -> None:
    first = await scene.made()
    second = await scene.rotated(60)
    resources = await scene.store.read(lambda unit: unit.resources.list(COLLECTION, "", "", 10))
    kept = b"".join(each.body for each in resources) + repr(await scene.trail()).encode()
    for token in (first, second):
        secret = token.removeprefix("pms_").partition(".")[0]
        assert len(secret) == 43
        assert secret.encode() not in kept


async def test_two_tokens_are_never_alike(scene: Scene) -> None:
    assert len({(await scene.made(f"t{at}"))[:47] for at in range(20)}) == 20


async def test_a_token_ends_at_its_time(scene: Scene) -> None:
    token = await scene.made(seconds=60)
    scene.clock.advance(59)
    assert await scene.tokens.identify(token) == CI
    scene.clock.advance(1)
    assert await scene.refuses(token)


async def test_a_deleted_token_lets_nobody_in_from_then_on(scene: Scene) -> None:
    first = await scene.made()
    second = await scene.rotated(600)
    await scene.tokens.delete("serviceTokens/ci", ADMIN)
    assert await scene.refuses(first)
    assert await scene.refuses(second)


async def test_after_a_rotation_without_overlap_only_the_new_one_holds(scene: Scene) -> None:
    first = await scene.made()
    second = await scene.rotated()
    assert await scene.refuses(first)
    assert await scene.tokens.identify(second) == CI


async def test_both_hold_for_the_overlap_and_then_the_new_one_alone(scene: Scene) -> None:
    first = await scene.made()
    second = await scene.rotated(60)
    assert await scene.tokens.identify(first) == await scene.tokens.identify(second) == CI
    scene.clock.advance(60)
    assert await scene.refuses(first)
    assert await scene.tokens.identify(second) == CI


async def test_no_overlap_lets_a_token_hold_for_longer_than_it_was_made_for(scene: Scene) -> None:
    first = await scene.made(seconds=30)
    await scene.rotated(600)
    scene.clock.advance(30)
    assert await scene.refuses(first)


async def test_what_was_rotated_out_twice_has_ended(scene: Scene) -> None:
    first = await scene.made()
    second = await scene.rotated(600)
    third = await scene.rotated(600)
    assert await scene.refuses(first)
    assert await scene.tokens.identify(second) == await scene.tokens.identify(third) == CI


async def test_what_is_known_of_a_token_is_told_without_it(scene: Scene) -> None:
    asked = CreateServiceTokenRequest(service_token_id="ci", service_token=ServiceToken(description="the pipeline"))
    made = await scene.tokens.create(asked, ADMIN)
    await scene.rotated(60)
    told = await scene.tokens.get("serviceTokens/ci")
    assert (told.description, told.creator, told.uid) == ("the pipeline", "oidc/ann", made.service_token.uid)
    assert told.previous_expire_time.ToDatetime(UTC) == scene.clock.now() + timedelta(seconds=60)
    assert not told.HasField("expire_time")
    scene.clock.advance(60)
    assert not (await scene.tokens.get("serviceTokens/ci")).HasField("previous_expire_time")


async def test_tokens_are_listed_in_pages_by_name(scene: Scene) -> None:
    for token_id in ("b", "a", "c"):
        await scene.made(token_id)
    first = await scene.tokens.list(ListServiceTokensRequest(page_size=2))
    rest = await scene.tokens.list(ListServiceTokensRequest(page_size=2, page_token=first.next_page_token))
    names = [each.name for each in (*first.service_tokens, *rest.service_tokens)]
    assert names == ["serviceTokens/a", "serviceTokens/b", "serviceTokens/c"]
    assert rest.next_page_token == ""


async def test_each_write_is_noted_with_who_did_it(scene: Scene) -> None:
    await scene.made()
    await scene.rotated(60)
    await scene.tokens.delete("serviceTokens/ci", ADMIN)
    noted = [(each.action, each.actor, each.subject) for each in await scene.trail()]
    assert noted == [(action, "oidc/ann", "serviceTokens/ci") for action in ("create", "rotate", "delete")]


async def test_a_token_that_ends_by_itself_makes_none_that_does_not(scene: Scene) -> None:
    await scene.made()
    short = Caller("local/abc", token_id="abc")
    with pytest.raises(NotPermitted):
        await scene.tokens.create(CreateServiceTokenRequest(service_token_id="mine"), short)
    with pytest.raises(NotPermitted):
        await scene.tokens.rotate(RotateServiceTokenRequest(name="serviceTokens/ci"), short)


async def test_a_taken_name_and_one_that_is_none_are_refused(scene: Scene) -> None:
    await scene.made()
    with pytest.raises(AlreadyExists):
        await scene.made()
    for name in ("", "CI", "a/b", "-a", "a" * 64, "a.b"):
        with pytest.raises(InvalidDefinition):
            await scene.made(name)


async def test_an_end_that_is_past_and_an_overlap_beyond_a_week_are_refused(scene: Scene) -> None:
    with pytest.raises(InvalidDefinition):
        await scene.made(seconds=-1)
    await scene.made()
    for overlap in (-1.0, 604_801.0, float("nan")):
        with pytest.raises(InvalidDefinition):
            await scene.rotated(overlap)


async def test_nothing_but_a_token_is_read_or_deleted_by_a_token_s_name(scene: Scene) -> None:
    for name in ("", "serviceTokens/none", "environments/prod"):
        with pytest.raises(NotFound):
            await scene.tokens.get(name)
        with pytest.raises(NotFound):
            await scene.tokens.delete(name, ADMIN)
