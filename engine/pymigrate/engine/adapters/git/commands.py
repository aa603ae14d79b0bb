"""Runs the installed git: with no configuration but ours, no hook, no prompt and no environment of the engine's, within limits of time,
memory, file size and output. It is a group of processes of its own, which is ended as a whole."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pymigrate.engine.adapters.git.children import PIECE_BYTES, Child
from pymigrate.engine.domain.errors import RepositoryRefused, RepositoryUnavailable

OLDEST = (2, 34)  # which verifies signatures by SSH keys, and packs in steps
OUTPUT_BYTES_MAX = 64 * 1024**2
ERROR_BYTES_MAX = 65_536
LOCAL_SECONDS_MAX = 120.0  # of a command that asks nobody
END_SECONDS_MAX = 10.0
FILE_BYTES_MAX = 512 * 1024**2  # of whatever it writes, and so of a pack
MEMORY_BYTES_MAX = 4 * 1024**3  # of addresses, with what it maps of packs
# Proxies of the machine are the way out of it; everything else of the environment stays here.
GIVEN = ("PATH", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
PROXIES = tuple(
    each for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy") for each in (name, name.upper())
)
# Whoever writes beyond the limit is told so, rather than killed without a word. A limit that the system does not know, or that is narrower
# already, is passed over; but some limit of files there must be: nothing else bounds a pack.
LIMITED = (
    'trap "" XFSZ; ulimit -c 0; ulimit -v "$1" 2>/dev/null; ulimit -f "$2" 2>/dev/null || test "$(ulimit -f)" != unlimited'
    ' && shift 2 && exec "$@"'
)
BLOCK_BYTES = 512
SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.askPass=",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.bigFileThreshold=16m",
    "core.logAllRefUpdates=false",
    "credential.helper=",
    "fetch.recurseSubmodules=false",
    "fetch.unpackLimit=1",
    "gc.auto=0",
    "maintenance.auto=false",
    "pack.threads=1",
    "pack.windowMemory=64m",
    "protocol.version=2",
    "push.recurseSubmodules=no",
    "push.gpgSign=false",
    "submodule.recurse=false",
    "transfer.bundleURI=false",
    "transfer.credentialsInUrl=die",
    "http.followRedirects=false",
    # A host that packs for long says a few bytes every five seconds: only silence is given up before the time is over.
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=60",
    "http.maxRequests=1",
    "http.sslVerify=true",
    "gpg.ssh.program=ssh-keygen",
    "gpg.program=gpg",
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its code, negative for a signal, and what it said."""

    code: int
    output: bytes
    said: str


class Talk:
    """A command that answers questions until it is ended."""

    def __init__(self, child: Child, said: "asyncio.Task[bytes]") -> None:
        self._child = child
        self._said = said

    def tell(self, told: bytes) -> None:
        """Asks. Raises EOFError where it is known to have ended."""
        if self._child.stdin is None or self._child.stdin.is_closing():
            raise EOFError("git has ended")
        self._child.stdin.write(told)

    async def hear_line(self) -> bytes:
        """A line of its answer. Raises EOFError where it has ended."""
        return await self._child.stdout.readuntil()

    async def hear(self, count: int) -> bytes:
        """So many bytes. Raises EOFError where it has ended."""
        return await self._child.stdout.readexactly(count)

    async def said(self) -> str:
        """What it said beside its answers; for one that has ended."""
        return (await self._said).decode(errors="replace")


