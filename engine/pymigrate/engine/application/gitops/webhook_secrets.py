"""Whether a post is believed: by the secrets of its source as they were read last, which are read again beside it where they are old, and
before it is refused where none fits."""

import asyncio
import secrets as randomness
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from pymigrate.engine.application.gitops.webhook_posts import Post
from pymigrate.engine.application.gitops.webhook_signatures import is_signed, is_strong
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.secrets import Secret
from pymigrate.v1 import git_source_pb2 as pb

log = structlog.get_logger(__name__)
HEARD = "Heard"
SECRETS_SECONDS_MAX = 5.0  # after which they are read again, beside the post that they are asked for
SECRETS_OLD_SECONDS_MAX = 60.0  # after which none is believed by them before they are read
READ_AGAIN_SECONDS_MIN = 1.0  # so often at most for posts that nothing fits
SOURCES_MAX = 2_000
HASHED_HERE_BYTES_MAX = 128 * 1024
NOBODY = pb.GitSource(webhook=pb.GitWebhook(provider=pb.GIT_PROVIDER_GITHUB))


class ReadsSecrets(Protocol):
    """Reads what a source refers to."""

    async def read(
        self, source: pb.GitSource, references: Sequence[str], *, is_again: bool = False
    ) -> Sequence[Secret]:
        """The values, in order. Raises SecretMissing, SecretRefused and SecretsUnavailable."""
        ...


@dataclass(slots=True)
class _Known:
    """The secrets of a source as they were read."""

    references: tuple[str, ...] = ()
    secrets: Sequence[Secret] = ()
    read_at: float = float("-inf")
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    renewing: "asyncio.Task[None] | None" = None


class WebhookSecrets:
    """Those of all sources that are posted to."""

    def __init__(self, secrets: ReadsSecrets, clock: Clock) -> None:
        self._secrets = secrets
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._unheard: OrderedDict[str, pb.GitCondition] = OrderedDict()
        self._decoy = Secret(randomness.token_hex(20))

    async def is_believed(self, source: pb.GitSource, post: Post) -> bool:
        """With the secrets as they are remembered, and where none fits with those that their backends have now. Raises as
        `ReadsSecrets.read`."""
        known = self._of(source)
        try:
            read_at = await self._read(known, source, SECRETS_OLD_SECONDS_MAX)
            self._unheard.pop(source.uid, None)
            self._renew(known, source)
            if await self._is_good(source, post, known.secrets):
                return True
            again_at = await self._read(known, source, READ_AGAIN_SECONDS_MIN)
        except PyMigrateError as error:
            self._note_unheard(source, error)
            raise
        return again_at > read_at and await self._is_good(source, post, known.secrets)

    async def disbelieve(self, post: Post) -> None:
        """Takes as long over a post to nobody as over one that has to be looked at."""
        await self._is_good(NOBODY, post, [self._decoy])

    def read_ahead(self, source: pb.GitSource) -> None:
        """Reads the secrets of a source that nothing was posted to yet, beside what is going on."""
        self._renew(self._of(source), source)

    def condition(self, uid: str) -> pb.GitCondition | None:
        """That a source is not heard, since its secrets can't be read; None where they can, or nothing was posted."""
        return self._unheard.get(uid)

    async def close(self) -> None:
        """Ends with what it has in hand."""
        under_way = [known.renewing for known in self._known.values() if known.renewing is not None]
        await asyncio.gather(*under_way, return_exceptions=True)

    def _of(self, source: pb.GitSource) -> _Known:
        known = self._known.setdefault(source.uid, _Known())
        self._known.move_to_end(source.uid)
        while len(self._known) > SOURCES_MAX:
            self._known.popitem(last=False)
        return known

    def _renew(self, known: _Known, source: pb.GitSource) -> None:
        """Reads the secrets again where that is due, beside what they are asked for now."""
        is_due = self._clock.monotonic() - known.read_at >= SECRETS_SECONDS_MAX
        if is_due and (known.renewing is None or known.renewing.done()):
            known.renewing = asyncio.create_task(self._renewed(known, source), name=f"secrets of {source.name}")

    async def _renewed(self, known: _Known, source: pb.GitSource) -> None:
        try:
            await self._read(known, source, SECRETS_SECONDS_MAX)
        except PyMigrateError as error:
            log.warning("webhook.unreadable", source=source.name, reason=error.reason, error=error.message)
            known.read_at = float("-inf")  # the next post waits for them, and says so
            self._note_unheard(source, error)

    async def _read(self, known: _Known, source: pb.GitSource, seconds_max: float) -> float:
        """Reads the secrets unless that was done so lately; when it was."""
        references = tuple(source.webhook.secrets)
        if known.references == references and self._clock.monotonic() - known.read_at < seconds_max:
            return known.read_at  # whoever reads them again meanwhile is not waited for
        async with known.reading:
            if known.references != references or self._clock.monotonic() - known.read_at >= seconds_max:
                is_again = known.references == references and seconds_max == READ_AGAIN_SECONDS_MIN
                found = await self._secrets.read(source, references, is_again=is_again)
                known.secrets = [secret for secret in found if is_strong(secret)]
                known.references, known.read_at = references, self._clock.monotonic()
            return known.read_at

    async def _is_good(self, source: pb.GitSource, post: Post, secrets: Sequence[Secret]) -> bool:
        asked = (source.webhook.provider, post.headers, post.body, secrets, self._clock.now())
        if len(post.body) <= HASHED_HERE_BYTES_MAX:
            return is_signed(*asked)
        return await asyncio.to_thread(is_signed, *asked)

    def _note_unheard(self, source: pb.GitSource, error: PyMigrateError) -> None:
        said = f"posts to its webhook are not believed, since its secrets can't be read: {error.message}"
        condition = pb.GitCondition(type=HEARD, is_met=False, reason=error.reason, message=said)
        before = self._unheard.get(source.uid)
        if before is not None and before.reason == error.reason:
            condition.transition_time.CopyFrom(before.transition_time)
        else:
            condition.transition_time.FromDatetime(self._clock.now())
        self._unheard[source.uid] = condition
        while len(self._unheard) > SOURCES_MAX:
            self._unheard.popitem(last=False)
