"""Processes of git's beside an engine that opens files and connections on other threads."""

import asyncio
import os
import threading
from pathlib import Path

from pymigrate.engine.adapters.git.children import Child

THREADS = 4
CHILDREN = 150


class Opening:
    """Opens and closes files on threads of its own, and notes each that somebody else has closed meanwhile."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._is_ending = threading.Event()
        self.lost = 0
        self._threads = [threading.Thread(target=self._open) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Opens no more."""
        self._is_ending.set()
        for thread in self._threads:
            thread.join()

    def _open(self) -> None:
        while not self._is_ending.is_set():
            opened = os.open(self._place, os.O_RDONLY)
            for _ in range(3):
                os.sched_yield()
            try:
                os.close(opened)
            except OSError:
                self.lost += 1


async def test_what_others_have_open_is_never_closed_with_a_child(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("kept")
    opening = Opening(place)
    try:
        for _ in range(CHILDREN):
            child = await Child.start(["/bin/echo", "said"], tmp_path, dict(os.environ), is_told=True)
            assert child.stdin is not None
            child.stdin.close()
            said, errors = await asyncio.gather(child.stdout.read(), child.stderr.read())
            assert (said, errors, await child.wait()) == (b"said\n", b"", 0)
            await child.end()
    finally:
        opening.end()
    assert opening.lost == 0
