"""Draws of rehearsals: few of them on a thread, many on processes of their own, so that the engine's calls and leases go on meanwhile."""

import asyncio
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import structlog

from pymigrate.engine.domain.drawing import Draw, Drawing, Draws, drawn, gather
from pymigrate.engine.domain.run import RunAggregate

log = structlog.get_logger(__name__)
PROCESSES_MAX = 4
WORTH_PROCESSES = 5_000  # phases times draws: below that a process takes longer to start than the draws
PARTS_PER_PROCESS = 4


class Drawers:
    """Makes draws. `close` ends the processes; they are started when they are first worth it, and end with the engine. `processes`: how
    many; 0: one for each core, at most PROCESSES_MAX. `worth`: phases times draws that they are started for."""

    def __init__(self, processes: int = 0, worth: int = WORTH_PROCESSES) -> None:
        self._processes = processes or min(PROCESSES_MAX, os.cpu_count() or 1)
        self._worth = worth
        self._pool: ProcessPoolExecutor | None = None

    async def draw(self, drawing: Drawing, aggregate: RunAggregate, draws: int) -> Draws:
        """So many draws of a run. They are the same wherever they are made. Raises FailedPrecondition when it would wait for ever."""
        if self._processes > 1 and len(aggregate.phases) * draws >= self._worth:
            try:
                return await self._spread(drawing, aggregate, draws)
            except BrokenProcessPool:
                log.warning("drawing.processes_lost", run=aggregate.run.name)
                self.close()
        return await asyncio.to_thread(drawn, drawing, aggregate, draws)

    def close(self) -> None:
        """Ends the processes. May be called again."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    async def _spread(self, drawing: Drawing, aggregate: RunAggregate, draws: int) -> Draws:
        if self._pool is None:
            # Spawned, not forked: the engine's process has threads and open calls.
            spawning = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._processes, spawning, initializer=_end_with_the_engine)
        loop, parts = asyncio.get_running_loop(), self._processes * PARTS_PER_PROCESS
        found: list[list[Draw]] = await asyncio.gather(
            *(loop.run_in_executor(self._pool, drawing.part, range(part, draws, parts)) for part in range(parts))
        )
        return await asyncio.to_thread(gather, [draw for part in found for draw in part], aggregate, drawing.start)


def _end_with_the_engine() -> None:
    """In a process of the pool, which would otherwise wait for work for ever where its engine was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_after_the_engine, name="engine-watch", daemon=True).start()


def _exit_after_the_engine() -> None:
    engine = multiprocessing.parent_process()
    if engine is not None:
        engine.join()
        os._exit(1)
