"""Patterns by RE2, which never backtracks: no pattern takes long."""

from functools import lru_cache
from typing import Any

import re2

MEMORY_BYTES_MAX = 1_048_576
COMPILED_MAX = 512


class Re2Patterns:
    """The Patterns port."""

    def __init__(self) -> None:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = MEMORY_BYTES_MAX
        options.never_capture = True
        self._compiled = lru_cache(COMPILED_MAX)(lambda pattern: _compile(pattern, options))

    def matches(self, pattern: str, text: str) -> bool:
        """Whether it fits the whole text. Raises ValueError."""
        return self._compiled(pattern).fullmatch(text) is not None


def _compile(pattern: str, options: Any) -> Any:
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        [reason] = error.args
        raise ValueError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from error
