"""An engine that is killed at a commit of its store, in place of `pymigrate serve`; which commit, a file in its home says.

The order is `before N` or `after N`: SIGKILL before, or right after, the Nth transaction that writes from then on takes effect. With a
part of a module's name behind it only transactions of that module count. Heartbeats never do: the clock makes them, the more the slower
the machine is, and all that they write is when a host was heard.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine, event

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.main.serve import open_store, run
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.engine.settings import Settings

ORDER = "crash"
HEARTBEAT = "Hosts.heartbeat"
ADDS, CHANGES = "INSERT", ("UPDATE", "DELETE")
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


class Writes:
    """Whether a transaction has changed any row so far: what only looked leaves nothing that a crash could undo or repeat."""

    def __init__(self) -> None:
        self._of_thread = threading.local()
        event.listen(Engine, "after_cursor_execute", self._note)

    def begin(self) -> None:
        """The next transaction of this thread."""
        self._of_thread.has_any = False

    @property
    def has_any(self) -> bool:
        """Of this thread's transaction."""
        return bool(self._of_thread.has_any)

    def _note(self, _: Any, cursor: Any, statement: str, *__: Any) -> None:
        verb = statement.lstrip().upper()
        if verb.startswith(ADDS) or (verb.startswith(CHANGES) and cursor.rowcount != 0):
            self._of_thread.has_any = True


class CrashingStore:
    """The Store port around the engine's own."""

    def __init__(self, inner: Store, home: Path) -> None:
        self._inner = inner
        self._writes = Writes()
        self._order = home / ORDER
        self._known = ("", 0)
        self._seen = 0

    async def transact(self, work: Callable[[Unit], Result]) -> Result:
        """One transaction, and its two boundaries."""
        written = False

        def bounded(unit: Unit) -> Result:
            nonlocal written
            self._writes.begin()
            done = work(unit)
            written = self._writes.has_any and not getattr(work, "__qualname__", "").startswith(HEARTBEAT)
            if written:
                self._reach("before", work)
            return done

        done = await self._inner.transact(bounded)
        if written:
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
