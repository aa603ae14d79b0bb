"""Who did what, and the seals over it, page by page."""

from collections.abc import Sequence

from pymigrate.engine.application.audit.asked_times import moment_of
from pymigrate.engine.application.audit.event_messages import event_message
from pymigrate.engine.application.audit.page_tokens import page_token, read_page_token
from pymigrate.engine.application.audit.seal_messages import seal_message
from pymigrate.engine.application.pages import page_limit
from pymigrate.engine.domain.audit_chain import Seal
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.names import matches
from pymigrate.engine.ports.audit import AuditFilter, Found
from pymigrate.engine.ports.feed import FeedEntry
from pymigrate.engine.ports.store import Store
from pymigrate.v1 import audit_pb2

# Each look is a read of its own, so that whoever writes waits for one at most; a page that has found little by then goes on with its token.
LOOKS_MAX = 20
FILTER_CHARACTERS_MAX = 1_000


class AuditListing:
    """The use cases behind ListAuditEvents and ListAuditSeals. `public_key` is the PEM of what seals are signed with."""

    def __init__(self, store: Store, public_key: str) -> None:
        self._store = store
        self._public_key = public_key

    async def events(self, request: audit_pb2.ListAuditEventsRequest) -> audit_pb2.ListAuditEventsResponse:
        """A page of events, in order; it may have fewer than were asked for, or none, though there are more. Raises InvalidDefinition."""
        asked, size = _filter_of(request), page_limit(request.page_size)
        last = read_page_token(request, "ListAuditEvents")
        entries: list[FeedEntry] = []
        is_end = False
        for _ in range(LOOKS_MAX):
            found = await self._find(asked, last, size - len(entries))
            entries.extend(found.entries)
            last, is_end = found.last, found.is_end
            if is_end or len(entries) >= size:
                break
        return audit_pb2.ListAuditEventsResponse(
            audit_events=[event_message(entry) for entry in entries],
            next_page_token="" if is_end else page_token(request, last),
        )

    async def seals(self, request: audit_pb2.ListAuditSealsRequest) -> audit_pb2.ListAuditSealsResponse:
        """A page of seals, in order. Raises InvalidDefinition."""
        if request.after < 0:
            raise InvalidDefinition((Problem("after", "can't be negative"),))
        size = page_limit(request.page_size)
        after = max(request.after, read_page_token(request, "ListAuditSeals"))
        found: Sequence[Seal] = await self._store.read(lambda unit: unit.seals.list(after, size + 1))
        return audit_pb2.ListAuditSealsResponse(
            audit_seals=[seal_message(seal) for seal in found[:size]],
            next_page_token=page_token(request, found[size - 1].number) if len(found) > size else "",
            public_key=self._public_key,
        )

    async def _find(self, asked: AuditFilter, after: int, limit: int) -> Found:
        return await self._store.read(lambda unit: unit.audit.find(asked, after, limit))


def _filter_of(request: audit_pb2.ListAuditEventsRequest) -> AuditFilter:
    problems = [
        Problem(field, f"has at most {FILTER_CHARACTERS_MAX:,} characters")
        for field in ("subject", "principal", "action", "outcome")
        if len(getattr(request, field)) > FILTER_CHARACTERS_MAX
    ]
    if request.environment and not matches(request.environment, "environments"):
        problems.append(Problem("environment", "is no environment's name: write it as environments/prod"))
    start, end = moment_of(request, "start_time", problems), moment_of(request, "end_time", problems)
    if start is not None and end is not None and end <= start:
        problems.append(Problem("end_time", "must be after start_time"))
    if problems:
        raise InvalidDefinition(tuple(problems))
    return AuditFilter(
        request.environment, request.subject, request.principal, request.action, request.outcome, start, end
    )
