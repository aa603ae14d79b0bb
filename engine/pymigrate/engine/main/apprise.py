"""The process that Apprise runs in: `python -m pymigrate.engine.main.apprise`. It reads lines of messages on standard input, answers each
with a line of what came of it, and ends when the dispatcher does. What Apprise prints goes nowhere, and it has only so much memory."""

import os
import resource
import sys

from pymigrate.engine.main.privacy import keep_memory_private

MEMORY_BYTES_MAX = 1_000_000_000


def main() -> int:
    """Answers until standard input ends."""
    keep_memory_private()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    from pymigrate.engine.adapters.channels.apprise_sending import AppriseSending

    AppriseSending(answers).run(sys.stdin.buffer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
