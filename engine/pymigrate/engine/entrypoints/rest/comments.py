"""The comments of the contract by the full name of what they stand above, read from the .proto files beside its generated code.

Generated code carries none. The files are in the form that `buf format` gives them: one declaration a line, its comment above it.
"""

import re
from functools import cache
from importlib.resources import files

PACKAGE = "pymigrate.v1"
_COMMENT = re.compile(r"\s*//\s?(.*)")
_SCOPE = re.compile(r"\s*(?:message|enum|service)\s+(\w+)\s*\{")
_ONEOF = re.compile(r"\s*oneof\s+(\w+)\s*\{")
_CALL = re.compile(r"\s*rpc\s+(\w+)\s*\(")
_FIELD = re.compile(r"\s*(?:(?:optional|repeated)\s+)?(?:[\w.]+(?:<[^>]*>)?\s+)?(\w+)\s*=\s*\d+\s*[;\[]")


@cache
def contract_comments() -> dict[str, str]:
    """The comments of every file of the contract."""
    found: dict[str, str] = {}
    for file in sorted(files(PACKAGE).iterdir(), key=lambda path: path.name):
        if file.name.endswith(".proto"):
            found |= comments_of(file.read_text(encoding="utf-8"))
    return found


def comments_of(text: str) -> dict[str, str]:
    """The comments of one file: of all that it declares but itself. A oneof's fields are its message's."""
    found: dict[str, str] = {}
    scopes = [PACKAGE]
    above: list[str] = []
    for line in text.splitlines():
        if comment := _COMMENT.fullmatch(line):
            above.append(comment[1])
            continue
        named = _SCOPE.match(line) or _ONEOF.match(line) or _CALL.match(line) or _FIELD.match(line)
        if named is not None:
            name = f"{scopes[-1]}.{named[1]}"
            if above:
                found[name] = " ".join(above).strip()
        opened = line.count("{") - line.count("}")
        if opened > 0:
            is_scope = _SCOPE.match(line) is not None
            scopes.append(f"{scopes[-1]}.{named[1]}" if is_scope and named is not None else scopes[-1])
        elif opened < 0 and len(scopes) > 1:
            scopes.pop()
        above = []
    return found
