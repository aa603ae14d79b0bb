"""Processes of git's. The loop's own way to start one copies the tables of the engine's memory first, which takes longer than what git
then does; `subprocess` borrows them until the program is there."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, cast

PIECE_BYTES = 262_144


class Child:
    """One that runs, the leader of a group and session of its own. `stdin` is None where it is told nothing."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._transports: list[asyncio.BaseTransport] = []
        self._connected: list[asyncio.StreamReader] = []
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout = asyncio.StreamReader(PIECE_BYTES)
        self.stderr = asyncio.StreamReader(PIECE_BYTES)

    @staticmethod
    async def start(command: Sequence[str], folder: Path, environment: Mapping[str, str], *, is_told: bool) -> "Child":
        """Starts one. Raises OSError."""
        child = Child(_started(command, folder, environment, is_told=is_told))
        try:
            await child._connect()
        except BaseException:
            await asyncio.shield(child.end())
            raise
        return child

    async def wait(self) -> int:
        """Its code when it has ended, negative for a signal."""
        code = self._process.poll()
        return await asyncio.to_thread(self._process.wait) if code is None else code

    async def end(self) -> None:
        """Ends it with everything that it has started; after a good end, too, since a transport may have left something behind."""
        with contextlib.suppress(
            ProcessLookupError, PermissionError
        ):  # it is gone already, with or without its children
            os.killpg(self._process.pid, signal.SIGKILL)
        await self.wait()
        for reader in self._connected:  # until nobody has the other end open, which is when all of them are gone
            while await reader.read(PIECE_BYTES):
                pass
        for transport in self._transports:
            transport.close()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()  # those that no transport has taken

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        for reader, pipe in ((self.stdout, self._process.stdout), (self.stderr, self._process.stderr)):
            if pipe is None:
                continue
            transport, _ = await loop.connect_read_pipe(
                partial(asyncio.StreamReaderProtocol, reader), _handed_over(pipe, loop)
            )
            self._transports.append(transport)
            self._connected.append(reader)
        if self._process.stdin is not None:
            waiting = asyncio.StreamReaderProtocol(asyncio.StreamReader())
            writing, _ = await loop.connect_write_pipe(lambda: waiting, _handed_over(self._process.stdin, loop))
            self._transports.append(writing)
            self.stdin = asyncio.StreamWriter(writing, waiting, None, loop)


class _Descriptor:
    """The end of a pipe that the loop closes itself, by its number. Closing it here too would close whatever another thread has opened
    under that number since, such as a connection of gRPC's, of which the engine dies."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        """The number."""
        return self._number

    def close(self) -> None:
        """Left to the loop."""


def _handed_over(pipe: IO[bytes], loop: asyncio.AbstractEventLoop) -> IO[bytes]:
    """The same end of a pipe, which is the transport's alone from now on."""
    number, mode = os.dup(pipe.fileno()), "rb" if pipe.readable() else "wb"
    pipe.close()
    if isinstance(loop, asyncio.BaseEventLoop):  # which closes what it was given
        return os.fdopen(number, mode, 0)
    return cast("IO[bytes]", _Descriptor(number))


def _started(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], *, is_told: bool
) -> "subprocess.Popen[bytes]":
    """Returns when the program is there, within a millisecond."""
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE if is_told else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
