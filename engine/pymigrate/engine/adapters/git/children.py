"""Processes of git's, started by the loop, which alone reads, closes and reaps what belongs to them."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

PIECE_BYTES = 262_144


class Child:
    """One that runs, the leader of a group and session of its own. `stdin` is None where it is told nothing."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101 (for the type checker: both are pipes)
        assert process.stderr is not None  # noqa: S101 (likewise)
        self._process = process
        self.stdin = process.stdin
        self.stdout = process.stdout
        self.stderr = process.stderr

    @staticmethod
    async def start(command: Sequence[str], folder: Path, environment: Mapping[str, str], *, is_told: bool) -> "Child":
        """Starts one. Raises OSError."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE if is_told else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=PIECE_BYTES,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        return Child(process)

    async def wait(self) -> int:
        """Its code when it has ended, negative for a signal."""
        return await self._process.wait()

    async def end(self) -> None:
        """Ends it with everything that it has started; after a good end, too, since a transport may have left something behind."""
        with contextlib.suppress(
            ProcessLookupError, PermissionError
        ):  # it is gone already, with or without its children
            os.killpg(self._process.pid, signal.SIGKILL)
        if self.stdin is not None:
            self.stdin.close()
        await self._process.wait()
        for stream in (self.stdout, self.stderr):
            while await stream.read(PIECE_BYTES):
                pass  # what its pipes still hold: their transports are closed then
