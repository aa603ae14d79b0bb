"""Imports structlog without rich: a worker host that begins with this starts a third sooner, and holds less.

structlog imports rich, and that pygments, for tracebacks in colours, wherever they are installed. They are, for the command line, and the
processes that write lines of JSON have no use for them.
"""

import sys

LIBRARY = "rich"


def import_plainly() -> None:
    """Unless either is imported already. Whatever imports rich later gets it."""
    if LIBRARY in sys.modules or "structlog" in sys.modules:
        return
    sys.modules[LIBRARY] = None  # type: ignore[assignment]  # Python's own word for what can't be imported
    try:
        import structlog  # noqa: F401  (kept in sys.modules, for all others)
    finally:
        del sys.modules[LIBRARY]


import_plainly()
