"""Several files as one relation: those that a glob matches, in the order of their names. They must agree in their columns.

`*` and `?` stand for any characters but `/`, `[ab]` for one of them, `**` for any folders. A position is a file's name and a position in
it; none in it is the place before the file.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

from pymigrate.engine.adapters.connectors.file_reader import Reader, passing
from pymigrate.engine.adapters.connectors.json_lines_source import JsonLinesReader, inferred_columns
from pymigrate.engine.adapters.connectors.stored_files import Folder, StoredFile, is_listed
from pymigrate.engine.domain.errors import DataRefused, Problem, SourceChanged, SourceMissing
from pymigrate.engine.domain.types import ColumnInfo, ColumnType
from pymigrate.engine.ports.file_formats import packing_of
from pymigrate.engine.ports.ranges import Position, SourceRange
from pymigrate.engine.ports.source import SourceChunk

GLOB_FILES_MAX = 10_000
DIFFERENCES_MAX = 20
_WILD = re.compile(r"[*?\[]")
_TOKEN = re.compile(r"\*+|\?|\[!?[^\]]+\]|.", re.DOTALL)


def is_glob(relation: str) -> bool:
    """Whether a relation's name stands for several files."""
    return _WILD.search(relation) is not None


def matching(folder: Folder, relation: str) -> list[StoredFile]:
    """The files that a glob matches, by name. Raises SourceMissing where there is none, where there are too many to tell apart, or where a
    folder that may hold some of them can't be read."""
    parts = relation.split("/")
    fixed = list(takewhile(lambda part: not is_glob(part), parts[:-1]))
    pattern = _pattern(parts)
    listed = folder.names("/".join(fixed), lambda path: _may_hold(parts, path))
    names = [name for name in listed if is_listed(name) and pattern.fullmatch(name)]
    if not names:
        raise SourceMissing(f"no file of the connection's folder matches `{relation}`", field="source.relation")
    if len(names) > GLOB_FILES_MAX:
        raise SourceMissing(
            f"`{relation}` matches {len(names):,} files, and a relation has at most {GLOB_FILES_MAX:,}: name fewer",
            field="source.relation",
        )
    return [folder.find(name) for name in names]


