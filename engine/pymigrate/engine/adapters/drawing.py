"""Draws of rehearsals: few of them on a thread, many on processes of their own, so that the engine's calls and leases go on meanwhile."""

import asyncio
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

from pymigrate.engine.domain.drawing import Draw, Drawing, Draws, drawn, gather
from pymigrate.engine.domain.run import RunAggregate

PROCESSES_MAX = 4
WORTH_PROCESSES = 5_000  # phases times draws: below that a process takes longer to start than the draws
PARTS_PER_PROCESS = 4


class Drawers:
    """Makes draws. `close` ends the processes; they are started when they are first worth it."""

    def __init__(self) -> None:
        self._processes = min(PROCESSES_MAX, os.cpu_count() or 1)
        self._pool: ProcessPoolExecutor | None = None

    async def draw(self, drawing: Drawing, aggregate: RunAggregate, draws: int) -> Draws:
        """So many draws of a run. They are the same wherever they are made. Raises FailedPrecondition when it would wait for ever."""
        if self._processes == 1 or len(aggregate.phases) * draws < WORTH_PROCESSES:
            return await asyncio.to_thread(drawn, drawing, aggregate, draws)
        if self._pool is None:
            # Spawned, not forked: the engine's process has threads and open calls.
            self._pool = ProcessPoolExecutor(self._processes, multiprocessing.get_context("spawn"))
        loop, parts = asyncio.get_running_loop(), self._processes * PARTS_PER_PROCESS
        found: list[list[Draw]] = await asyncio.gather(
            *(loop.run_in_executor(self._pool, drawing.part, range(part, draws, parts)) for part in range(parts))
        )
        return await asyncio.to_thread(gather, [draw for part in found for draw in part], aggregate, drawing.start)

    def close(self) -> None:
        """Ends the processes. May be called again."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
