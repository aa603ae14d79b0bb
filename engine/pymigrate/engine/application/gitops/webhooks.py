"""What hosts post to a source: believed where it is signed, known where it comes again, and answered before anything comes of it.

A push rings the source's bell, a pull request is handed on. A store that is busy, as with a pass, is not waited for where the
source and its secrets are remembered: what is asked of it comes in later.
"""

import asyncio
import hashlib
import secrets as randomness
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Protocol

import structlog

from pymigrate.engine.application.gitops.git_source_kinds import COLLECTION, GIT_SOURCES, sources_in
from pymigrate.engine.application.gitops.webhook_events import (
    HEADS,
    TAGS,
    Event,
    Ping,
    PullRequest,
    PullRequestAction,
    Push,
    delivery_of,
    events_of,
)
from pymigrate.engine.application.gitops.webhook_signatures import is_signed, is_strong
from pymigrate.engine.domain.errors import InvalidDefinition, PyMigrateError, StoreUnavailable
from pymigrate.engine.domain.names import is_id, last_segment
from pymigrate.engine.domain.token_bucket import TokenBucket
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.secrets import Secret
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import git_source_pb2 as pb

log = structlog.get_logger(__name__)
METHOD = "webhooks"
HEARD = "Heard"
SECRETS_SECONDS_MAX = 5.0  # after which they are read again, beside the post that they are asked for
SECRETS_OLD_SECONDS_MAX = 60.0  # after which none is believed by them before they are read
LOOK_SECONDS_MAX = 0.01  # as long the store is waited for where it is known what it will say
READ_AGAIN_SECONDS_MIN = 1.0  # so often at most for posts that nothing fits
DELIVERIES_MAX = 10_000
SOURCES_MAX = 2_000
BURST, PER_SECOND = 100, 20.0  # of one source
BURST_OF_ALL, PER_SECOND_OF_ALL = 1_000, 200.0
HASHED_HERE_BYTES_MAX = 128 * 1024
NOBODY = pb.GitSource(webhook=pb.GitWebhook(provider=pb.GIT_PROVIDER_GITHUB))


class Taken(StrEnum):
    """What becomes of a post."""

    TAKEN = "taken"
    IGNORED = "ignored"  # it concerns nothing here
    KNOWN = "known"  # it came before
    REFUSED = "refused"  # by nobody who may post, or to no source: which of both is not told
    MALFORMED = "malformed"
    UNREADABLE = "unreadable"  # the secrets can't be read
    TOO_MANY = "too_many"


@dataclass(frozen=True, slots=True)
class Reception:
    """What becomes of a post, and why."""

    taken: Taken
    said: str = ""


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


