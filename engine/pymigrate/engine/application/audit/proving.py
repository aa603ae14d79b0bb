"""Whether the trail holds, as a caller asks it: one reading of the whole trail at a time, however many ask."""

import asyncio

from pymigrate.engine.application.audit.seal_messages import seal_from
from pymigrate.engine.application.audit.verdict_messages import verdict_message
from pymigrate.engine.application.audit.verifying import Verifying
from pymigrate.v1 import audit_pb2


class ProvedTrail:
    """The use case behind VerifyAudit."""

    def __init__(self, verifying: Verifying) -> None:
        self._verifying = verifying
        self._one = asyncio.Lock()

    async def verify(self, request: audit_pb2.VerifyAuditRequest) -> audit_pb2.VerifyAuditResponse:
        """What holds. Raises InvalidDefinition for a known seal that is none."""
        known = seal_from(request.known_seal) if request.HasField("known_seal") else None
        async with self._one:
            return verdict_message(await self._verifying.verify(known))
