"""Messages to whatever Apprise reaches, by its URLs, from a process of its own: see `apprise_sending` for what it does and may do there.

Apprise says whether a service took a message, and else what it complained of, but not whether another try may help: it is tried again.
"""

import asyncio
from collections.abc import Callable

from pymigrate.engine.adapters.answers import Answers
from pymigrate.engine.adapters.channels.addresses import OutgoingAddresses
from pymigrate.engine.adapters.channels.apprise_process import (
    AppriseEndedError,
    AppriseNotStartedError,
    AppriseProcess,
)
from pymigrate.engine.adapters.channels.apprise_urls import filled, secrets_of
from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.domain.errors import InvalidDefinition, SecretMissing
from pymigrate.engine.ports.channel import Letter, Sent
from pymigrate.engine.ports.secrets import Secret


class AppriseChannel:
    """Sends by one URL, which `url` reads anew for each try: it may have been changed under its reference."""

    def __init__(self, url: Callable[[], Secret], addresses: OutgoingAddresses, try_seconds_max: float) -> None:
        self._url = url
        self._allowed = addresses.allowed
        self._try_seconds_max = try_seconds_max
        self._process: AppriseProcess | None = None
        self._starting = asyncio.Lock()

    @property
    def pid(self) -> int:
        """The process that takes messages now; 0 where none does."""
        return self._process.pid if self._process is not None else 0

    async def send(self, letter: Letter) -> Sent:
        """Sends once."""
        asking = _Asking()
        try:
            async with asyncio.timeout(self._try_seconds_max):
                return await self._send(letter, asking)
        except TimeoutError:
            return Sent(asking.lost, f"no answer within {self._try_seconds_max:g} s")
        except InvalidDefinition as error:
            return Sent(TryOutcome.PERMANENT, error.message)
        except (SecretMissing, AppriseNotStartedError, AppriseEndedError) as error:
            return Sent(asking.lost, str(error))

    async def close(self) -> None:
        """Ends the process."""
        async with self._starting:
            if self._process is not None:
                await self._process.close()

    async def _send(self, letter: Letter, asking: "_Asking") -> Sent:
        template = (await asyncio.to_thread(self._url)).reveal()
        url = filled(template, letter.to)
        body, link = letter.body, letter.acknowledge_url
        if link and link not in body:
            body = f"{body.rstrip()}\n\n{link}\n"
        process = await self._running()
        asking.is_asked = True
        answer = await process.ask({"url": url, "title": letter.subject, "body": body})
        said = Answers((Secret(url), *secrets_of(template))).said(str(answer["said"]))
        if answer["is_sent"]:
            return Sent(TryOutcome.ACCEPTED, said)
        outcome = TryOutcome.PERMANENT if answer.get("is_refused") else TryOutcome.TRANSIENT
        return Sent(outcome, said or "Apprise did not say why")

    async def _running(self) -> AppriseProcess:
        """The process that takes messages now. Whoever comes while it starts waits for it."""
        async with self._starting:
            former = self._process
            if former is None or former.is_retired:
                if former is not None and former.is_idle:
                    await former.close()
                starting = AppriseProcess(self._allowed)
                await starting.start()
                self._process = former = starting
            return former


class _Asking:
    """Whether a message was handed to the process."""

    def __init__(self) -> None:
        self.is_asked = False

    @property
    def lost(self) -> TryOutcome:
        """What a try is that ends without an answer."""
        return TryOutcome.UNKNOWN if self.is_asked else TryOutcome.TRANSIENT
