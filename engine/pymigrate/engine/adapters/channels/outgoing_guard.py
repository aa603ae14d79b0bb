"""Holds a whole process to the addresses that may be connected to, whatever libraries it runs: it asks the interpreter itself.

A connection is judged by the address that it is made to, when it is made, so that a redirect or a name that changes leads nowhere else.
Sockets of this machine and other programs are refused altogether. It can't be taken off again.
"""

import contextvars
import errno
import socket
import sys
from collections.abc import Sequence
from typing import Any

from pymigrate.engine.adapters.channels.addresses import OutgoingAddresses

CONNECTING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
STARTING = frozenset(
    {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty"}
)

# What was refused while something was sent, for whoever sends it; None where nobody asks.
refusals: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("refusals", default=None)


def guard_process(addresses: OutgoingAddresses) -> None:
    """From now on nothing of this process connects elsewhere."""
    allowed_by_name: set[str] = set()
    ask = socket.getaddrinfo

    def noted(host: Any, *arguments: Any, **named: Any) -> Any:
        """Resolves, and notes the addresses of a name that may lead anywhere."""
        found = ask(host, *arguments, **named)
        if isinstance(host, str) and addresses.is_allowed_host(host):
            allowed_by_name.update(str(sockaddr[0]) for *_, sockaddr in found)
        return found

    def hook(event: str, arguments: Sequence[Any]) -> None:
        if event in STARTING:
            _refuse("another program may not be started")
        if event in CONNECTING:
            address = arguments[1]
            if address is None:  # a socket that was connected before
                return
            if not isinstance(address, tuple):
                _refuse("a socket of this machine may not be connected to")
            elif address[0] not in allowed_by_name and (objection := addresses.judge(str(address[0]))):
                _refuse(f"it leads to {objection}: name its network in PYMIGRATE_OUTGOING_ALLOWED if it may")

    socket.getaddrinfo = noted
    sys.addaudithook(hook)


def _refuse(said: str) -> None:
    noted = refusals.get()
    if noted is not None:
        noted.append(said)
    raise PermissionError(errno.EACCES, said)
