"""Processes of ours beside the engine: how each is started, with a log of its own, and how it is ended.

Each is the leader of a session of its own, so that Ctrl-C in a terminal reaches the engine alone, which drains them.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pymigrate.engine.adapters.executors.logs import open_log


async def start_child(
    home: Path,
    log: str,
    module: str,
    options: Sequence[str],
    environment: Mapping[str, str],
    withheld: Collection[str] = (),
) -> asyncio.subprocess.Process:
    """Starts a module over a home, with this process's environment without what is withheld, and in it the variables that are given."""
    descriptor = open_log(home, log)
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            f"--home={home}",
            *options,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env={name: value for name, value in os.environ.items() if name not in withheld} | dict(environment),
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


async def end_child(child: asyncio.subprocess.Process, drain_seconds: float) -> bool:
    """SIGTERM, and SIGKILL when it has not ended after so long; says whether it ended by itself."""
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        async with asyncio.timeout(drain_seconds):
            await child.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
        return False
    return True
