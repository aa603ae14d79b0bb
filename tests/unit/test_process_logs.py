"""Whatever a process writes goes through its redactor, and its memory is its own: tried on real processes."""

import io
import json
import os
import pwd
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pymigrate.engine.adapters.executors import processes
from pymigrate.engine.main.streams import CleanStream

BEGIN = """
import asyncio, logging, os, signal, sys, threading, warnings
import structlog
from pymigrate.engine.main.process import begin
from pymigrate.engine.ports.secrets import Secret
redactor = begin("info")
redactor.note(Secret("hunter22"))
redactor.note(Secret("54321"))
def fail(value):
    local = value
    raise ValueError("failed with " + value)
"""
WAYS = {
    "a log of ours": 'structlog.get_logger().info("said", text="hunter22", hunter22=1, nested={"a": ["hunter22", 54321]}, other=object)',
    "an exception of ours": 'try:\n    fail("hunter22")\nexcept ValueError:\n    structlog.get_logger().exception("failed")',
    "a library's log": 'logging.getLogger("driver").error("no %s for %r", "hunter22", {"a": "hunter22"})',
    "a library's exception": 'try:\n    fail("hunter22")\nexcept ValueError:\n    logging.getLogger("driver").exception("no")',
    "a warning": 'warnings.warn("mind hunter22")',
    "print": 'print("said hunter22")',
    "print to stderr": 'print("said ", "hunter", "22", sep="", end="", file=sys.stderr)',
    "a thread": 'thread = threading.Thread(target=fail, args=("hunter22",))\nthread.start()\nthread.join()',
    "a finalizer": 'class Dying:\n    def __del__(self):\n        fail("hunter22")\nDying()',
    "a task that nobody awaits": (
        "async def main():\n    async def failing():\n        fail('hunter22')\n    asyncio.create_task(failing())\n"
        "    await asyncio.sleep(0)\n    await asyncio.sleep(0)\nasyncio.run(main())"
    ),
    "nobody catching it": 'fail("hunter22")',
    "a chain": 'try:\n    fail("hunter22")\nexcept ValueError as error:\n    raise RuntimeError("again hunter22") from error',
}


def ran(body: str) -> "subprocess.CompletedProcess[str]":
    """What a process of ours does and writes."""
    command = [sys.executable, "-c", BEGIN + body]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("way", WAYS)
def test_no_way_of_writing_tells_a_secret(way: str) -> None:
    done = ran(WAYS[way])
    assert "***" in done.stdout + done.stderr
    assert "hunter22" not in done.stdout + done.stderr
    assert "54321" not in done.stdout + done.stderr
    if not way.startswith("print"):
        assert [json.loads(line)["level"] for line in done.stderr.splitlines()]


def test_what_nobody_catches_ends_the_process_with_its_traceback_and_no_values() -> None:
    done = ran('secret_local = "an unnoted value"\nfail("x" + secret_local[:0])')
    [line] = map(json.loads, done.stderr.splitlines())
    assert done.returncode == 1
    assert line["event"] == "process.failed"
    assert "in fail" in line["exception"]
    assert "an unnoted value" not in done.stderr.replace('secret_local = "an unnoted value"', "")


def test_numbers_and_truths_stay_what_they_are_unless_they_are_secrets() -> None:
    done = ran('structlog.get_logger().info("said", port=5432, is_on=True, none=None, share=0.5, code=54321)')
    said = json.loads(done.stderr)
    assert (said["port"], said["is_on"], said["none"], said["share"], said["code"]) == (5432, True, None, 0.5, "***")


def test_what_is_printed_comes_out_line_by_line_and_at_the_end() -> None:
    inner = io.StringIO()
    stream = CleanStream(inner, lambda text: text.replace("hunter22", "***"))
    stream.write("a hunt")
    assert inner.getvalue() == ""
    stream.write("er22 b\nc ")
    assert inner.getvalue() == "a *** b\n"
    stream.flush()
    assert inner.getvalue() == "a *** b\nc "
    assert stream.writable()
    assert not stream.isatty()


def test_a_line_that_does_not_end_is_passed_on_in_parts() -> None:
    inner = io.StringIO()
    CleanStream(inner, str).write("x" * 100_000)
    assert len(inner.getvalue()) == 100_000


NOBODY = pwd.getpwnam("nobody").pw_uid
# A user without rights, whose processes are as those of any user at first.
UNPRIVILEGED = f"""
import ctypes, os, sys
from pymigrate.engine.main.privacy import PR_SET_DUMPABLE, keep_memory_private
if os.getuid() == 0:
    os.setuid({NOBODY})
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
"""
READY = "\nprint(os.getuid(), flush=True)\nsys.stdin.read()\n"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("is_private", [True, False])
def test_the_memory_of_a_process_is_its_own(is_private: bool) -> None:
    body = UNPRIVILEGED + ("keep_memory_private()" if is_private else "") + READY
    command = [sys.executable, "-c", body]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        user = int(process.stdout.readline())
        proc = Path(f"/proc/{process.pid}")
        for secret in ("environ", "mem", "maps", "fd"):
            assert (proc / secret).stat().st_uid == (0 if is_private else user)
        [cores] = [
            line.split() for line in (proc / "limits").read_text().splitlines() if line.startswith("Max core file")
        ]
        assert cores[4:6] == ["0", "0"] or not is_private
        # What the engine tells its hosts apart by is there for all.
        assert processes.start_ticks(process.pid) is not None
        assert (proc / "stat").stat().st_mode & stat.S_IROTH
        process.send_signal(signal.SIGSEGV)
        _, status = os.waitpid(process.pid, 0)
        assert os.WTERMSIG(status) == signal.SIGSEGV
        assert not (is_private and os.WCOREDUMP(status))
        process.returncode = -signal.SIGSEGV
