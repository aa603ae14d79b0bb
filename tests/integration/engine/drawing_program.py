"""A program that makes draws on processes, tells their ids, and waits to be killed."""

import asyncio
import multiprocessing
import sys

from pymigrate.engine.adapters.drawing import Drawers
from tests.integration.engine.test_drawing import DRAWS, WORTH, a_stage


async def main() -> None:
    drawers, stage = Drawers(processes=2, worth=WORTH), a_stage()
    await drawers.draw(stage.drawing(stage.aggregate.run.create_time, 1), stage.aggregate, DRAWS)
    sys.stdout.write(" ".join(str(child.pid) for child in multiprocessing.active_children()) + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
