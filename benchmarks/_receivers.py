"""Those who are told, in a process of their own: a real SMTP server and a real HTTP server on loopback, both of which fail in a tenth of
all tries.

`python _receivers.py SHARE HANG_SECONDS`: says where they listen, as JSON, then answers each line of its standard input: `clear SEED`
forgets everything and draws other faults, `taken` tells what was taken and which faults were injected. A fault is drawn from the seed,
the recipient and how often that one was tried, so that it is the same for whoever sends.
"""

import asyncio
import json
import random
import socket
import struct
import sys
from collections import Counter
from email.parser import BytesHeaderParser
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

FAULTS = ("error", "reset", "lost", "hang")
HEADERS_BYTES_MAX = 65_536
AT_ONCE = struct.pack("ii", 1, 0)


class Receivers:
    """What was taken: by kind and recipient, the keys, each as often as it came."""

    def __init__(self, share: float, hang_seconds: float) -> None:
        self._share = share
        self._hang_seconds = hang_seconds
        self.clear(0)

    def clear(self, seed: int) -> None:
        """Forgets everything."""
        self._seed = seed
        self._tries: Counter[str] = Counter()
        self.taken: dict[str, list[str]] = {}
        self.faults: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()

    def fault(self, kind: str, to: str) -> str:
        """What goes wrong with this try; empty: nothing does."""
        who = f"{kind} {to}"
        self._tries[who] += 1
        rng = random.Random(f"{self._seed} {who} {self._tries[who]}")
        if rng.random() >= self._share:
            return ""
        fault = rng.choice(FAULTS)
        self.faults[f"{kind}.{fault}"] += 1
        return fault

    def take(self, kind: str, to: str, key: str, *, is_lost: bool) -> None:
        """Notes a message; `is_lost`: its sender will not hear of it."""
        self.taken.setdefault(f"{kind} {to}", []).append(key)
        if is_lost:
            self.lost[f"{kind} {to}"] += 1

    async def hang(self) -> None:
        """Says nothing for a while."""
        await asyncio.sleep(self._hang_seconds)

    def told(self) -> dict[str, Any]:
        """Everything, as JSON data."""
        return {"taken": self.taken, "faults": self.faults, "lost": self.lost, "tries": self._tries.total()}


class Mail:
    """What the SMTP server does with a message."""

    def __init__(self, receivers: Receivers) -> None:
        self._receivers = receivers

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Takes it, or fails as drawn."""
        to = envelope.rcpt_tos[0]
        key = BytesHeaderParser().parsebytes(envelope.content or b"").get("Message-ID", "")  # type: ignore[arg-type]  # it is bytes here
        match self._receivers.fault("mail", to):
            case "error":
                return "451 4.3.0 try again later"
            case "reset":
                _reset(server.transport)
                return "451 4.3.0 unheard"
            case "hang":
                await self._receivers.hang()
                return "451 4.3.0 unheard"
            case "lost":
                self._receivers.take("mail", to, key, is_lost=True)
                _reset(server.transport)
                return "250 unheard"
        self._receivers.take("mail", to, key, is_lost=False)
        return "250 2.0.0 taken"


async def over_http(receivers: Receivers, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes what is posted on a connection, one after the other, or fails as drawn."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
            }
            await reader.readexactly(int(headers.get("content-length", "0")))
            to, key = first.split(" ")[1], headers.get("idempotency-key", "")
            fault = receivers.fault("hook", to)
            if fault == "hang":
                await receivers.hang()
            if fault in {"reset", "hang"}:
                _reset(writer.transport)
                return
            if fault != "error":
                receivers.take("hook", to, key, is_lost=fault == "lost")
            if fault == "lost":
                _reset(writer.transport)
                return
            status = "503 Service Unavailable" if fault == "error" else "202 Accepted"
            writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode())
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the sender is gone, which is its right
    finally:
        writer.close()


def _reset(transport: Any) -> None:
    """Ends a connection without a word."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    transport.abort()


async def main(share: float, hang_seconds: float) -> None:
    """Serves until standard input ends."""
    loop, receivers = asyncio.get_running_loop(), Receivers(share, hang_seconds)
    mail = await loop.create_server(
        lambda: SMTP(Mail(receivers), hostname="localhost", loop=loop), "127.0.0.1", 0, backlog=1_000
    )
    hook = await asyncio.start_server(
        lambda reader, writer: over_http(receivers, reader, writer),
        "127.0.0.1",
        0,
        limit=HEADERS_BYTES_MAX,
        backlog=1_000,
    )
    ports = {"mail": mail.sockets[0].getsockname()[1], "hook": hook.sockets[0].getsockname()[1]}
    print(json.dumps(ports), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        word, _, rest = line.strip().partition(" ")
        if word == "clear":
            receivers.clear(int(rest))
        print(json.dumps(receivers.told() if word == "taken" else "done"), flush=True)


if __name__ == "__main__":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(float(sys.argv[1]), float(sys.argv[2])))
