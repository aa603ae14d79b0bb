"""What has no effect is noted too: calls that were refused, and reads of what is sensitive, each in a transaction of its own before the
answer. Everything else is in the trail with its effect.

The door (`entrypoints/authorized.py`) notes both. Whoever is refused again and again can't fill the store: what is beyond the limit is
counted, and told with the next that is noted.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

import structlog

from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.domain.token_bucket import TokenBucket
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import AuditEntry, Store

log = structlog.get_logger(__name__)
DENY, READ = "deny", "read"
OUTCOME_OK = "OK"
# Whoever shows no credential that holds.
NOBODY = "nobody"
REFUSALS_PER_SECOND_MAX = 10.0
# Of all together: an address is soon another one.
REFUSALS_OF_ALL_PER_SECOND_MAX = 100.0
CALLERS_KEPT_MAX = 1_000
SUBJECT_CHARACTERS_MAX = 500
# Reads that tell more than what is declared and where it stands: what lies behind a connection, what others did, what people were told.
SENSITIVE_READS = frozenset(
    {
        "AuditService/ExportAudit",
        "AuditService/ListAuditEvents",
        "AuditService/VerifyAudit",
        "ConnectionService/DiscoverSchema",
        "ConnectionService/TestConnection",
        "NotificationService/GetDelivery",
        "SecretBackendService/TestSecretBackend",
    }
)


@dataclass(frozen=True, slots=True)
class NotedCall:
    """A call as the trail tells it. `method` is `RunService/StartRun`; `subject` what it is about: the name that its request gives, or
    else the place that was asked for. `principal` is empty where nobody is known."""

    principal: str
    method: str
    subject: str = ""
    origin: str = ""
    request_id: str = ""
    trace_id: str = ""


@dataclass(slots=True)
class _Told:
    bucket: TokenBucket = field(default_factory=lambda: TokenBucket(REFUSALS_PER_SECOND_MAX, REFUSALS_PER_SECOND_MAX))
    left_out: int = 0


class Noting:
    """Writes both kinds of entries."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._callers: OrderedDict[tuple[str, str], _Told] = OrderedDict()
        self._all = _Told(TokenBucket(REFUSALS_OF_ALL_PER_SECOND_MAX, REFUSALS_OF_ALL_PER_SECOND_MAX))

    async def refused(self, call: NotedCall, status: str) -> None:
        """Notes a call that was refused with a status, as `PERMISSION_DENIED`. Never raises for a store that can't be written: the call is
        refused in any case."""
        told = self._of(call)
        now = self._clock.monotonic()
        # The caller's own bucket first, so that one who is beyond it takes nothing away from the others.
        if not told.bucket.take(now):
            told.left_out += 1
            return
        if not self._all.bucket.take(now):
            self._all.left_out += 1
            return
        own, others = told.left_out, self._all.left_out
        told.left_out = self._all.left_out = 0
        try:
            await self._append(call, DENY, status, _left_out(own, others))
        except PyMigrateError as error:
            told.left_out += own + 1
            self._all.left_out += others
            log.error("audit.not_noted", method=call.method, principal=call.principal, outcome=status, error=str(error))

    async def read(self, call: NotedCall) -> None:
        """Notes a read of what is sensitive. What can't be noted is not read: raises what the store raises."""
        await self._append(call, READ, OUTCOME_OK, "")

    async def _append(self, call: NotedCall, word: str, outcome: str, detail: str) -> None:
        entry = AuditEntry(
            self._clock.now(),
            call.principal or NOBODY,
            word,
            call.subject[:SUBJECT_CHARACTERS_MAX],
            0,
            detail,
            origin=call.origin,
            method=call.method,
            request_id=call.request_id,
            trace_id=call.trace_id,
            outcome=outcome,
        )
        await self._store.transact(lambda unit: unit.audit.append(entry))

    def _of(self, call: NotedCall) -> _Told:
        key = (call.principal, "" if call.principal else call.origin)
        told = self._callers.pop(key, None) or _Told()
        self._callers[key] = told  # the last of all
        if len(self._callers) > CALLERS_KEPT_MAX:
            _, forgotten = self._callers.popitem(last=False)
            self._all.left_out += forgotten.left_out
        return told


def _left_out(own: int, others: int) -> str:
    parts = [f"{own:,} refusals before it were not noted"] if own else []
    if others:
        parts.append(f"{others:,} of other callers were not noted")
    return "; ".join(parts)