@dataclass(frozen=True, slots=True)
class Post:
    """What was posted: headers by lower-case name, and the body as it came."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Looked:
    """What the store holds of a source and of a delivery to it."""

    source: pb.GitSource | None = None
    delivery: str = ""
    is_known: bool = False


class Webhooks:
    """Takes posts. `ring` asks for a pass of a source; `asked` is told of pull requests to its branch. Neither waits. `is_busy` says
    whether a pass of a source is under way: the store is not asked then."""

    def __init__(
        self,
        store: Store,
        secrets: ReadsSecrets,
        ring: Callable[[str], None],
        asked: Callable[[pb.GitSource, PullRequest], None],
        clock: Clock,
        is_busy: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._is_busy = is_busy
        self._store = store
        self._secrets = secrets
        self._ring = ring
        self._asked = asked
        self._clock = clock
        self._sources: OrderedDict[str, pb.GitSource] = OrderedDict()
        self._late: dict[str, asyncio.Future[_Looked]] = {}
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._deliveries: OrderedDict[str, None] = OrderedDict()
        self._unheard: OrderedDict[str, pb.GitCondition] = OrderedDict()
        self._unkept: list[str] = []
        self._keeping: asyncio.Task[None] | None = None
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._of_all = TokenBucket(BURST_OF_ALL, PER_SECOND_OF_ALL)
        self._decoy = Secret(randomness.token_hex(20))

    def admit(self, source_id: str) -> bool:
        """Whether one more post to a source is looked at now, before anything of it is read."""
        now = self._clock.monotonic()
        bucket = self._buckets.setdefault(source_id, TokenBucket(BURST, PER_SECOND))
        self._buckets.move_to_end(source_id)
        while len(self._buckets) > SOURCES_MAX:
            self._buckets.popitem(last=False)
        return bucket.take(now) and self._of_all.take(now)

    async def restore(self) -> None:
        """Remembers which sources are posted to."""
        for source in await self._store.read(lambda unit: list(sources_in(unit))):
            if source.webhook.secrets:
                self._remember_source(last_segment(source.name), source)

    def heard(self, source: pb.GitSource, revision: pb.GitRevision) -> None:
        """A pass has kept a revision: from now on its source is known. What is remembered of it already may be newer."""
        del revision
        if source.webhook.secrets and last_segment(source.name) not in self._sources:
            self._remember_source(last_segment(source.name), source)
            self._renew(self._known.setdefault(source.uid, _Known()), source)

    async def receive(self, source_id: str, post: Post) -> Reception:
        """Takes one post. Raises StoreUnavailable."""
        looked = await self._look(source_id, post) if is_id(source_id) else _Looked()
        source = looked.source
        is_there = source is not None and bool(source.webhook.secrets)
        try:
            is_believed = await self._is_believed(source, post) if source is not None and is_there else False
        except PyMigrateError as error:
            log.warning("webhook.unreadable", source=source_id, reason=error.reason, error=error.message)
            if source is not None:
                self._note_unheard(source, error)
            return Reception(Taken.UNREADABLE, "the secrets of this source can't be read just now")
        if source is None or not is_there:
            await self._is_good(NOBODY, post, [self._decoy])  # takes as long as where there is one
            return Reception(Taken.REFUSED)
        if not is_believed:
            log.info("webhook.refused", source=source_id)
            return Reception(Taken.REFUSED)
        return self._believed(source, post, looked)

    def condition(self, uid: str) -> pb.GitCondition | None:
        """That a source is not heard, since its secrets can't be read; None where they can, or nothing was posted."""
        return self._unheard.get(uid)

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

    async def close(self) -> None:
        """Ends with what it has in hand."""
        under_way = [known.renewing for known in self._known.values() if known.renewing is not None]
        await asyncio.gather(*under_way, *filter(None, [self._keeping]), return_exceptions=True)

    async def _look(self, source_id: str, post: Post) -> _Looked:
        """What the store says, or where it does not answer at once what it said last; it is not known then whether the delivery came
        before to an earlier engine."""
        digest = hashlib.sha256(post.body).digest()
        remembered = self._sources.get(source_id)
        if remembered is not None and (source_id in self._late or self._is_busy(remembered.name)):
            return _Looked(remembered, _delivery(remembered, post.headers, digest))
        work = partial(_looked, source_id=source_id, headers=post.headers, digest=digest)
        reading = asyncio.ensure_future(self._store.read(work))
        if remembered is None:
            return self._noted(source_id, await reading)
        await asyncio.wait({reading}, timeout=LOOK_SECONDS_MAX)
        if reading.done():
            return self._noted(source_id, reading.result())
        self._late[source_id] = reading
        reading.add_done_callback(partial(self._come_late, source_id))
        return _Looked(remembered, _delivery(remembered, post.headers, digest))

    def _come_late(self, source_id: str, reading: "asyncio.Future[_Looked]") -> None:
        if self._late.get(source_id) is reading:
            del self._late[source_id]
        if not reading.cancelled() and reading.exception() is None:
            self._noted(source_id, reading.result())

    def _noted(self, source_id: str, looked: _Looked) -> _Looked:
        if looked.source is None:
            self._sources.pop(source_id, None)
        else:
            self._remember_source(source_id, looked.source)
        return looked

    def _remember_source(self, source_id: str, source: pb.GitSource) -> None:
        self._sources[source_id] = source
        self._sources.move_to_end(source_id)
        while len(self._sources) > SOURCES_MAX:
            self._sources.popitem(last=False)

    def _believed(self, source: pb.GitSource, post: Post, looked: _Looked) -> Reception:
        provider, delivery = source.webhook.provider, looked.delivery
        if looked.is_known or delivery in self._deliveries:
            return Reception(Taken.KNOWN)
        try:
            events = events_of(provider, post.headers, post.body)
        except InvalidDefinition as error:
            log.warning("webhook.malformed", source=source.name, error=error.message)
            return Reception(Taken.MALFORMED, error.message)
        taken = [self._heard(source, event) for event in events]
        self._remember(delivery)
        log.info("webhook.heard", source=source.name, events=[type(event).__name__ for event in events])
        return Reception(Taken.TAKEN if any(taken) else Taken.IGNORED)

    def _heard(self, source: pb.GitSource, event: Event) -> bool:
        """Whether anything comes of it."""
        match event:
            case Push() if concerns(source, event):
                self._ring(source.name)
                return True
            case PullRequest() if is_asked_of(source, event):
                self._asked(source, event)
                return event.action is not PullRequestAction.CLOSED
            case _:
                return isinstance(event, Ping)

    async def _is_believed(self, source: pb.GitSource, post: Post) -> bool:
        """With the secrets as they are remembered, and where none fits with those that their backends have now."""
        known = self._known.setdefault(source.uid, _Known())
        self._known.move_to_end(source.uid)
        while len(self._known) > SOURCES_MAX:
            self._known.popitem(last=False)
        read_at = await self._read(known, source, SECRETS_OLD_SECONDS_MAX)
        self._unheard.pop(source.uid, None)
        self._renew(known, source)
        if await self._is_good(source, post, known.secrets):
            return True
        again_at = await self._read(known, source, READ_AGAIN_SECONDS_MIN)
        return again_at > read_at and await self._is_good(source, post, known.secrets)

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

    def _remember(self, delivery: str) -> None:
        """In memory at once, and in the store as soon as it can: a pass that writes keeps nobody waiting."""
        self._deliveries[delivery] = None
        while len(self._deliveries) > DELIVERIES_MAX:
            self._deliveries.popitem(last=False)
        self._unkept.append(delivery)
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep(), name="deliveries of webhooks")

    async def _keep(self) -> None:
        while self._unkept:
            keeping, self._unkept = self._unkept, []

            def work(unit: Unit, keeping: Sequence[str] = tuple(keeping)) -> None:
                for each in keeping:
                    if unit.requests.get(METHOD, each) is None:
                        unit.requests.put(METHOD, each, b"", b"", self._clock.now())

            try:
                await self._store.transact(work)
            except StoreUnavailable as error:  # they are known as long as this engine lives
                log.warning("webhook.deliveries_unkept", count=len(keeping), error=error.message)


