"""Reads objects of a copy. Questions that belong together are asked of one process, however many they are; many files are read by one of
their own, which buffers."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from pymigrate.engine.adapters.git.commands import LOCAL_SECONDS_MAX, OUTPUT_BYTES_MAX, Talk
from pymigrate.engine.adapters.git.copies import Copy
from pymigrate.engine.domain.errors import RepositoryRefused, RepositoryUnavailable

MISSING = b"missing"
HEADER_BYTES_MAX = 200  # beside what an object holds
TOTAL_BYTES_MAX = 80 * 1024**2
FEW_MAX = 50  # objects that are asked for one by one


class ObjectMissing(Exception):
    """The copy does not have it."""


class CopyDamaged(Exception):
    """Git failed in the middle of what never fails in a copy that is whole; the message says what it said."""


@dataclass(frozen=True, slots=True)
class _Found:
    """An object. What it holds is None where that is more than was asked for."""

    oid: str
    kind: str
    size: int
    content: bytes | None


class ObjectReader:
    """Reads a copy. Raises CopyDamaged."""

    def __init__(self, copy: Copy) -> None:
        self._copy = copy
        self._turn = asyncio.Lock()
        self._users = 0
        self._talk: Talk | None = None
        self._ending = AsyncExitStack()
        self._generation = 0

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """What is asked within is asked of one process, which the first question starts and the last of those who are within ends."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                await self.close()

    async def close(self) -> None:
        """Ends the process. The next question starts another."""
        ending, self._ending, self._talk = self._ending, AsyncExitStack(), None
        await ending.aclose()

    async def kind(self, name: str) -> tuple[str, str]:
        """The digest and the kind of what a name leads to, such as `tree`; empty texts where it leads nowhere."""
        found = await self._found(name, OUTPUT_BYTES_MAX)
        return (found.oid, found.kind) if found is not None else ("", "")

    async def commit(self, sha: str, bytes_max: int) -> bytes | None:
        """What a commit holds; None where there is none of that digest. Raises RepositoryRefused for more than `bytes_max`."""
        found = await self._found(sha, bytes_max)
        if found is None or found.kind != "commit":
            return None
        return _content(sha, found, bytes_max)

    async def contents(self, names: Sequence[str], bytes_max: int) -> Mapping[str, bytes]:
        """What objects hold. Raises ObjectMissing, and RepositoryRefused for one that holds more than `bytes_max`."""
        if len(names) > FEW_MAX:
            return await self._many(names, bytes_max)
        contents: dict[str, bytes] = {}
        async with self.opened():
            for name in names:
                found = await self._found(name, bytes_max)
                if found is None:
                    raise ObjectMissing(f"{name} is missing")
                contents[name] = _content(name, found, bytes_max)
        return contents

    async def _found(self, name: str, bytes_max: int) -> _Found | None:
        async with self.opened(), self._turn:
            talk = await self._talking()
            is_whole = False
            try:
                async with asyncio.timeout(LOCAL_SECONDS_MAX):
                    found = await _ask(talk, name, bytes_max)
                is_whole = found is None or found.content is not None
            except (EOFError, ConnectionError) as error:
                raise CopyDamaged(await talk.said()) from error
            except TimeoutError as error:
                raise RepositoryUnavailable(
                    f"git was ended after {LOCAL_SECONDS_MAX:g} s: the copy on this machine is not read"
                ) from error
            finally:
                if not is_whole:  # the rest of an answer would be taken for the next one
                    await self.close()
            return found

    async def _talking(self) -> Talk:
        """The process, which is one of the copy that there is now."""
        if self._talk is not None and self._generation != self._copy.generation:
            await self.close()
        if self._talk is None:
            self._generation = self._copy.generation
            self._talk = await self._ending.enter_async_context(self._copy.talk("cat-file", "--batch"))
        return self._talk

    async def _many(self, names: Sequence[str], bytes_max: int) -> Mapping[str, bytes]:
        ended = await self._copy.git(
            "cat-file",
            "--batch",
            "--buffer",
            told="".join(f"{name}\n" for name in names).encode(),
            output_bytes_max=min(len(names) * (bytes_max + HEADER_BYTES_MAX), TOTAL_BYTES_MAX),
        )
        if ended.code:
            raise CopyDamaged(ended.said)
        return _parted(ended.output, names, bytes_max)


async def _ask(talk: Talk, name: str, bytes_max: int) -> _Found | None:
    """Raises EOFError where git ends instead of answering, and CopyDamaged for what is no answer."""
    talk.tell(f"{name}\n".encode())
    head = await talk.hear_line()
    told = head.split()
    if told and told[-1] == MISSING:
        return None
    if len(told) != 3:
        raise CopyDamaged(f"git answers {head[:HEADER_BYTES_MAX]!r}")
    oid, kind, size = told[0].decode(), told[1].decode(), int(told[2])
    content = (await talk.hear(size + 1))[:size] if size <= bytes_max else None
    return _Found(oid, kind, size, content)


def _content(name: str, found: _Found, bytes_max: int) -> bytes:
    if found.content is None:
        raise RepositoryRefused(
            "FILE_TOO_LARGE", f"object {name} has {found.size:,} bytes; at most {bytes_max:,} are read"
        )
    return found.content


def _parted(output: bytes, names: Sequence[str], bytes_max: int) -> Mapping[str, bytes]:
    found, at = dict[str, bytes](), 0
    for name in names:
        end = output.index(b"\n", at)
        told = output[at:end].split()
        if told[-1] == MISSING:
            raise ObjectMissing(f"{name} is missing")
        size = int(told[-1])
        if size > bytes_max:
            raise RepositoryRefused(
                "FILE_TOO_LARGE", f"object {name} has {size:,} bytes; at most {bytes_max:,} are read"
            )
        found[name] = output[end + 1 : end + 1 + size]
        at = end + size + 2
    return found
