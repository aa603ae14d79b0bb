"""The reference: the same messages sent by aiosmtplib and httpx alone, with the same connections, limits of time and pauses, and nothing
kept.

`python _bare_senders.py MAIL_PORT HOOK_PORT RECIPIENTS TRY_SECONDS`: answers each line with the seconds that it took until all were
confirmed.
"""

import asyncio
import random
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from email.message import EmailMessage

import aiosmtplib
import httpx

MAIL_CONNECTIONS = 20
HOOK_CONNECTIONS = 50
TRIES_MAX = 20
PAUSE_FIRST_SECONDS = 0.2
PAUSE_MAX_SECONDS = 2.0


class MailPool:
    """Connections that are kept and used again."""

    def __init__(self, port: int, try_seconds: float) -> None:
        self._port = port
        self._try_seconds = try_seconds
        self._free: asyncio.LifoQueue[aiosmtplib.SMTP | None] = asyncio.LifoQueue()
        for _ in range(MAIL_CONNECTIONS):
            self._free.put_nowait(None)

    async def send(self, message: EmailMessage) -> None:
        """Sends once. Raises what went wrong."""
        client = await self._free.get()
        try:
            async with asyncio.timeout(self._try_seconds):
                if client is None:
                    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=self._port, use_tls=False, start_tls=False)
                    await client.connect()
                await client.send_message(message)
        except BaseException:
            if client is not None:
                client.close()
            client = None
            raise
        finally:
            self._free.put_nowait(client)

    async def close(self) -> None:
        """Ends them."""
        while not self._free.empty():
            client = self._free.get_nowait()
            if client is not None:
                client.close()


async def again(once: Callable[[], Awaitable[None]], rng: random.Random) -> None:
    """Until it works."""
    pause = PAUSE_FIRST_SECONDS
    for _ in range(TRIES_MAX):
        try:
            await once()
        except (aiosmtplib.SMTPException, httpx.HTTPError, TimeoutError, OSError):
            await asyncio.sleep(pause * rng.uniform(0.5, 1.0))
            pause = min(PAUSE_MAX_SECONDS, pause * 2)
        else:
            return
    raise AssertionError(f"{TRIES_MAX} tries were not enough")


async def send_all(mail_port: int, hook_port: int, recipients: int, try_seconds: float) -> float:
    """Everything to everybody; how long it took, in seconds."""
    begun, rng, pool = time.monotonic(), random.Random(1), MailPool(mail_port, try_seconds)
    limits = httpx.Limits(max_connections=HOOK_CONNECTIONS, max_keepalive_connections=HOOK_CONNECTIONS)
    at_once = asyncio.Semaphore(HOOK_CONNECTIONS)
    async with httpx.AsyncClient(limits=limits, timeout=try_seconds, trust_env=False) as http:

        async def mail(number: int) -> None:
            message = EmailMessage()
            message["From"], message["To"] = "migrations@example.com", f"r{number}@example.com"
            message["Subject"], message["Message-ID"] = "sales is published", f"<{uuid.uuid4().hex}@example.com>"
            message.set_content("The phase sales of the plan warehouse is published.")
            await again(lambda: pool.send(message), rng)

        async def hook(number: int) -> None:
            headers = {"idempotency-key": uuid.uuid4().hex, "content-type": "application/cloudevents+json"}

            async def once() -> None:
                async with at_once, asyncio.timeout(try_seconds):
                    answer = await http.post(f"http://127.0.0.1:{hook_port}/r{number}", content=b"{}", headers=headers)
                    answer.raise_for_status()

            await again(once, rng)

        await asyncio.gather(*(send(number) for number in range(recipients) for send in (mail, hook)))
    await pool.close()
    return time.monotonic() - begun


def main(mail_port: int, hook_port: int, recipients: int, try_seconds: float) -> None:
    """A round for each line."""
    import uvloop

    print("ready", flush=True)
    for _ in sys.stdin:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(runner.run(send_all(mail_port, hook_port, recipients, try_seconds)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