class GlobReader:
    """Readers of files, made when they are needed. `declared` are the columns that the dataset declares."""

    def __init__(
        self,
        relation: str,
        files: Sequence[StoredFile],
        reader: Callable[[StoredFile], Reader],
        declared: Mapping[str, ColumnType],
    ) -> None:
        self._relation = relation
        self._files = files
        self._reader = reader
        self._declared = declared
        self._rows = 0

    def columns(self) -> tuple[ColumnInfo, ...]:
        """The columns that all files have. Raises DataRefused with every difference. What all JSON Lines files hold decides their
        types, and a field that the dataset declares may be absent from some of them."""
        readers = [(file.name, self._reader(file)) for file in self._files]
        if all(isinstance(reader, JsonLinesReader) for _, reader in readers):
            found, each = self._json_columns(readers)
        else:
            each = {name: reader.columns() for name, reader in readers}
            found = self._common(each)
        self._rows = 0
        for _, reader in readers:
            rows = reader.rows()
            self._rows = -1 if rows < 0 or self._rows < 0 else self._rows + rows
        self._check(found, each)
        return found

    def declared(self, name: str, kind: ColumnType) -> Problem | None:
        """What any of the files says against it."""
        problems = (self._reader(file).declared(name, kind) for file in self._files)
        return next((problem for problem in problems if problem), None)

    def rows(self) -> int:
        """Of all files, where each of them tells; known after `columns`."""
        return self._rows

    def split(self, parts: int) -> Sequence[Position]:
        """Between files, and within those that can be split, at about the same number of bytes each."""
        total = sum(file.size for file in self._files)
        wanted = [total * number // parts for number in range(1, parts)]
        ends, start = list[Position](), 0
        for at, file in enumerate(self._files):
            within = [end for end in wanted if start < end < start + file.size]
            start += file.size
            if within and not packing_of(file.name):
                ends += [_position(file.name, end) for end in self._reader(file).split(len(within) + 1)]
            is_border = start in wanted or (within and packing_of(file.name))
            if is_border and at + 1 < len(self._files):
                ends.append(_position(self._files[at + 1].name, None))
        return ends

    def chunks(self, columns: Sequence[ColumnInfo], chunk_bytes: int, span: SourceRange) -> Iterator[SourceChunk]:
        """File after file."""
        for name, reader, inner in self._within(span):
            for chunk in reader.chunks(columns, chunk_bytes, inner):
                yield replace(chunk, end=_position(name, chunk.end))

    def passing_chunks(
        self, columns: Sequence[ColumnInfo], chunk_bytes: int, span: SourceRange
    ) -> Iterator[SourceChunk]:
        """File after file, with the records as they lie in them."""
        for name, reader, inner in self._within(span):
            for chunk in passing(reader).passing_chunks(columns, chunk_bytes, inner):
                yield replace(chunk, end=_position(name, chunk.end))

    def headers(self) -> set[tuple[str, ...]]:
        """The orders in which the files have their columns."""
        return {tuple(column.name for column in self._reader(file).columns()) for file in self._files}

    def _within(self, span: SourceRange) -> Iterator[tuple[str, Reader, SourceRange]]:
        """The files that a range touches, each with its own part of it."""
        first, after = _place(span.after)
        last, until = _place(span.until)
        names = {file.name for file in self._files}
        if gone := [name for name in (first, last) if name is not None and name not in names]:
            raise SourceChanged(
                f"{gone[0]} is no longer among the files of {self._relation}: start another run",
                field="source.relation",
            )
        for file in self._files:
            if (first is not None and file.name < first) or (last is not None and file.name > last):
                continue
            if file.name == last and until is None:
                return
            inner = SourceRange(after if file.name == first else None, until if file.name == last else None)
            yield file.name, self._reader(file), inner

    def _json_columns(
        self, readers: Sequence[tuple[str, Reader]]
    ) -> tuple[tuple[ColumnInfo, ...], dict[str, tuple[ColumnInfo, ...]]]:
        kinds: dict[str, set[str]] = {}
        each: dict[str, tuple[ColumnInfo, ...]] = {}
        for file, reader in readers:
            own = reader.kinds() if isinstance(reader, JsonLinesReader) else {}
            for name, some in own.items():
                kinds.setdefault(name, set()).update(some)
            if reader.rows():
                each[file] = inferred_columns(own)
        if not each:
            return tuple(ColumnInfo(name, kind) for name, kind in self._declared.items()), {}
        found = inferred_columns(kinds)
        types = {column.name: column for column in found}
        lenient = [name for name in types if name in self._declared]
        return found, {
            file: tuple(types[name] for name in dict.fromkeys((*(column.name for column in columns), *lenient)))
            for file, columns in each.items()
        }

    def _common(self, each: Mapping[str, tuple[ColumnInfo, ...]]) -> tuple[ColumnInfo, ...]:
        """The first file's columns; NOT NULL where all of them say so."""
        first, *others = each.values()
        optional = {column.name for columns in others for column in columns if not column.is_required}
        return tuple(
            replace(column, is_required=column.is_required and column.name not in optional) for column in first
        )

    def _check(self, found: Sequence[ColumnInfo], each: Mapping[str, tuple[ColumnInfo, ...]]) -> None:
        expected = {column.name: column.type for column in found}
        differences = list[str]()
        for file, columns in each.items():
            own = {column.name: column.type for column in columns}
            differences += [f"{file} has no column `{name}`" for name in expected if name not in own]
            differences += [f"{file} has a column `{name}` more" for name in own if name not in expected]
            differences += [
                f"`{name}` is {own[name]} in {file}, and {kind} before"
                for name, kind in expected.items()
                if name in own and own[name] != kind
            ]
        if differences:
            rest = len(differences) - DIFFERENCES_MAX
            listed = "; ".join(differences[:DIFFERENCES_MAX]) + (f"; and {rest:,} more" if rest > 0 else "")
            raise DataRefused(f"the files of {self._relation} differ: {listed}", field="source.relation")


def _pattern(parts: Sequence[str]) -> re.Pattern[str]:
    """The regular expression of a glob; `*` stays within its folder."""
    text = ""
    for at, part in enumerate(parts):
        is_last = at == len(parts) - 1
        if part == "**":
            text += ".*" if is_last else "(?:.*/)?"
        else:
            text += _TOKEN.sub(_expression, part) + ("" if is_last else "/")
    return re.compile(text, re.DOTALL)


def _may_hold(parts: Sequence[str], folder: str) -> bool:
    """Whether a glob may match something below a folder."""
    above = parts[: folder.count("/") + 1]
    is_deep_enough = len(above) < len(parts) and _pattern(above).fullmatch(folder) is not None
    return folder == "." or "**" in above or is_deep_enough


def _expression(token: re.Match[str]) -> str:
    """What a part of a glob stands for."""
    found = token[0]
    if found[0] in "*?":
        return "[^/]*" if found[0] == "*" else "[^/]"
    if len(found) > 1 and found[0] == "[":
        is_other = found[1] == "!"
        inner = re.sub(r"([\\^\[])", r"\\\1", found[2:-1] if is_other else found[1:-1])
        return f"[^{inner}/]" if is_other else f"[{inner}]"
    return re.escape(found)


def _position(name: str, inner: Position | None) -> Position:
    return Position(json.dumps({"file": name, "at": inner}))


def _place(position: Position | None) -> tuple[str | None, Position | None]:
    if position is None:
        return None, None
    found = json.loads(position)
    return str(found["file"]), found["at"]
