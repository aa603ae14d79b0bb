"""A channel whose secrets are in backends that are reached over a network.

They are read on a thread before each try, so that a backend that is away keeps nobody waiting but who needs it.
"""

import asyncio
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager

from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.domain.errors import PyMigrateError, SecretMissing
from pymigrate.engine.ports.channel import Channel, Letter, Sent
from pymigrate.engine.ports.secrets import Secret, SecretRef, Secrets


class ReadAhead:
    """Gives what was read last. Safe on every thread."""

    def __init__(self, refs: Collection[SecretRef], secrets: Secrets) -> None:
        self._refs = tuple(refs)
        self._secrets = secrets
        self._values: dict[SecretRef, Secret] = {}

    @property
    def schemes(self) -> frozenset[str]:
        """Those that there are backends for."""
        return self._secrets.schemes

    def refresh(self) -> None:
        """Reads all of it. Raises as `Secrets.read`."""
        self._values = {ref: self._secrets.read(ref) for ref in self._refs}

    def read(self, ref: SecretRef) -> Secret:
        """What was read last; nothing is asked."""
        if ref not in self._values:
            raise SecretMissing(f"{ref}: was not read for this channel")
        return self._values[ref]


class ReadAheadChannel:
    """Reads, and sends. `make` makes the channel that takes what was read; `holding` is given up with it."""

    def __init__(
        self, ahead: ReadAhead, make: Callable[[Secrets], Channel], holding: AbstractContextManager[object]
    ) -> None:
        self._ahead = ahead
        self._make = make
        self._holding = holding
        self._made: Channel | None = None

    async def send(self, letter: Letter) -> Sent:
        """What came of it. A secret that can't be read is one to try again for."""
        try:
            await asyncio.to_thread(self._ahead.refresh)
        except PyMigrateError as error:
            return Sent(TryOutcome.TRANSIENT, error.message)
        if self._made is None:
            self._made = self._make(self._ahead)
        return await self._made.send(letter)

    async def close(self) -> None:
        """Ends what is open."""
        if self._made is not None:
            await self._made.close()
        await asyncio.to_thread(self._holding.__exit__, None, None, None)
