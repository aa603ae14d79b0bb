"""A channel of one's own: a pager server that is told by lines over TCP, `PAGE <key> <number> <text>`, and answers each with one.

It is the whole of what a package needs: something to call with what was declared, and a channel that tries once and says what came of it.
"""

import asyncio

from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.ports.channel import ChannelOptions, Letter, Sent

TEXT_CHARACTERS_MAX = 160
ANSWERS = {
    "OK": TryOutcome.ACCEPTED,
    "BUSY": TryOutcome.TRANSIENT,
    "NOBODY": TryOutcome.PERMANENT,
}


def pager(options: ChannelOptions) -> "PagerChannel":
    """What the entry point leads to. Raises InvalidDefinition for what can't be meant."""
    server = options.options.get("server", "")
    host, _, port = server.rpartition(":")
    if not host or not port.isdecimal():
        raise InvalidDefinition((Problem("plugin.options.server", f"`{server}` is not host:port"),))
    token = options.secrets.get("token")
    return PagerChannel(host, int(port), token.reveal() if token is not None else "")


class PagerChannel:
    """Opens a connection for each message. The engine's own limit of time holds for it."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._host = host
        self._port = port
        self._token = token

    async def send(self, letter: Letter) -> Sent:
        """Tries once. Before the line is written nothing can have been paged; after it, only the answer says so."""
        text = " ".join(f"{letter.subject} {letter.acknowledge_url}".split())[:TEXT_CHARACTERS_MAX]
        if not letter.to.isdecimal():
            return Sent(TryOutcome.PERMANENT, f"`{letter.to}` is not the number of a pager")
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port)
        except OSError as error:
            return Sent(TryOutcome.TRANSIENT, f"the pager server is away: {error}")
        try:
            writer.write(f"TOKEN {self._token}\nPAGE {letter.key} {letter.to} {text}\n".encode())
            await writer.drain()
            answer = (await reader.readline()).decode(errors="replace").strip()
        except OSError as error:
            return Sent(TryOutcome.UNKNOWN, f"the connection was lost: {error}")
        finally:
            writer.transport.abort()
        return Sent(ANSWERS.get(answer.partition(" ")[0], TryOutcome.UNKNOWN), answer)

    async def close(self) -> None:
        """Nothing stays open."""
