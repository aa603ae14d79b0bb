"""Keeps what a process knows to itself: out of core dumps, and from other processes of its user.

On Linux `prctl(PR_SET_DUMPABLE, 0)` does more than the limit of core files, which a `core_pattern` that is a program does not heed: memory,
environment, descriptors and maps in /proc/<pid> belong to root from then on, and nobody but root attaches a debugger. `stat`, `cmdline` and
`status` stay readable for all, by which the engine knows its worker hosts. Whatever a process starts is as it was before.
"""

import ctypes
import resource
import sys

PR_SET_DUMPABLE = 4


def keep_memory_private() -> None:
    """From now on, and before the first secret is read. Raises OSError where the system refuses."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    # The standard library has no call for it.
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE) was refused")
