"""What a repository's url, a reference in it and a path within it may be. Nothing of it can be taken for an option, a command or another
place by whatever reads it later."""

import re
from urllib.parse import SplitResult, unquote, urlsplit

from pymigrate.engine.domain.addresses import is_loopback

URL_CHARACTERS_MAX = 2_000
NAME_CHARACTERS_MAX = 250
PATH_CHARACTERS_MAX = 1_000
COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SCP = re.compile(
    r"(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*)@(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*):(?P<path>.+)"
)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_AUTHOR = re.compile(r"[^<>\x00-\x1f\x7f]*[^<>\s\x00-\x1f\x7f] <[^<>\s\x00-\x1f\x7f]+@[^<>\s\x00-\x1f\x7f]+>")
_FORBIDDEN_IN_REFERENCES = frozenset(" ~^:?*[\\")
_WRITE = "write https://host/path, ssh://user@host/path or user@host:path"


def scheme_of(url: str) -> str:
    """`https`, `http` or `ssh` of a url that is one; what stands before `://` of any other."""
    return "ssh" if "://" not in url and _SCP.fullmatch(url) else url.partition("://")[0].lower()


def host_of(url: str) -> str:
    """The host of a url that is one."""
    found = _SCP.fullmatch(url) if "://" not in url else None
    return found["host"].lower() if found is not None else urlsplit(url).hostname or ""


def url_problem(url: str) -> str:
    """What is wrong with a repository's url, and what to do; empty: nothing. The url is not repeated: it may hold a password."""
    if not url:
        return f"is required: {_WRITE}"
    if len(url) > URL_CHARACTERS_MAX:
        return f"has at most {URL_CHARACTERS_MAX:,} characters"
    if not _is_plain(url) or not _is_plain(unquote(url, errors="replace")):
        return "must be of printable ASCII characters, without blanks"
    if url.startswith("-"):
        return f"can't begin with `-`: {_WRITE}"
    if "://" not in url:
        return _scp_problem(url)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return f"is no url: {_WRITE}"
    return _split_problem(parts, host)


def branch_problem(name: str) -> str:
    """What is wrong with the name of a branch or tag, after `git check-ref-format`; empty: nothing."""
    if not name:
        return "is required"
    if len(name) > NAME_CHARACTERS_MAX:
        return f"has at most {NAME_CHARACTERS_MAX} characters"
    if name.startswith("-"):
        return "can't begin with `-`"
    if not _is_printable(name) or _FORBIDDEN_IN_REFERENCES & set(name):
        return "can't hold blanks, control characters or any of ~ ^ : ? * [ \\"
    if ".." in name or "@{" in name or name == "@" or name.endswith("."):
        return "can't hold `..` or `@{`, be `@`, or end with `.`"
    if any(not part or part.startswith(".") or part.endswith(".lock") for part in name.split("/")):
        return "can't have a part between `/` that is empty, begins with `.` or ends with `.lock`"
    return ""


def commit_problem(sha: str) -> str:
    """What is wrong with a commit's digest; empty: nothing."""
    return "" if COMMIT.fullmatch(sha) else "must be all 40 (or 64) lower-case hexadecimal digits of a commit"


def path_problem(path: str) -> str:
    """What is wrong with the path of a folder or file within a repository; empty: nothing."""
    if len(path) > PATH_CHARACTERS_MAX:
        return f"has at most {PATH_CHARACTERS_MAX:,} characters"
    if path.startswith("-"):
        return "can't begin with `-`"
    if not _is_printable(path) or "\\" in path:
        return "can't hold control characters or `\\`"
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "must be relative to the repository's root, such as `deploy/prod`, without `.`, `..` and doubled `/`"
    if any(part.lower() == ".git" for part in parts):
        return "can't lead through `.git`"
    return ""


def author_problem(author: str) -> str:
    """What is wrong with an author; empty: nothing."""
    if len(author) > NAME_CHARACTERS_MAX:
        return f"has at most {NAME_CHARACTERS_MAX} characters"
    return "" if _AUTHOR.fullmatch(author) else "must be written as `Name <name@example.com>`"


def _split_problem(parts: SplitResult, host: str) -> str:
    if parts.scheme not in ("https", "http", "ssh"):
        return f"is of a kind that is not fetched from: {_WRITE}"
    if not _HOST.fullmatch(host):
        return f"names no host: {_WRITE}"
    if parts.password is not None:
        return "must hold no password: say how one logs in by `https` or `ssh`"
    if parts.query or parts.fragment:
        return "can't hold `?` or `#`"
    if not parts.path.strip("/") or any(part in (".", "..") for part in unquote(parts.path).split("/")):
        return f"names no repository on its host: {_WRITE}"
    if parts.scheme == "ssh":
        if parts.username is not None and not _USER.fullmatch(parts.username):
            return "has a user that is none: use letters, digits, `.`, `-` and `_`"
        return ""
    if parts.username is not None:
        return "must hold no user and no token: say how one logs in by `https`"
    if parts.scheme == "http" and not is_loopback(host):
        return "must be https: plain http is for this machine alone"
    return ""


def _scp_problem(url: str) -> str:
    found = _SCP.fullmatch(url)
    if found is None or "::" in url.partition("@")[0]:
        return f"is no url: {_WRITE}"
    path = found["path"]
    if path.startswith("-"):
        return "has a path that begins with `-`"
    if any(part in (".", "..") for part in path.split("/")):
        return "has a path with `.` or `..`"
    return ""


def _is_plain(text: str) -> bool:
    return text.isascii() and all("!" <= each <= "~" for each in text)


def _is_printable(text: str) -> bool:
    return text.isprintable()