def concerns(source: pb.GitSource, push: Push) -> bool:
    """Whether a push may lead to another commit than the one that a source has."""
    if not _is_of(source, push.repository):
        return False
    match source.WhichOneof("reference"):
        case "branch":
            return push.reference == f"{HEADS}{source.branch}"
        case "tag":
            return push.reference == f"{TAGS}{source.tag}"
        case "commit":
            return push.commit == source.commit
        case _:
            return push.reference.startswith(HEADS) and push.default_branch in {"", push.reference.removeprefix(HEADS)}


def is_asked_of(source: pb.GitSource, asked: PullRequest) -> bool:
    """Whether a pull request is to the branch that a source applies, and told of."""
    if not source.host.reports_pull_requests or not _is_of(source, asked.repository):
        return False
    match source.WhichOneof("reference"):
        case "branch":
            return asked.target_branch == source.branch
        case None:
            return asked.default_branch in {"", asked.target_branch}
        case _:
            return False


def _is_of(source: pb.GitSource, repository: str) -> bool:
    """Whether it is the repository that the source names, if it does. Hosts do not tell names apart by their case."""
    return not source.host.repository or source.host.repository.casefold() == repository.casefold()


def _looked(unit: Unit, source_id: str, headers: Mapping[str, str], digest: bytes) -> _Looked:
    resource = unit.resources.get(f"{COLLECTION}/{source_id}")
    if resource is None:
        return _Looked()
    source = GIT_SOURCES.read(resource)
    delivery = _delivery(source, headers, digest)
    return _Looked(source, delivery, unit.requests.get(METHOD, delivery) is not None)


def _delivery(source: pb.GitSource, headers: Mapping[str, str], digest: bytes) -> str:
    """What a delivery to a source is kept under; empty for one that is posted nothing."""
    provider = source.webhook.provider
    return f"{source.uid} {delivery_of(provider, headers, digest)}" if provider else ""
