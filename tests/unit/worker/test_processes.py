"""Processes are told apart by id and start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pymigrate.engine.adapters.executors import processes

NOBODY = 2**22 + 1  # above the largest id that Linux gives


def test_a_process_has_one_start_and_another_process_another() -> None:
    own = processes.start_ticks(os.getpid())
    assert own == processes.start_ticks(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        theirs = processes.start_ticks(child.pid)
        assert theirs is not None
        assert own is not None
        assert theirs > own
        assert processes.kill(child.pid, theirs)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert processes.start_ticks(child.pid) is None, "one that has ended and was not reaped is not running"
        assert not processes.kill(child.pid, theirs)


def test_nobody_is_not_running_and_not_killed() -> None:
    assert processes.start_ticks(NOBODY) is None
    assert not processes.is_running(NOBODY, 1)
    assert not processes.kill(NOBODY, 1)


def test_a_name_with_spaces_and_parentheses_does_not_mislead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for pid, state in ((7, "S"), (8, "Z")):
        (tmp_path / str(pid)).mkdir()
        fields = " ".join(["0"] * 18)
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a) S (b c) {state} {fields} 4711 0 0\n")
    (tmp_path / "self").symlink_to(tmp_path / "7")
    monkeypatch.setattr(processes, "PROC", tmp_path)
    assert processes.start_ticks(7) == 4711
    assert processes.start_ticks(8) is None


def test_without_proc_ps_tells_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ps"
    program.write_text(
        "#!/bin/sh\n"
        'case "$5$4" in *7*) echo "Ss   Mon Jan  5 10:00:00 2026";; *8*) echo "Z    Mon Jan  5 10:00:00 2026";; *) exit 1;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(processes, "PROC", tmp_path / "none")
    assert processes.start_ticks(7) == processes.start_ticks(7)
    assert isinstance(processes.start_ticks(7), int)
    assert processes.start_ticks(8) is None
    assert processes.start_ticks(9) is None


def test_without_pidfd_a_process_is_killed_after_the_same_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        ticks = processes.start_ticks(child.pid)
        assert ticks is not None
        assert not processes.kill(child.pid, ticks + 1)
        assert child.poll() is None
        assert processes.kill(child.pid, ticks)
        assert child.wait() == -9
