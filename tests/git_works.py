"""Repositories as tests make them: with the real git, one author, and dates that only a commit moves on."""

import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

FIRST = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
AUTHOR = ("Ada Author", "ada@example.com")
BRANCH = "main"
Content = str | bytes


def run_git(
    folder: Path,
    *arguments: str,
    told: bytes = b"",
    environment: Mapping[str, str] | None = None,
    is_checked: bool = True,
) -> str:
    """What git says in a folder, without any configuration of the machine's."""
    ended = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        input=told,
        env=clean_environment(folder) | dict(environment or {}),
        capture_output=True,
        check=False,
    )
    assert not is_checked or not ended.returncode, f"git {arguments}: {ended.stderr.decode(errors='replace')}"
    return ended.stdout.decode(errors="replace").strip()


def clean_environment(home: Path) -> dict[str, str]:
    """What a git of a test's is given."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
    }


class Work:
    """A working tree of somebody who writes definitions. Every commit is a minute later than the one before."""

    def __init__(self, folder: Path, *, object_format: str = "sha1") -> None:
        self.folder = folder
        self._commits = 0
        folder.mkdir(parents=True)
        self.git("init", "--quiet", f"--object-format={object_format}", f"--initial-branch={BRANCH}")
        self.git("config", "commit.gpgSign", "false")

    @property
    def head(self) -> str:
        """The commit that it is at."""
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str, told: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        """Any other command, at the time and by the author of the next commit."""
        at = int((FIRST + timedelta(minutes=self._commits)).timestamp())
        named = {
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", AUTHOR[0]), ("EMAIL", AUTHOR[1]), ("DATE", f"{at} +0000"))
        }
        return run_git(self.folder, *arguments, told=told, environment=named | dict(environment or {}))

    def commit(self, files: Mapping[str, Content | None], message: str = "Change definitions", *options: str) -> str:
        """Writes files, or removes those that are None, and commits them; the commit."""
        for path, content in files.items():
            place = self.folder / path
            if content is None:
                place.unlink()
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.git("add", "--all")
        return self.commit_staged(message, *options)

    def commit_staged(self, message: str, *options: str) -> str:
        """Commits what `git add` or `git update-index` has staged."""
        self._commits += 1
        self.git("commit", "--quiet", "--allow-empty", "--message", message, *options)
        return self.head

    def revert(self, *commits: str) -> str:
        """As `git revert` does it, with its message; the newest commit."""
        for commit in commits:
            self._commits += 1
            self.git("revert", "--no-edit", commit)
        return self.head

    def merge(self, branch: str, message: str = "Merge") -> str:
        """Merges a branch with a commit of its own."""
        self._commits += 1
        self.git("merge", "--quiet", "--no-ff", "--message", message, branch)
        return self.head

    def switch(self, branch: str, start: str = "") -> None:
        """Goes to a branch, which is made from `start` where that is said."""
        self.git("switch", "--quiet", *(["--create", branch, start] if start else [branch]))

    def reset(self, commit: str) -> None:
        """Goes back, as whoever forces a push afterwards does."""
        self.git("reset", "--quiet", "--hard", commit)

    def push(self, to: str | Path, *references: str, is_forced: bool = False) -> None:
        """Pushes to a folder or url; the branch that it is at where no references are said."""
        forced = ["--force"] if is_forced else []
        self.git("push", "--quiet", *forced, str(to), *(references or (f"HEAD:refs/heads/{self.branch}",)))

    @property
    def branch(self) -> str:
        """The branch that it is at."""
        return self.git("symbolic-ref", "--short", "HEAD")
