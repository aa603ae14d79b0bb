"""Renders texts one by one, each within its limits. Compiled templates are kept, but not so many that there is no room left. It runs in the
process of its own."""

import re
import signal
from collections import OrderedDict
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any

from jinja2 import Template
from jinja2.exceptions import TemplateSyntaxError

from pymigrate.engine.adapters.rendering.sandbox import OUTPUT_BYTES_MAX, Sandbox
from pymigrate.engine.adapters.rendering.vocabulary import FILTERS, TESTS

COMPILED_CHARACTERS_MAX = 4_000_000
SUBJECT_CHARACTERS_MAX = 1_000
PROBLEM_CHARACTERS_MAX = 500
CPU_SECONDS_MAX = 1.0
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_CONTROLS = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")


class OvertimeError(BaseException):
    """A text took too long. It is none that a template's own errors could be mistaken for."""


class Texts:
    """Renders; `cpu_seconds_max` is what one text may take of a core. Its time is counted by the process's own work, so that a busy machine
    fails no text: nothing in here waits. `has_overrun` tells whether the last one took longer."""

    def __init__(
        self, cpu_seconds_max: float = CPU_SECONDS_MAX, compiled_characters_max: int = COMPILED_CHARACTERS_MAX
    ) -> None:
        self._cpu_seconds_max = cpu_seconds_max
        self._compiled_characters_max = compiled_characters_max
        self._plain = Sandbox(FILTERS, TESTS, is_html=False)
        self._html = Sandbox(FILTERS, TESTS, is_html=True)
        self._compiled: OrderedDict[tuple[str, bool], Template] = OrderedDict()
        self._compiled_characters = 0
        self._is_timed = False
        self.has_overrun = False
        signal.signal(signal.SIGPROF, self._ring)

    @property
    def compiled_count(self) -> int:
        """How many are kept."""
        return len(self._compiled)

    def render(self, source: Sequence[str], context: dict[str, Any]) -> list[str]:
        """Subject, body and HTML of those of a source; or one sentence, after the part and the line that it is about."""
        subject, body, html = source
        part, self.has_overrun = "subject", False
        try:
            self._is_timed = True
            signal.setitimer(signal.ITIMER_PROF, self._cpu_seconds_max)
            try:
                found = [self._subject(subject, context)]
                part = "body"
                found.append(self._text(body, context, is_html=False))
                if html:
                    part = "html"
                    found.append(self._text(html, context, is_html=True))
                else:
                    found.append("")
            finally:
                self._is_timed = False
                signal.setitimer(signal.ITIMER_PROF, 0)
        except OvertimeError:
            self.has_overrun = True
            return [f"{part}: takes more than {self._cpu_seconds_max:g} s of a core: it must not loop so often"]
        except MemoryError:
            self._compiled.clear()
            self._compiled_characters = 0
            return [f"{part}: takes more memory than a text may"]
        except RecursionError:
            return [f"{part}: is nested too deeply"]
        except Exception as error:  # noqa: BLE001 (whatever a template comes to is told to who wrote it)
            return [f"{part}: {_told(error)}"]
        return found

    def _ring(self, _signal: int, _frame: FrameType | None) -> None:
        if self._is_timed:
            self._is_timed = False
            raise OvertimeError

    def _subject(self, source: str, context: dict[str, Any]) -> str:
        """One line: whatever breaks lines in a value is a space, so that no header can begin in it."""
        text = _CONTROLS.sub(" ", self._text(source, context, is_html=False)).strip()
        if len(text) > SUBJECT_CHARACTERS_MAX:
            raise ValueError(f"is longer than {SUBJECT_CHARACTERS_MAX:,} characters")
        return text

    def _text(self, source: str, context: dict[str, Any], *, is_html: bool) -> str:
        template = self._template(source, is_html=is_html)
        pieces: list[str] = []
        size = 0
        for piece in template.root_render_func(template.new_context(context, shared=False)):
            size += len(piece)
            if size > OUTPUT_BYTES_MAX:
                raise ValueError(f"becomes larger than {OUTPUT_BYTES_MAX:,} bytes")
            pieces.append(piece)
        # A row that could not be copied may hold a NUL, and be told of; neither mail nor PostgreSQL takes one.
        text = "".join(pieces).replace("\0", REPLACEMENT)
        if not text.isascii() and len(text.encode()) > OUTPUT_BYTES_MAX:
            raise ValueError(f"becomes larger than {OUTPUT_BYTES_MAX:,} bytes")
        return text

    def _template(self, source: str, *, is_html: bool) -> Template:
        key = (source, is_html)
        if (known := self._compiled.get(key)) is not None:
            self._compiled.move_to_end(key)
            return known
        made = (self._html if is_html else self._plain).from_string(source)
        self._compiled[key] = made
        self._compiled_characters += len(source)
        while self._compiled_characters > self._compiled_characters_max:
            (oldest, _), _ = self._compiled.popitem(last=False)
            self._compiled_characters -= len(oldest)
        return made


def _told(error: Exception) -> str:
    """What went wrong, with its line where that is known."""
    line = error.lineno if isinstance(error, TemplateSyntaxError) else _line(error.__traceback__)
    said = error.message if isinstance(error, TemplateSyntaxError) else str(error)
    text = " ".join((said or type(error).__name__).split())[:PROBLEM_CHARACTERS_MAX]
    return f"line {line}: {text}" if line else text


def _line(traceback: TracebackType | None) -> int:
    """The line of the template that was under way."""
    found = 0
    while traceback is not None:
        template = traceback.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            found = template.get_corresponding_lineno(traceback.tb_lineno)
        traceback = traceback.tb_next
    return found
