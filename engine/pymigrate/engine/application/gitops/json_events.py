"""JSON after RFC 8259, with the line and column of everything: nothing is read that the RFC does not have."""

import json
import math
import re
from typing import Any, NoReturn

from pymigrate.engine.application.gitops.building import Builder, Unreadable
from pymigrate.engine.application.gitops.limits import DIGITS_MAX

_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]++|\\.)*+"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(\.[0-9]++)?([eE][-+]?[0-9]++)?")
_WORD = re.compile(r"true|false|null")
_MEANT = {"true": True, "false": False, "null": None}


def take_json(text: str, builder: Builder) -> None:
    """Gives a builder the one document that a text is. Raises Unreadable where it is no JSON."""
    if _SPACE.fullmatch(text):
        return
    _Reader(text, builder).read()
    builder.end_document()


class _Reader:
    def __init__(self, text: str, builder: Builder) -> None:
        self._text = text
        self._builder = builder
        self._at = 0
        self._line = 1
        self._line_start = 0

    def read(self) -> None:
        closers: list[str] = []
        is_first = True
        self._skip()
        while True:
            if closers and self._peek() == closers[-1] and is_first:
                self._close(closers)
            else:
                if closers and closers[-1] == "}":
                    self._key()
                opened = self._value()
                if opened:
                    closers.append(opened)
                    is_first = True
                    continue
            while closers and self._peek() == closers[-1]:
                self._close(closers)
            if not closers:
                break
            if self._peek() != ",":
                self._fail(f"`,` or `{closers[-1]}` must follow")
            self._step()
            is_first = False
        if self._at < len(self._text):
            self._fail("nothing may follow the document")

    def _value(self) -> str:
        """Takes a value in; what will close it where it is a map or list."""
        line, column, first = self._line, self._column, self._peek()
        if first in "{[" and first:
            self._builder.start({} if first == "{" else [], line, column)
            self._step()
            return "}" if first == "{" else "]"
        if first == '"':
            self._builder.value(self._string(), line, column)
        elif number := _NUMBER.match(self._text, self._at):
            self._at = number.end()
            self._builder.value(self._number(number, line, column), line, column)
        elif word := _WORD.match(self._text, self._at):
            self._at = word.end()
            self._builder.value(_MEANT[word[0]], line, column)
        else:
            self._fail("a value must stand here")
        self._skip()
        return ""

    def _key(self) -> None:
        line, column = self._line, self._column
        if self._peek() != '"':
            self._fail("a key in double quotes must stand here")
        self._builder.value(self._string(), line, column)
        self._skip()
        if self._peek() != ":":
            self._fail("`:` must follow a key")
        self._step()

    def _string(self) -> str:
        line, column = self._line, self._column
        found = _STRING.match(self._text, self._at)
        if found is None:
            self._fail("a text that does not end on its line, or holds a control character")
        try:
            value = json.loads(found[0])  # resolves what is escaped
            value.encode()
        except ValueError as error:  # an escape that there is not, or half a pair of surrogates
            raise Unreadable(line, column, f"is not JSON: {_reason(error)}") from error
        if "\0" in value:
            self._builder.refuse(line, column, "holds a NUL character: leave it out")
        self._at = found.end()
        return str(value)

    def _number(self, found: re.Match[str], line: int, column: int) -> Any:
        digits = found[0]
        if len(digits) > DIGITS_MAX:
            self._builder.refuse(line, column, f"a number of {len(digits):,} digits; at most {DIGITS_MAX} are read")
            return 0
        if found[1] is None and found[2] is None:
            return int(digits)
        value = float(digits)
        if not math.isfinite(value):
            self._builder.refuse(line, column, "is more than a number here can be")
        return value

    @property
    def _column(self) -> int:
        return self._at - self._line_start + 1

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _close(self, closers: list[str]) -> None:
        closers.pop()
        self._builder.end()
        self._step()

    def _step(self) -> None:
        self._at += 1
        self._skip()

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        end = found.end() if found else self._at
        if lines := self._text.count("\n", self._at, end):
            self._line += lines
            self._line_start = self._text.rindex("\n", self._at, end) + 1
        self._at = end

    def _fail(self, said: str) -> NoReturn:
        raise Unreadable(self._line, self._column, f"is not JSON: {said}")


def _reason(error: ValueError) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else "a text holds half a character"
