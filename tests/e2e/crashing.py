"""An engine that is killed at a commit of its store, in place of `pymigrate serve`; which commit, a file in its home says.

The order is `before N` or `after N`: SIGKILL before, or right after, the Nth transaction from then on takes effect. With a part of a
module's name behind it only transactions of that module count.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.main.serve import open_store, run
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.engine.settings import Settings

ORDER = "crash"
Result = TypeVar("Result")


def order(home: Path, when: str, number: int, module: str = "") -> None:
    """Tells an engine, or the next one of this home, when to end."""
    fresh = home / f"{ORDER}.new"
    fresh.write_text(f"{when} {number} {module}")
    fresh.replace(home / ORDER)


def is_ordered(home: Path) -> bool:
    """Whether the order still waits for its commit."""
    return (home / ORDER).exists()


def withdraw(home: Path) -> None:
    """The order holds no more."""
    (home / ORDER).unlink(missing_ok=True)


class CrashingStore:
    """The Store port around the engine's own."""

    def __init__(self, inner: Store, home: Path) -> None:
        self._inner = inner
        self._order = home / ORDER
        self._known = ("", 0)
        self._seen = 0

    async def transact(self, work: Callable[[Unit], Result]) -> Result:
        """One transaction, and its two boundaries."""

        def bounded(unit: Unit) -> Result:
            done = work(unit)
            self._reach("before", work)
            return done

        done = await self._inner.transact(bounded)
        self._reach("after", work)
        return done

    async def read(self, work: Callable[[Unit], Result]) -> Result:
        """No boundary."""
        return await self._inner.read(work)

    async def close(self) -> None:
        """The store's own."""
        await self._inner.close()

    def _reach(self, when: str, work: Callable[[Unit], Any]) -> None:
        try:
            text, written = self._order.read_text(), self._order.stat().st_mtime_ns
        except OSError:
            return
        if (text, written) != self._known:
            self._known, self._seen = (text, written), 0
        ordered, number, module = text.split(" ", 2)
        if ordered != when or module not in getattr(work, "__module__", ""):
            return
        self._seen += 1
        if self._seen == int(number):
            self._order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


async def _opened(settings: Settings, clock: SystemClock, redactor: Redactor) -> Store:
    return CrashingStore(await open_store(settings, clock, redactor), settings.home)


def main() -> None:
    """`serve --home HOME --listen ADDRESS`, and nothing else."""
    _, _, _, home, _, listen = sys.argv
    run(Settings(home=Path(home), listen=listen), _opened)


if __name__ == "__main__":
    main()
