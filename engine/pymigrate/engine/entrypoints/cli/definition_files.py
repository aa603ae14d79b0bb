"""Which files a command reads definitions from: those that are named, those in folders that are named, and standard input."""

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import typer

from pymigrate.engine.application.gitops.limits import BYTES_MAX, FILE_BYTES_MAX, FILES_MAX
from pymigrate.v1.definition_pb2 import DefinitionFile

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
STDIN = "-"
STDIN_PATH = "stdin"


class FilesRefused(Exception):
    """Files can't be read, in words."""


def definition_files(paths: Sequence[Path]) -> list[DefinitionFile]:
    """What is read of these paths: of folders, everything below them with one of SUFFIXES, in order, but for what is hidden. Links are
    followed to files of the same folder. Raises FilesRefused."""
    found: list[DefinitionFile] = []
    seen: set[str] = set()
    size = 0
    for path in _each(paths):
        name = STDIN_PATH if str(path) == STDIN else _relative(path)
        if name in seen:
            continue
        seen.add(name)
        file = DefinitionFile(path=name, content=_content(path))
        size += len(file.content)
        found.append(file)
        if len(found) > FILES_MAX or size > BYTES_MAX:
            raise FilesRefused(f"at most {FILES_MAX:,} files of {BYTES_MAX:,} bytes in all are read at once")
    return found


def _each(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if str(path) != STDIN and path.is_dir():
            below = list(_below(path))
            if not below:
                raise FilesRefused(f"{path} holds no {', '.join(f'*{suffix}' for suffix in sorted(SUFFIXES))}")
            yield from below
        else:
            yield path


def _below(folder: Path) -> Iterator[Path]:
    """The files in a folder, each once: what a link leads to counts where it stands."""
    root, taken = folder.resolve(), set()
    linked: list[Path] = []
    found: list[Path] = []
    for within, folders, files in os.walk(folder):
        for name in sorted(folders):
            if not _is_hidden(name) and Path(within, name).is_symlink():
                _skip(Path(within, name), "is a link to a folder")
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        for name in files:
            path = Path(within, name)
            if _is_hidden(name) or path.suffix.lower() not in SUFFIXES:
                continue
            if path.is_symlink():
                linked.append(path)
            elif _is_regular(path):
                found.append(path)
                taken.add(path.resolve())
    for path in linked:
        target = path.resolve()
        if not target.is_relative_to(root):
            _skip(path, "is a link out of the folder")
        elif not _is_regular(target):
            _skip(path, "is a link to no file")
        elif target not in taken:
            taken.add(target)
            found.append(path)
    return iter(sorted(found))


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


def _is_regular(path: Path) -> bool:
    return path.exists() and stat.S_ISREG(path.stat().st_mode)


def _skip(path: Path, why: str) -> None:
    typer.secho(f"skipped: {path} {why}", fg=typer.colors.YELLOW, err=True)


def _content(path: Path) -> bytes:
    """As much of a file as tells that it is too large."""
    try:
        if str(path) == STDIN:
            return sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise FilesRefused(f"{path} can't be read: {error.strerror}") from error


def _relative(path: Path) -> str:
    """As it is named from here, where it lies below; as it was named else."""
    name = os.path.normpath(path)
    here = Path.cwd()
    return os.path.relpath(name, here) if Path(name).is_absolute() and Path(name).is_relative_to(here) else name
