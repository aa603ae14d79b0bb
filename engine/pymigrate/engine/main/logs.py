"""The log of a process: JSON lines on stderr, with the span and the request that each was written in, and without any secret.

What libraries log, warnings, and exceptions that nobody caught are lines of it too; a traceback never tells the values of variables.
"""

import logging
import sys
import threading
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any

import structlog

from pymigrate.engine.main.streams import CleanStream
from pymigrate.engine.ports.redaction import Redactor

LEVELS = (logging.WARNING, logging.ERROR, logging.CRITICAL)


def configure_logging(level: str, redactor: Redactor) -> None:
    """From now on every line is written so, whoever writes it. `redactor` is told of secrets as they are read."""
    lines, sys.stdout, sys.stderr = (
        sys.stderr,
        CleanStream(sys.stdout, redactor.clean),
        CleanStream(sys.stderr, redactor.clean),
    )

    def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        return {redactor.clean(str(key)): _cleaned(value, redactor) for key, value in event.items()}

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.ExceptionRenderer(),  # as Python prints it
            redact,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=lines),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Lines(logging.WARNING)], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    sys.excepthook, threading.excepthook, sys.unraisablehook = _uncaught, _uncaught_in_thread, _unraisable


def _cleaned(value: object, redactor: Redactor) -> object:
    """A value of a line, at any depth. A number that is a secret is hidden as a text is."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return redactor.clean(value)
    if isinstance(value, int | float):
        text = str(value)
        cleaned = redactor.clean(text)
        return value if cleaned == text else cleaned
    if isinstance(value, Mapping):
        return {redactor.clean(str(key)): _cleaned(part, redactor) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_cleaned(part, redactor) for part in value]
    return redactor.clean(repr(value))


class _Lines(logging.Handler):
    """What libraries log by the standard library, asyncio's unheard exceptions and warnings among it."""

    def emit(self, record: logging.LogRecord) -> None:
        level = max(known for known in LEVELS if known <= max(record.levelno, LEVELS[0]))
        structlog.get_logger(record.name).log(
            level, "library.said", source=record.name, message=record.getMessage(), exc_info=record.exc_info
        )


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    structlog.get_logger(__name__).critical("process.failed", error=kind.__name__, exc_info=(kind, error, trace))


def _uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_type is SystemExit:
        return
    name = found.thread.name if found.thread is not None else ""
    error = found.exc_value or found.exc_type()
    structlog.get_logger(__name__).error(
        "thread.failed",
        thread=name,
        error=found.exc_type.__name__,
        exc_info=(found.exc_type, error, found.exc_traceback),
    )


def _unraisable(found: "sys.UnraisableHookArgs") -> None:
    error = found.exc_value or found.exc_type()
    structlog.get_logger(__name__).error(
        "cleanup.failed", during=repr(found.object), exc_info=(found.exc_type, error, found.exc_traceback)
    )
