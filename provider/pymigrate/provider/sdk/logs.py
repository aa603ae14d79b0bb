"""Logs as Terraform's own plugins write them: JSON lines on stderr, so that TF_LOG_PROVIDER filters them by level."""

import json
import logging
import sys
from datetime import UTC, datetime

LEVELS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warn", "ERROR": "error", "CRITICAL": "error"}
MODULE = "pymigrate"


class Lines(logging.Formatter):
    """One record a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        line = {
            "@level": LEVELS.get(record.levelname, "info"),
            "@message": record.getMessage(),
            "@module": MODULE,
            # go-plugin takes this form of a time and no other; a line with another one loses its level.
            "@timestamp": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure() -> None:
    """Sends everything that is logged to stderr; stdout is the handshake's alone."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    logging.basicConfig(level=logging.DEBUG, handlers=[handler], force=True)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
