"""What answers of an HTTP interface look like, and how they come in pages."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PageNumberPaging:
    """Numbered pages, up to the first that is empty. `size` is asked for where `size_parameter` is not empty."""

    parameter: str = "page"
    size_parameter: str = ""
    size: int = 100
    first_page: int = 1


@dataclass(frozen=True, slots=True)
class OffsetPaging:
    """Pages that begin after so many records, up to the first that is empty."""

    parameter: str = "offset"
    limit_parameter: str = "limit"
    limit: int = 100


@dataclass(frozen=True, slots=True)
class CursorPaging:
    """Pages that hold the next one's cursor at `next`; without a parameter for it, its address."""

    next: str
    parameter: str = ""


@dataclass(frozen=True, slots=True)
class LinkHeaderPaging:
    """Pages with the next one's address in a `Link` header, as RFC 8288 has it."""


Paging = PageNumberPaging | OffsetPaging | CursorPaging | LinkHeaderPaging


@dataclass(frozen=True, slots=True)
class HttpJsonFormat:
    """Answers in JSON. `records` and `total` are places in them: JSON pointers, or names with dots between. Without paging one answer
    holds everything."""

    records: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    paging: Paging | None = None
    total: str = ""
    null_values: tuple[str, ...] = ()
