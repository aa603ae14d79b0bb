"""Figures and moments as people read them, in their language and time zone."""

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

DECIMALS_MAX = 10
_BYTE_UNITS = ("kB", "MB", "GB", "TB", "PB", "EB")
_NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"


class Manner(NamedTuple):
    """How a language writes: `group` between thousands and `point` before decimals, words of time, and where signs stand."""

    group: str
    point: str
    units: tuple[tuple[int, str], ...]
    days: tuple[str, ...]
    months: tuple[str, ...]
    moment: str
    percent: str
    money: str


_ENGLISH = Manner(
    ",",
    ".",
    ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")),
    ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "{day} {date.day} {month} {date.year}, {date:%H:%M} {zone}",
    "{0}%",
    "{1} {0}",
)
_GERMAN = Manner(
    ".",
    ",",
    ((86_400, "Tg"), (3_600, "Std"), (60, "Min"), (1, "Sek")),
    ("Mo.", "Di.", "Mi.", "Do.", "Fr.", "Sa.", "So."),
    ("Jan.", "Feb.", "März", "Apr.", "Mai", "Juni", "Juli", "Aug.", "Sept.", "Okt.", "Nov.", "Dez."),
    "{day}, {date.day}. {month} {date.year}, {date:%H:%M} Uhr ({zone})",
    "{0} %",
    "{0} {1}",
)
_SWISS = _GERMAN._replace(group="’", point=".", percent="{0}%", money="{1} {0}")
_FRENCH = _ENGLISH._replace(group=_NARROW_SPACE, point=",", percent="{0} %", money="{0} {1}")
_MANNERS = {
    "en": _ENGLISH, "de": _GERMAN, "de-at": _GERMAN, "de-ch": _SWISS, "de-li": _SWISS, "fr": _FRENCH,
    "it": _ENGLISH._replace(group=".", point=",", percent="{0}%", money="{0} {1}"),
    "es": _ENGLISH._replace(group=".", point=",", percent="{0} %", money="{0} {1}"),
}  # fmt: skip


@lru_cache(maxsize=1_000)
def manner_of(locale: str) -> Manner:
    """How a locale's language writes; English where it is not known."""
    words = locale.lower().replace("_", "-")
    return _MANNERS.get(words) or _MANNERS.get(words.partition("-")[0], _ENGLISH)


def number(value: float, decimals: int, manner: Manner) -> str:
    """`1,234.5`; decimals that are zero at the end are kept, as asked for."""
    written = f"{value:,.{max(0, min(decimals, DECIMALS_MAX))}f}"
    return written.translate({ord(","): manner.group, ord("."): manner.point})


def percent(share: float, decimals: int, manner: Manner) -> str:
    """`12.5%` of 0.125."""
    return manner.percent.format(number(share * 100.0, decimals, manner))


def money(amount: float, currency: str, manner: Manner) -> str:
    """`EUR 1,200`; with cents below a hundred."""
    return manner.money.format(number(amount, 2 if 0 < abs(amount) < 100 else 0, manner), currency)


def size(count: float, manner: Manner) -> str:
    """`1.5 GB`, by thousands."""
    if abs(count) < 1_000:
        return f"{number(count, 0, manner)} B"
    for unit in _BYTE_UNITS:
        count /= 1_000
        if abs(count) < 999.95 or unit == _BYTE_UNITS[-1]:
            break
    return f"{number(count, 1, manner)} {unit}"


def duration(seconds: float, manner: Manner) -> str:
    """`2 h 10 min`: the two largest units; below ten seconds with a decimal."""
    if not abs(seconds) < 1e12:
        return "∞" if seconds > 0 else "–∞"
    if seconds < 0:
        return f"–{duration(-seconds, manner)}"
    if seconds < 10:
        return f"{number(seconds, 1, manner)} {manner.units[-1][1]}"
    whole = round(seconds)
    told: list[str] = []
    for length, unit in manner.units:
        count, whole = divmod(whole, length)
        if count or told:
            told.append(f"{count} {unit}" if count else "")
        if len(told) == 2:
            break
    return " ".join(filter(None, told))


@lru_cache(maxsize=5_000)
def moment(text: str, zone: str, locale: str) -> str:
    """`Thu 26 Nov 2026, 06:34 CET` of an RFC 3339 text. Raises ValueError for one that is none."""
    manner, local = manner_of(locale), datetime.fromisoformat(text).astimezone(_zone(zone))
    return manner.moment.format(
        day=manner.days[local.weekday()], month=manner.months[local.month - 1], date=local, zone=local.tzname()
    )


@lru_cache(maxsize=1_000)
def _zone(name: str) -> tzinfo:
    return UTC if name in ("", "UTC") else ZoneInfo(name)
