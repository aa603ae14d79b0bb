"""An export of the trail, verified by what it holds itself: no engine is asked. It is read once, a line at a time."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

from pymigrate.engine.application.audit import trail_lines
from pymigrate.engine.application.audit.event_messages import entry_of, read_number, read_text
from pymigrate.engine.application.audit.seal_messages import head_of, seal_of
from pymigrate.engine.application.audit.trail_lines import (
    FORMAT_NAME,
    FORMAT_VERSION,
    HEADER,
    LINE_BYTES_MAX,
    read_line,
)
from pymigrate.engine.domain.audit_chain import Head, Seal
from pymigrate.engine.domain.audit_verification import Fault, FaultKind, IsSigned, Verdict, Verification
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.ports.feed import as_written

HEADS_MAX = 1_000_000
DETAIL_CHARACTERS_MAX = 200
# Reads PEM, which is from where the second says; tells whether one of the keys in it signed a message.
ReadKeys = Callable[[bytes, str], IsSigned]


def verify_export(file: BinaryIO, keys: ReadKeys, public_key: str = "", known: Seal | None = None) -> Verdict:
    """What holds of an export. `public_key` is the PEM of the keys that seals must be signed with; empty: those that the export itself
    brings. Raises InvalidDefinition for a file that is no export, or that holds a part of the trail alone, and whatever `keys` raises for
    keys that are none."""
    lines = _lines(file)
    header = _header(lines)
    is_signed = keys((public_key or read_text(header, "publicKey")).encode(), "the key" if public_key else "the file")
    reading = _Reading(is_signed, known)
    for number, line in lines:
        try:
            reading.take(*read_line(line))
        except ValueError as error:
            reading.fail(FaultKind.ALTERED, f"line {number:,} is none of an export: {error}")
        if reading.problem:
            reading.fail(FaultKind.TRUNCATED, f"line {number:,}: {reading.problem}")
        if reading.is_settled:
            return reading.verdict()
    if not reading.is_whole:
        reading.fail(FaultKind.TRUNCATED, "the file ends before its export did: go on with it, and verify it then")
    return reading.verdict()


class _Reading:
    """Takes in lines behind the header, up to the first fault. `problem` is what a line says that others contradict; `is_whole`: the last
    one was the end."""

    def __init__(self, is_signed: IsSigned, known: Seal | None) -> None:
        self._is_signed = is_signed
        self._known = known
        self._bases: list[Head] = []
        self._verification: Verification | None = None
        self._fault: Fault | None = None
        self._heads: list[Head] = []
        self._events = self._seals = 0
        self.problem = ""
        self.is_whole = False

    @property
    def is_settled(self) -> bool:
        """Whether the first fault is known."""
        links = self._verification
        return self._fault is not None or (links is not None and links.is_settled)

    def fail(self, kind: FaultKind, description: str) -> None:
        """Something of the file itself does not hold; what is wrong with links and seals before it goes first."""
        if not self._verifying().has_found:
            self._fault = self._fault or Fault(kind, 0, "", 0, 0, description)

    def verdict(self) -> Verdict:
        """What was found."""
        found = self._verifying().finish()
        return found if self._fault is None else replace(found, fault=self._fault)

    def take(self, kind: str, content: Mapping[str, Any]) -> None:
        """The next line. Raises ValueError for what no export says."""
        self.is_whole = False
        match kind:
            case trail_lines.EVENT:
                self._events += 1
                self._verifying().entries((as_written(entry_of(content)),))
            case trail_lines.BASE:
                if self._verification is not None:
                    raise ValueError("what retention left comes before everything else")
                self._bases.append(head_of(content))
            case trail_lines.HEADS:
                self._take_heads(content)
            case trail_lines.SEAL:
                self._seals += 1
                heads, self._heads = self._heads, []
                self._verifying().seal(seal_of(content), heads)
            case trail_lines.POSITION:
                self._take_position(content)
            case trail_lines.PROBLEM:
                why = str(content.get("detail", ""))[:DETAIL_CHARACTERS_MAX]
                self.problem = self.problem or f"the export broke off: {why}"
            case _:
                raise ValueError("there is one header, and it comes first")

    def _verifying(self) -> Verification:
        """The links and seals; from then on there are no more bases."""
        if self._verification is None:
            self._verification = Verification(self._bases, self._is_signed, self._known, is_kept=True)
        return self._verification

    def _take_heads(self, content: Mapping[str, Any]) -> None:
        found = content.get("heads")
        if not isinstance(found, list) or len(self._heads) + len(found) > HEADS_MAX:
            raise ValueError("has no heads, or too many")
        self._heads.extend(head_of(each) for each in found)

    def _take_position(self, content: Mapping[str, Any]) -> None:
        told = read_number(content, "eventCount"), read_number(content, "sealCount")
        if told != (self._events, self._seals) and not self.problem:
            there = f"{self._events:,} and {self._seals:,}"
            self.problem = f"up to here there were {told[0]:,} events and {told[1]:,} seals, and there are {there}"
        self.is_whole = content.get("isEnd") is True


def _header(lines: Iterator[tuple[int, bytes]]) -> Mapping[str, Any]:
    try:
        _, first = next(lines)
        kind, header = read_line(first)
    except (StopIteration, ValueError) as error:
        raise _invalid("file", "is no export of the audit trail") from error
    if kind != HEADER or header.get("format") != FORMAT_NAME:
        raise _invalid("file", "is no export of the audit trail, or lacks its beginning")
    if header.get("formatVersion") != FORMAT_VERSION:
        raise _invalid("file", "is of a later version of PyMigrate: verify it with that one")
    parts = [name for name in ("environment", "startTime", "endTime") if header.get(name)]
    if parts:
        raise _invalid(
            "file", f"holds a part of the trail ({', '.join(parts)}), which can't be verified: export all of it"
        )
    return header


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines that say something, numbered from 1; of one that is too long its beginning, which is then no line of an export."""
    number = 0
    while line := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        if line.strip():
            yield number, line


def _invalid(field: str, text: str) -> InvalidDefinition:
    return InvalidDefinition((Problem(field, text),))
