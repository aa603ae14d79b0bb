"""Stores on PostgreSQL as engines have them, and how what two of them do is made to overlap."""

import random
import threading

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.store.postgres import PostgresStore


async def opened(url: str) -> PostgresStore:
    return await PostgresStore.open(url, SystemClock(), random.Random(3))


def with_patience(barrier: threading.Barrier) -> None:
    """Waits for the other once; whoever comes again after a conflict finds the barrier broken and goes on."""
    try:
        barrier.wait(30)
    except threading.BrokenBarrierError:
        return
    barrier.abort()
