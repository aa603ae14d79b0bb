"""A commit as `git fast-import` is told it: nothing is checked out, and the same arguments make the same commit."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from pymigrate.engine.domain.errors import RepositoryRefused

AUTHOR = re.compile(r"[^\x00-\x1f\x7f<>]{1,200} <[^\x00-\x1f\x7f<>]{0,200}>")


def commit_stream(
    reference: str,
    base: str,
    files: Mapping[str, bytes | None],
    message: str,
    author: str,
    time: datetime,
    parents: Sequence[str],
) -> bytes:
    """The whole stream, after which the commit's digest is told. The paths are checked. Raises RepositoryRefused with PUSH_REFUSED."""
    if AUTHOR.fullmatch(author) is None:
        raise RepositoryRefused("PUSH_REFUSED", f"{author!r} is no author: `Name <mail>` is")
    who = f"{author} {int(time.timestamp())} +0000"
    text = message.encode("utf-8", "replace").replace(b"\0", b"")
    lines = [
        f"commit {reference}\nmark :1\nauthor {who}\ncommitter {who}\ndata {len(text)}\n".encode() + text + b"\n",
        f"from {base}\n".encode(),
        *(f"merge {parent}\n".encode() for parent in parents),
    ]
    for path, content in sorted(files.items()):
        if content is None:
            lines.append(f"D {path}\n".encode())
        else:
            lines.append(f"M 100644 inline {path}\ndata {len(content)}\n".encode() + content + b"\n")
    return b"".join((*lines, b"\nget-mark :1\ndone\n"))
