"""Reads the whole trail again, and says whether it holds: a piece at a time, off the event loop, while everything else goes on."""

import asyncio

from pymigrate.engine.application.audit.trail import Stretch, stretches
from pymigrate.engine.domain.audit_chain import Head, Seal
from pymigrate.engine.domain.audit_verification import IsSigned, Verdict, Verification
from pymigrate.engine.ports.store import Store, Unit

# Retention may take away what is being read; then it is read again.
TRIES_MAX = 3


class Verifying:
    """Verifies the trail of a store. `is_signed` knows the engine's keys."""

    def __init__(self, store: Store, is_signed: IsSigned) -> None:
        self._store = store
        self._is_signed = is_signed

    async def verify(self, known: Seal | None = None) -> Verdict:
        """What the trail is found to be; `known` is a seal that was kept elsewhere. It ends at the first fault."""
        for _ in range(TRIES_MAX - 1):
            bases = await self._store.read(_bases)
            verdict = await self._read(bases, known)
            if verdict.fault is None or await self._store.read(_bases) == bases:
                return verdict
        return await self._read(await self._store.read(_bases), known)

    async def _read(self, bases: list[Head], known: Seal | None) -> Verdict:
        verification = Verification(bases, self._is_signed, known)
        async for stretch in stretches(self._store):
            await asyncio.to_thread(_feed, verification, stretch)
            if verification.is_settled:
                break
        return verification.finish()


def _bases(unit: Unit) -> list[Head]:
    return list(unit.seals.bases())


def _feed(verification: Verification, stretch: Stretch) -> None:
    verification.entries(stretch.entries)
    if stretch.seal is not None:
        verification.seal(stretch.seal, stretch.heads)
