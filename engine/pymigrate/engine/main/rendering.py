"""The process in which messages are made: `python -m pymigrate.engine.main.rendering`.

It reads batches on standard input, answers each text with a line, and ends when the engine does. It has only so much memory, opens
nothing, and is given nothing of the engine's environment that could be secret.
"""

import os
import resource
import signal
import sys

from pymigrate.engine.adapters.rendering.answering import answer
from pymigrate.engine.adapters.rendering.texts import Texts

MEMORY_BYTES_MAX = 512_000_000


def main() -> int:
    """Answers until standard input ends."""
    answers = os.dup(1)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    answer(sys.stdin.buffer, answers, Texts())
    return 0


if __name__ == "__main__":
    sys.exit(main())
