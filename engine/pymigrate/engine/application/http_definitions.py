"""What may be declared of HTTP APIs: where they are, and how their pages are read."""

import ipaddress
import math
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from pymigrate.engine.application.references import WRITE, is_reference
from pymigrate.engine.domain.errors import Problem
from pymigrate.v1 import connection_pb2, plan_pb2

TIMEOUT_SECONDS_MAX = 600
RETRIES_MAX = 20
REQUESTS_PER_SECOND_MAX = 10_000
PAGE_ROWS_MAX = 100_000
HEADERS_MAX = 64
PARAMETERS_MAX = 64
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"})
_SET_BY_CLIENT = frozenset({"host", "content-length", "transfer-encoding", "connection"})


def http_problems(system: connection_pb2.HttpApiSystem) -> Iterator[Problem]:
    """Problems of an API's connection. Nothing is contacted and no secret is read."""
    yield from _address("http.base_url", system.base_url)
    if len(system.headers) > HEADERS_MAX:
        yield Problem("http.headers", f"has at most {HEADERS_MAX} entries")
    for name, value in sorted(system.headers.items()):
        field = f"http.headers.{name}"
        yield from header_name_problems(field, name)
        if name.lower() in _SECRET_HEADERS and not is_reference(value):
            yield Problem(field, f"must be a reference, never the value itself: {WRITE}")
        elif not value.isascii() or not value.isprintable():
            yield Problem(field, "a header holds printable ASCII characters alone")
    rate = system.requests_per_second_max
    if not (math.isfinite(rate) and 0 <= rate <= REQUESTS_PER_SECOND_MAX):
        yield Problem("http.requests_per_second_max", f"must be 0 for no limit, or up to {REQUESTS_PER_SECOND_MAX:,}")
    if not 0 <= system.timeout_seconds <= TIMEOUT_SECONDS_MAX:
        yield Problem("http.timeout_seconds", f"must be 1 to {TIMEOUT_SECONDS_MAX}, or 0 for 30")
    if not -1 <= system.retries_max <= RETRIES_MAX:
        yield Problem("http.retries_max", f"must be 1 to {RETRIES_MAX}, 0 for 5, or -1 for none")
    if system.ca_file and not system.ca_file.startswith("/"):
        yield Problem("http.ca_file", "must be an absolute path on the worker host, such as /etc/ssl/internal.pem")


def http_json_problems(path: str, form: plan_pb2.HttpJsonFormat) -> Iterator[Problem]:
    """Problems of how an API's pages are read."""
    if len(form.parameters) > PARAMETERS_MAX:
        yield Problem(f"{path}.parameters", f"has at most {PARAMETERS_MAX} entries")
    if "" in form.parameters:
        yield Problem(f"{path}.parameters", "a parameter has a name")
    for name in ("records", "total"):
        yield from _place(f"{path}.{name}", getattr(form, name))
    match form.WhichOneof("paging"):
        case "page_number":
            paging = form.page_number
            yield from _page_rows(f"{path}.page_number.size", paging.size)
            names = [paging.parameter or "page", paging.size_parameter]
            yield from _parameters(f"{path}.page_number", names, form)
        case "offset":
            yield from _page_rows(f"{path}.offset.limit", form.offset.limit)
            names = [form.offset.parameter or "offset", form.offset.limit_parameter or "limit"]
            yield from _parameters(f"{path}.offset", names, form)
        case "cursor":
            if not form.cursor.next:
                yield Problem(f"{path}.cursor.next", "is required: say where an answer holds the next page's cursor")
            yield from _place(f"{path}.cursor.next", form.cursor.next)
            yield from _parameters(f"{path}.cursor", [form.cursor.parameter], form)


def header_name_problems(field: str, name: str) -> Iterator[Problem]:
    """Problems of the name of a header that requests carry."""
    if not _HEADER.fullmatch(name) or name.lower() in _SET_BY_CLIENT:
        yield Problem(field, "is no name of a header that can be set")


def _address(field: str, text: str) -> Iterator[Problem]:
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        yield Problem(field, "is no address: write it as https://api.example.com/v2")
        return
    if url.scheme not in {"http", "https"} or not url.hostname or any(character.isspace() for character in text):
        yield Problem(field, "is no address: write it as https://api.example.com/v2")
    elif url.username is not None or url.password is not None:
        yield Problem(field, "must hold no user and no password: send them as a header that refers to a secret")
    elif url.query or url.fragment:
        yield Problem(field, "must hold no query and no fragment: a dataset has `parameters`")
    elif _is_link_local(url.hostname):
        yield Problem(field, "is a link-local address, where clouds keep what no migration may read")


def _is_link_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False


def _place(field: str, place: str) -> Iterator[Problem]:
    """A pointer begins with a slash; names with dots between are not empty."""
    if place and not place.startswith("/") and "" in place.split("."):
        yield Problem(field, f"`{place}` is no place in JSON: write a pointer such as /data/items, or data.items")


def _page_rows(field: str, rows: int) -> Iterator[Problem]:
    if not 0 <= rows <= PAGE_ROWS_MAX:
        yield Problem(field, f"must be 1 to {PAGE_ROWS_MAX:,}, or 0 for 100")


def _parameters(path: str, names: list[str], form: plan_pb2.HttpJsonFormat) -> Iterator[Problem]:
    given = [name for name in names if name]
    for name in sorted({name for name in given if name in form.parameters or given.count(name) > 1}):
        yield Problem(path, f"the query parameter `{name}` is set twice")
