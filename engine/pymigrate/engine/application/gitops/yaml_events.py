"""YAML, read by libyaml's events: no aliases, anchors, merge keys or tags; what YAML 1.1 reads otherwise than it looks is refused.

Words for true and false (`yes`, `on`, …) mean that, as they did before; a date or time is the text that it is written as; a number with a
leading zero (octal) or with colons (base 60) is refused, since YAML 1.1 and 1.2 read it differently.
"""

import re
from functools import lru_cache
from typing import Any

import yaml

from pymigrate.engine.application.gitops.building import Builder, Unreadable
from pymigrate.engine.application.gitops.limits import DIGITS_MAX

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same events, some ten times as fast
_TEXT_TAG = "tag:yaml.org,2002:str"
_TRUE = frozenset({"yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})
_FALSE = frozenset({"no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_MAY_MEAN_MORE = frozenset("+-.0123456789~nNyYtTfFoO")
_INTEGER = re.compile(r"([-+]?)(?:(0b[01_]+)|(0x[0-9a-fA-F_]+)|(0|[1-9][0-9_]*))")
_OCTAL = re.compile(r"[-+]?0[0-7_]+")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_NO_NUMBER = frozenset({".nan", ".NaN", ".NAN"})
# What to do about what the parser finds, for the mistakes that people make.
NEXT_STEPS = {
    "mapping values are not allowed": "quote a text that holds a colon and a blank",
    "cannot start any token": "quote a text that begins so",
    "while parsing a block mapping, did not find expected key": "begin all keys of a map in one column",
    "unexpected end of stream": "close the quotes",
}


class Ambiguous(ValueError):
    """A scalar that does not mean what it looks like."""


def take_yaml(text: str, builder: Builder) -> None:
    """Gives a builder what YAML says. Raises Unreadable where it is none."""
    parser = _Parser(text)
    try:
        while not isinstance(event := parser.get_event(), yaml.StreamEndEvent):
            _take(event, builder)
    except yaml.reader.ReaderError as error:
        before = text[: error.position] if isinstance(error.position, int) else ""
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise Unreadable(line, column, f"is not YAML: {error.reason}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = _what_is_wrong(text, error)
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise Unreadable(line, column, f"is not YAML: {said}") from error
    finally:
        parser.dispose()


def _what_is_wrong(text: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    if mark is not None:
        lines = text.splitlines()
        line = lines[mark.line] if mark.line < len(lines) else ""
        if "\t" in line[: len(line) - len(line.lstrip())]:
            return "the line begins with a tab; indent with blanks"
    said = ", ".join(part for part in (error.context, error.problem) if part)
    return said + next((f": {what}" for found, what in NEXT_STEPS.items() if found in said), "")


def _take(event: Any, builder: Builder) -> None:
    mark: Any = event.start_mark
    line, column = mark.line + 1, mark.column + 1
    kind = type(event)
    if kind is yaml.ScalarEvent:
        builder.value(_scalar(event, builder, line, column), line, column)
    elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
        if event.anchor is not None or event.tag is not None:
            _refuse_extras(event, builder, line, column)
        builder.start({} if kind is yaml.MappingStartEvent else [], line, column)
    elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
        builder.end()
    elif kind is yaml.AliasEvent:
        builder.refuse(line, column, "aliases are not allowed: write the value out")
        builder.value("", line, column)
    elif kind is yaml.DocumentEndEvent:
        builder.end_document()


def _scalar(event: Any, builder: Builder, line: int, column: int) -> Any:
    if event.anchor is not None or event.tag is not None:
        _refuse_extras(event, builder, line, column)
    value: str = event.value
    if "\0" in value:
        builder.refuse(line, column, "holds a NUL character: leave it out")
    if not event.implicit[0] or event.tag is not None:
        return value
    if value == "<<" and builder.wants_key:
        builder.refuse(line, column, "merge keys are not allowed: write the fields out")
    if value and value[0] not in _MAY_MEAN_MORE:
        return value
    try:
        return plain(value)
    except Ambiguous as error:
        builder.refuse(line, column, str(error))
        return value


def _refuse_extras(event: Any, builder: Builder, line: int, column: int) -> None:
    if event.anchor is not None:
        builder.refuse(line, column, f"anchors are not allowed: leave `&{event.anchor[:100]}` out")
    if event.tag is not None and event.tag not in {"!", _TEXT_TAG}:
        builder.refuse(line, column, f"tags are not allowed: leave `{event.tag[:100]}` out")


@lru_cache(maxsize=4_096)
def plain(text: str) -> Any:
    """What a scalar without quotes means. Raises Ambiguous."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if found := _INTEGER.fullmatch(text):
        digits = found[0].replace("_", "")
        _require_few(digits)
        return int(digits, 2 if found[2] else 16 if found[3] else 10)
    if _OCTAL.fullmatch(text):  # the number may be a secret, so it is not repeated
        said = "a number with a leading zero is octal to some readers of YAML and decimal to others"
        raise Ambiguous(f"{said}: quote it, or write it without the zero")
    if _SEXAGESIMAL.fullmatch(text):
        raise Ambiguous("numbers with colons are of base 60 to some readers of YAML and text to others: quote it")
    if _FLOAT.fullmatch(text):
        _require_few(text)
        return _float(text.replace("_", ""))
    if found := _INFINITE.fullmatch(text):
        return float(f"{found[1]}inf")
    return float("nan") if text in _NO_NUMBER else text


def _float(digits: str) -> float:
    return float(digits if digits.strip("+-") != "." else "0")


def _require_few(digits: str) -> None:
    if len(digits) > DIGITS_MAX:
        raise Ambiguous(f"is not YAML: a number of {len(digits):,} digits; at most {DIGITS_MAX} are read")
