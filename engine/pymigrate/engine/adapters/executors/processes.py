"""Processes of this machine, told apart by id and start: an id alone is given again after a process has ended.

Linux tells the start in /proc, in clock ticks since boot. Elsewhere `ps` tells it to the second, which serves as the ticks there:
only equality is asked of them, and an id is not given again within a second.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

PROC = Path("/proc")
PS_SECONDS_MAX = 5.0
START_FIELD = 22


def start_ticks(pid: int) -> int | None:
    """When the process started; None when there is none, or one that has ended and was not yet reaped."""
    return _from_proc(pid) if (PROC / "self" / "stat").exists() else _from_ps(pid)


def is_running(pid: int, ticks: int) -> bool:
    """Whether that very process is there."""
    return start_ticks(pid) == ticks


def kill(pid: int, ticks: int, signal_number: signal.Signals = signal.SIGKILL) -> bool:
    """Sends a signal, SIGKILL by default, to that very process. False: it was gone already."""
    if hasattr(os, "pidfd_open"):
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return False
        try:
            # The descriptor keeps meaning the same process, even when its id is given again after this look.
            if not is_running(pid, ticks):
                return False
            signal.pidfd_send_signal(descriptor, signal_number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True
    if not is_running(pid, ticks):
        return False
    try:
        os.kill(pid, signal_number)
    except ProcessLookupError:
        return False
    return True


def _from_proc(pid: int) -> int | None:
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses, which may hold spaces and parentheses itself.
    fields = text[text.rindex(")") + 2 :].split()
    state, started = fields[0], fields[START_FIELD - 3]
    return None if state in {"Z", "X"} else int(started)


def _from_ps(pid: int) -> int | None:
    told = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        timeout=PS_SECONDS_MAX,
        env={"LC_ALL": "C", "PATH": os.environ.get("PATH", "/bin:/usr/bin")},
        check=False,
    )
    state, _, started = told.stdout.strip().partition(" ")
    if told.returncode != 0 or not started or state.startswith("Z"):
        return None
    return int(time.mktime(time.strptime(started.strip(), "%a %b %d %H:%M:%S %Y")))
