"""Standard output and error for whatever is no log of ours: what a driver or another package prints, by lines and without any secret."""

import io
import threading
from collections.abc import Callable
from typing import TextIO

LINE_CHARACTERS_MAX = 65_536  # a longer one is written in parts


class CleanStream(io.TextIOBase):
    """Writes to `inner` what `clean` leaves of each line, once it is whole or flushed. Safe on every thread."""

    def __init__(self, inner: TextIO, clean: Callable[[str], str]) -> None:
        self._inner = inner
        self._clean = clean
        self._lock = threading.RLock()
        self._held = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # the base class has an attribute
        """That of the inner one."""
        return self._inner.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]  # the base class has an attribute
        """That of the inner one."""
        return self._inner.errors

    def write(self, text: str) -> int:
        """Takes the text; says how many characters that are."""
        with self._lock:
            whole, newline, self._held = (self._held + text).rpartition("\n")
            if newline:
                self._inner.write(self._clean(whole) + newline)
                self._inner.flush()
            if len(self._held) > LINE_CHARACTERS_MAX:
                self._pass_on()
        return len(text)

    def flush(self) -> None:
        """Writes what is held of a line, too."""
        with self._lock:
            self._pass_on()
            self._inner.flush()

    def writable(self) -> bool:
        """Always."""
        return True

    def isatty(self) -> bool:
        """Whether the inner one is a terminal."""
        return self._inner.isatty()

    def fileno(self) -> int:
        """The inner one's descriptor, for what is handed on to other processes."""
        return self._inner.fileno()

    def _pass_on(self) -> None:
        if self._held:
            self._inner.write(self._clean(self._held))
            self._held = ""
