"""What may be declared of files: where their root is, with what options, and how a target writes them."""

import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from pymigrate.engine.application.references import WRITE, is_reference
from pymigrate.engine.domain.errors import Problem
from pymigrate.v1 import connection_pb2, plan_pb2

OPTIONS_MAX = 64
_LOCAL = frozenset({"", "file", "local"})
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)(?:://|::)")
_HIDDEN = re.compile(r"pass|secret|token|credential|signature|connection_string|(^|_)(key|sas)$", re.IGNORECASE)


def files_problems(system: connection_pb2.FilesSystem) -> Iterator[Problem]:
    """Problems of a root that is a URL, and of the options. Nothing is contacted and no secret is read."""
    root, protocol = system.root, root_protocol(system)
    if protocol and _has_user(root):
        yield Problem("files.root", "must not hold a user or a password: give them as options, secrets by reference")
    if protocol and ("\0" in root or "?" in root or "/../" in f"{root}/"):
        yield Problem("files.root", "must not hold NUL, `?` or `..`")
    if system.options and protocol in _LOCAL:
        yield Problem("files.options", "are those of a URL's filesystem, and the root is a folder of the worker host")
    yield from option_problems("files.options", system.options)


def option_problems(path: str, options: Mapping[str, str]) -> Iterator[Problem]:
    """Problems of what a library is given: a secret among it is a reference."""
    if len(options) > OPTIONS_MAX:
        yield Problem(path, f"has at most {OPTIONS_MAX} entries")
    for name, value in sorted(options.items()):
        hidden = [key for key in (name, *_keys(value)) if _HIDDEN.search(key)]
        if hidden and not is_reference(value):
            yield Problem(
                f"{path}.{name}",
                f"`{hidden[0]}` must be a reference, never the secret itself: {WRITE}",
            )


def root_protocol(system: connection_pb2.FilesSystem) -> str:
    """The protocol of a root that is a URL, such as `s3`; empty for a path."""
    found = _URL.match(system.root)
    return found[1] if found else ""


def target_format_problems(
    path: str, target: plan_pb2.DatasetTarget, connection: connection_pb2.Connection | None
) -> Iterator[Problem]:
    """Problems of how a target's files are written, and of writing them there at all."""
    if connection is None:
        return
    kind, form = connection.WhichOneof("system"), target.WhichOneof("format")
    if form and kind != "files":
        yield Problem(f"{path}.{form}", f"is for files; `{target.connection}` is {kind}")
    if kind == "files" and (protocol := root_protocol(connection.files)) not in _LOCAL:
        yield Problem(
            f"{path}.connection",
            f"`{target.connection}` is at {protocol}://, where nothing puts a dataset in its place in one step: write to a folder of the "
            "worker host, and copy it from there",
        )


def _has_user(root: str) -> bool:
    """Whether any part of a chain of URLs names a user."""
    try:
        return any("@" in urlsplit(part).netloc for part in root.split("::"))
    except ValueError:
        return True


def _keys(value: str) -> list[str]:
    """The names in an option that is a JSON object, at any depth that it has."""
    if not value.startswith("{"):
        return []
    return re.findall(r'"([^"\\]*)"\s*:', json.dumps(_parsed(value)))


def _parsed(value: str) -> object:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None
