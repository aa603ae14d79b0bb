"""The log of a process: JSON lines on stderr, with the span and the request that each was written in, and without any secret."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from pymigrate.engine.ports.redaction import Redactor


def configure_logging(level: str, redactor: Redactor) -> None:
    """From now on every line is written so. `redactor` is told of secrets as they are read."""

    def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {key: redactor.clean(value) if isinstance(value, str) else value for key, value in event.items()}

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