class GitCommands:
    """Starts git. `home` is a folder that git takes for its user's: an empty one. Nothing of a command outlives it."""

    def __init__(self, home: Path, program: str = "git", file_bytes_max: int = FILE_BYTES_MAX) -> None:
        self._home = home
        self._limits = (str(MEMORY_BYTES_MAX // 1024), str(file_bytes_max // BLOCK_BYTES))
        self._program = program
        self._is_checked = False

    async def run(
        self,
        arguments: Sequence[str],
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        settings: Sequence[str] = (),
        told: bytes = b"",
        seconds_max: float = LOCAL_SECONDS_MAX,
        output_bytes_max: int = OUTPUT_BYTES_MAX,
    ) -> Ended:
        """Runs one to its end, in the repository of `folder`. Raises RepositoryRefused with GIT_MISSING, and RepositoryUnavailable where it
        takes too long or says too much."""
        await self.check()
        return await self._git(arguments, folder, environment or {}, settings, told, seconds_max, output_bytes_max)

    @asynccontextmanager
    async def talk(self, arguments: Sequence[str], folder: Path) -> AsyncIterator[Talk]:
        """One that answers questions in the repository of `folder`; ended at the end. Raises as `run`, where it does not start."""
        await self.check()
        said = (part for setting in SETTINGS for part in ("-c", setting))
        async with self._started((self._program, *said, *arguments), self._given(folder), is_told=True) as child:
            hearing = asyncio.ensure_future(_hear_first(child.stderr))
            try:
                yield Talk(child, hearing)
            finally:
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)

    async def execute(
        self, command: Sequence[str], *, told: bytes = b"", seconds_max: float = LOCAL_SECONDS_MAX
    ) -> Ended:
        """Runs another program as git is run."""
        return await self._run(command, self._given(None), told, seconds_max, OUTPUT_BYTES_MAX)

    async def check(self) -> None:
        """Raises RepositoryRefused with GIT_MISSING where git is missing or older than OLDEST; asks again then the next time."""
        if self._is_checked:
            return
        ended = await self._git(["version"], None, {}, (), b"", LOCAL_SECONDS_MAX, OUTPUT_BYTES_MAX)
        found = re.match(rb"git version (\d+)\.(\d+)", ended.output)
        needed = ".".join(map(str, OLDEST))
        if found is None:
            raise RepositoryRefused(
                "GIT_MISSING", f"`{self._program}` is not git, or does not start: install git {needed} or newer"
            )
        if (int(found[1]), int(found[2])) < OLDEST:
            told = ended.output.decode(errors="replace").split()[2]
            raise RepositoryRefused("GIT_MISSING", f"git is {told} here: install {needed} or newer")
        self._is_checked = True

    async def _git(
        self,
        arguments: Sequence[str],
        folder: Path | None,
        environment: Mapping[str, str],
        settings: Sequence[str],
        told: bytes,
        seconds_max: float,
        output_bytes_max: int,
    ) -> Ended:
        said = (part for setting in (*SETTINGS, *settings) for part in ("-c", setting))
        given = self._given(folder) | dict(environment)
        return await self._run((self._program, *said, *arguments), given, told, seconds_max, output_bytes_max)

    async def _run(
        self, command: Sequence[str], given: Mapping[str, str], told: bytes, seconds_max: float, output_bytes_max: int
    ) -> Ended:
        async with self._started(command, given, is_told=bool(told)) as child:
            talks = (
                asyncio.ensure_future(_tell(child, told)),
                asyncio.ensure_future(_hear(child.stdout, output_bytes_max)),
                asyncio.ensure_future(_hear_first(child.stderr)),
            )
            try:
                async with asyncio.timeout(seconds_max):
                    _, output, said = await asyncio.gather(*talks)
                    code = await child.wait()
            except TimeoutError as error:
                raise RepositoryUnavailable(
                    f"git was ended after {seconds_max:g} s: the repository does not answer, or more slowly than `timeoutSeconds` allows"
                ) from error
            finally:
                for talk in talks:
                    talk.cancel()
                await asyncio.gather(*talks, return_exceptions=True)
        return Ended(code, output, said.decode(errors="replace"))

    @asynccontextmanager
    async def _started(
        self, command: Sequence[str], given: Mapping[str, str], *, is_told: bool
    ) -> AsyncIterator[Child]:
        """One that runs; at the end nothing of it is left."""
        try:
            limited = ("/bin/sh", "-c", LIMITED, "limited", *self._limits, *command)
            child = await Child.start(limited, self._home, given, is_told=is_told)
        except OSError as error:
            raise RepositoryUnavailable(f"git can't be started: {error.strerror}") from error
        try:
            yield child
        finally:
            await asyncio.shield(child.end())

    def _given(self, folder: Path | None) -> dict[str, str]:
        return {
            **{name: os.environ[name] for name in (*GIVEN, *PROXIES) if name in os.environ},
            "HOME": str(self._home),
            "XDG_CONFIG_HOME": str(self._home),
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_SYSTEM": "/dev/null",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_PROTOCOL_FROM_USER": "0",
            "GIT_ALLOW_PROTOCOL": "",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_ADVICE": "0",
            "GIT_DIR": str(folder or self._home / "none"),
        }


async def _tell(child: Child, told: bytes) -> None:
    """What it does not read is told by its end."""
    if child.stdin is None:
        return
    with contextlib.suppress(ConnectionError):
        for first in range(0, len(told), PIECE_BYTES):
            if child.stdin.is_closing():
                return
            child.stdin.write(told[first : first + PIECE_BYTES])
            await child.stdin.drain()
        child.stdin.close()
        await child.stdin.wait_closed()


async def _hear(stream: asyncio.StreamReader, bytes_max: int) -> bytes:
    """All of it. Raises RepositoryRefused where it is too much."""
    said = bytearray()
    while piece := await stream.read(PIECE_BYTES):
        said += piece
        if len(said) > bytes_max:
            raise RepositoryRefused(
                "REPOSITORY_TOO_LARGE", f"git said more than {bytes_max:,} bytes: name a smaller folder by `path`"
            )
    return bytes(said)


async def _hear_first(stream: asyncio.StreamReader) -> bytes:
    """The beginning; the rest is read and forgotten, so that nothing waits for it."""
    said = bytearray()
    while piece := await stream.read(PIECE_BYTES):
        said += piece[: ERROR_BYTES_MAX - len(said)]
    return bytes(said)
