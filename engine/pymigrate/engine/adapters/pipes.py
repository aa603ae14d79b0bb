"""Processes of ours that are asked over a pair of pipes, since what runs in them may hang or die: plugins, templates, Apprise.

Of the engine's environment they are given what Python needs to start, and no more: secrets of connections may be in there.
"""

import asyncio
import contextlib
import os
from collections.abc import Mapping, Sequence

GIVEN = frozenset({"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH"})
GIVEN_PREFIXES = ("PYTHON", "LC_")
NOTHING_MORE: Mapping[str, str] = {}


def given_of(own: Mapping[str, str]) -> dict[str, str]:
    """What of a process's own environment they are given."""
    return {name: value for name, value in own.items() if name in GIVEN or name.startswith(GIVEN_PREFIXES)}


async def start_piped(
    command: Sequence[str], answer_bytes_max: int, environment: Mapping[str, str] = NOTHING_MORE
) -> asyncio.subprocess.Process:
    """Starts one, in a session of its own; a line that it answers has at most `answer_bytes_max` bytes. Raises OSError."""
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=answer_bytes_max,
        env=given_of(os.environ) | dict(environment),
        start_new_session=True,
    )


async def end_piped(child: asyncio.subprocess.Process | None) -> None:
    """Kills it, where there is one, and waits until it is gone: nothing of it is to be kept."""
    if child is None:
        return
    with contextlib.suppress(ProcessLookupError):
        child.kill()
    await child.wait()
