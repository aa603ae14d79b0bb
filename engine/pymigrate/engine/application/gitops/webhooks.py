"""What hosts post to a source: believed where it is signed, known where it comes again, and answered before anything comes of it.

A push rings the source's bell, a pull request is handed on. A store that is busy, as with a pass, is not waited for where the
source and its secrets are remembered: what is asked of it comes in later.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

import structlog

from pymigrate.engine.application.gitops.webhook_concerns import concerns, is_asked_of
from pymigrate.engine.application.gitops.webhook_deliveries import Deliveries
from pymigrate.engine.application.gitops.webhook_events import (
    Event,
    Ping,
    PullRequest,
    PullRequestAction,
    Push,
    events_of,
)
from pymigrate.engine.application.gitops.webhook_posts import Post, Reception, Taken
from pymigrate.engine.application.gitops.webhook_secrets import ReadsSecrets, WebhookSecrets
from pymigrate.engine.application.gitops.webhook_sources import Looked, PostedSources
from pymigrate.engine.domain.errors import InvalidDefinition, PyMigrateError
from pymigrate.engine.domain.names import is_id
from pymigrate.engine.domain.token_bucket import TokenBucket
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Store
from pymigrate.v1 import git_source_pb2 as pb

log = structlog.get_logger(__name__)
SOURCES_MAX = 2_000
BURST, PER_SECOND = 100, 20.0  # of one source
BURST_OF_ALL, PER_SECOND_OF_ALL = 1_000, 200.0


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
        self._sources = PostedSources(store, is_busy)
        self._secrets = WebhookSecrets(secrets, clock)
        self._deliveries = Deliveries(store, clock)
        self._ring = ring
        self._asked = asked
        self._clock = clock
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._of_all = TokenBucket(BURST_OF_ALL, PER_SECOND_OF_ALL)

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
        await self._sources.restore()

    def heard(self, source: pb.GitSource, revision: pb.GitRevision) -> None:
        """A pass has kept a revision: from now on its source is known."""
        del revision
        if self._sources.remember_new(source):
            self._secrets.read_ahead(source)

    async def receive(self, source_id: str, post: Post) -> Reception:
        """Takes one post. Raises StoreUnavailable."""
        looked = await self._sources.look(source_id, post) if is_id(source_id) else Looked()
        source = looked.source
        if source is None or not source.webhook.secrets:
            await self._secrets.disbelieve(post)
            return Reception(Taken.REFUSED)
        try:
            is_believed = await self._secrets.is_believed(source, post)
        except PyMigrateError as error:
            log.warning("webhook.unreadable", source=source_id, reason=error.reason, error=error.message)
            return Reception(Taken.UNREADABLE, "the secrets of this source can't be read just now")
        if not is_believed:
            log.info("webhook.refused", source=source_id)
            return Reception(Taken.REFUSED)
        return self._believed(source, post, looked)

    def condition(self, uid: str) -> pb.GitCondition | None:
        """That a source is not heard, since its secrets can't be read; None where they can, or nothing was posted."""
        return self._secrets.condition(uid)

    async def close(self) -> None:
        """Ends with what it has in hand."""
        await asyncio.gather(self._secrets.close(), self._deliveries.close())

    def _believed(self, source: pb.GitSource, post: Post, looked: Looked) -> Reception:
        provider, delivery = source.webhook.provider, looked.delivery
        if looked.is_known or self._deliveries.is_known(delivery):
            return Reception(Taken.KNOWN)
        try:
            events = events_of(provider, post.headers, post.body)
        except InvalidDefinition as error:
            log.warning("webhook.malformed", source=source.name, error=error.message)
            return Reception(Taken.MALFORMED, error.message)
        taken = [self._heard(source, event) for event in events]
        self._deliveries.remember(delivery)
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
