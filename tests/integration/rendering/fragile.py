"""A process for rendering that dies of, or hangs in, texts that say so; with `once` only where the file that it is
given as its argument is not there yet, which it leaves behind. With `unable` it ends at once, and counts its starts in that file."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymigrate.engine.adapters.rendering.answering import answer
from pymigrate.engine.adapters.rendering.texts import Texts


class FragileTexts(Texts):
    def render(self, source: Sequence[str], context: dict[str, Any]) -> list[str]:
        what, _, how_often = source[0].partition(" ")
        mark = Path(sys.argv[1])
        if how_often != "once" or not mark.exists():
            if how_often == "once":
                mark.touch()
            if what == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "hang":
                signal.pause()
        return super().render(source, context)


if __name__ == "__main__":
    if sys.argv[2:] == ["unable"]:
        with Path(sys.argv[1]).open("a") as starts:
            starts.write("x")
        sys.exit(1)
    answer(sys.stdin.buffer, 1, FragileTexts())
