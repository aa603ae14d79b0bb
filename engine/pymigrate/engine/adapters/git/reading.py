"""Reads objects of a copy, all that are asked for by one command."""

from collections.abc import Mapping, Sequence

from pymigrate.engine.adapters.git.copies import Copy
from pymigrate.engine.domain.errors import RepositoryRefused

MISSING = b"missing"
HEADER_BYTES_MAX = 200  # beside what an object holds
TOTAL_BYTES_MAX = 80 * 1024**2


class ObjectMissing(Exception):
    """The copy does not have it."""


class CopyDamaged(Exception):
    """Git failed in the middle of what never fails in a copy that is whole; the message says what it said."""


class ObjectReader:
    """Reads a copy. Raises CopyDamaged."""

    def __init__(self, copy: Copy) -> None:
        self._copy = copy

    async def kind(self, name: str) -> tuple[str, str]:
        """The digest and the kind of what a name leads to, such as `tree`; empty texts where it leads nowhere."""
        ended = await self._copy.git("cat-file", "--batch-check", told=f"{name}\n".encode())
        told = ended.output.split()
        if ended.code:
            raise CopyDamaged(ended.said)
        if len(told) != 3 or told[-1] == MISSING:
            return "", ""
        return told[0].decode(), told[1].decode()

    async def commit(self, sha: str, bytes_max: int) -> bytes | None:
        """What a commit holds; None where there is none of that digest. Raises RepositoryRefused for more than `bytes_max`."""
        ended = await self._copy.git(
            "cat-file", "--batch", told=f"{sha}\n".encode(), output_bytes_max=bytes_max + HEADER_BYTES_MAX
        )
        if ended.code:
            raise CopyDamaged(ended.said)
        head, _, rest = ended.output.partition(b"\n")
        told = head.split()
        return rest[: int(told[2])] if told[1] == b"commit" else None

    async def contents(self, names: Sequence[str], bytes_max: int) -> Mapping[str, bytes]:
        """What objects hold. Raises ObjectMissing, and RepositoryRefused for one that holds more than `bytes_max`."""
        if not names:
            return {}
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
