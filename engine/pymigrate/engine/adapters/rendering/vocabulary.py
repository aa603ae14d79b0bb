"""The filters and tests that a template has: Jinja2's own as far as they can't grow or reach anything, and those of this house, which
write figures and moments in the recipient's language and time zone."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2 import Environment
from jinja2 import filters as jinja_filters
from jinja2 import tests as jinja_tests
from jinja2.exceptions import SecurityError, UndefinedError
from jinja2.filters import do_join, do_replace, make_attrgetter
from jinja2.runtime import Context, Undefined
from jinja2.utils import htmlsafe_json_dumps, pass_context, pass_environment, pass_eval_context, url_quote

from pymigrate.engine.adapters.rendering import formats
from pymigrate.engine.adapters.rendering.sandbox import OUTPUT_BYTES_MAX, bounded_text, shown, too_long

INDENT_MAX = 40
_TAKEN = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "groupby", "int", "items", "last",
    "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "select", "selectattr", "sort", "title", "trim",
    "truncate", "unique", "upper", "wordcount",
)  # fmt: skip
_TESTS_TAKEN = (
    "boolean", "defined", "divisibleby", "eq", "equalto", "even", "false", "float", "ge", "greaterthan", "gt", "in", "integer", "iterable",
    "le", "lessthan", "lower", "lt", "mapping", "ne", "none", "number", "odd", "sequence", "string", "true", "undefined", "upper",
    "==", "!=", "<", "<=", ">", ">=",
)  # fmt: skip


def _number_of(value: Any, what: str) -> float:
    if isinstance(value, Undefined):
        str(value)
    if value is None:
        raise UndefinedError(f"`{what}` is asked of a value that is empty here: ask with `{{% if … %}}` first")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SecurityError(f"`{what}` takes a number")
    return value


def _recipient(context: Context) -> Mapping[str, Any]:
    found = context.resolve("recipient")
    return found if isinstance(found, dict) else {}


def _manner(context: Context) -> formats.Manner:
    return formats.manner_of(str(_recipient(context).get("locale", "")))


def _of_each(environment: Environment, values: Any, attribute: str | int | None) -> Iterable[Any]:
    """The values of a list, or a field of each."""
    return values if attribute is None else map(make_attrgetter(environment, attribute), values)


@pass_context
def _number(context: Context, value: Any, decimals: int = 0) -> str:
    return formats.number(_number_of(value, "number"), decimals, _manner(context))


@pass_context
def _percent(context: Context, value: Any, decimals: int = 0) -> str:
    return formats.percent(_number_of(value, "percent"), decimals, _manner(context))


@pass_context
def _bytes(context: Context, value: Any) -> str:
    return formats.size(_number_of(value, "bytes"), _manner(context))


@pass_context
def _duration(context: Context, value: Any) -> str:
    return formats.duration(_number_of(value, "duration"), _manner(context))


@pass_context
def _money(context: Context, value: Any, currency: str = "") -> str:
    if isinstance(value, dict):
        value, currency = value.get("amount"), str(value.get("currency_code", ""))
    return formats.money(_number_of(value, "money"), currency, _manner(context))


@pass_context
def _figure(context: Context, value: Any, unit: str = "") -> str:
    """A figure by its unit, as `event.unit` names it."""
    manner, known = _manner(context), _number_of(value, "figure")
    match unit:
        case "share":
            return formats.percent(known, 1, manner)
        case "seconds":
            return formats.duration(known, manner)
        case "bytes":
            return formats.size(known, manner)
        case "bytes_per_second":
            return f"{formats.size(known, manner)}/s"
        case "rows_per_second":
            return f"{formats.number(known, 0, manner)}/s"
        case _:
            return formats.number(known, 0 if known == round(known) else 2, manner)


@pass_context
def _localtime(context: Context, value: Any, zone: str = "") -> str:
    recipient = _recipient(context)
    return formats.moment(str(shown(value)), str(zone or recipient.get("zone", "")), str(recipient.get("locale", "")))


def _round(value: Any, decimals: int = 0) -> float:
    return round(_number_of(value, "round"), max(0, min(decimals, formats.DECIMALS_MAX)))


@pass_environment
def _sum(environment: Environment, values: Any, attribute: str | int | None = None) -> float:
    total: float = 0
    for value in _of_each(environment, values, attribute):
        total += _number_of(value, "sum")
    return total


def _string(value: Any) -> Any:
    return value if isinstance(value, str) else str(shown(value))


@pass_eval_context
def _join(eval_context: Any, values: Any, separator: str = "", attribute: str | int | None = None) -> str:
    parts = [shown(value) for value in _of_each(eval_context.environment, values, attribute)]
    if sum(len(str(part)) for part in parts) + len(separator) * len(parts) > OUTPUT_BYTES_MAX:
        too_long()
    return bounded_text(do_join(eval_context, parts, separator))


@pass_eval_context
def _replace(eval_context: Any, text: Any, old: str, new: str, count: int | None = None) -> str:
    text, old, new = (str(shown(value)) if not isinstance(value, str) else value for value in (text, old, new))
    if len(text) + (text.count(old) if old else len(text) + 1) * len(new) > OUTPUT_BYTES_MAX:
        too_long()
    return bounded_text(do_replace(eval_context, text, old, new, count))


def _indent(value: Any, width: int = 4, first: bool = False) -> str:
    text: str = _string(value)
    lines, blank = text.split("\n"), " " * max(0, min(width, INDENT_MAX))
    if len(text) + len(lines) * len(blank) > OUTPUT_BYTES_MAX:
        too_long()
    written = f"\n{blank}".join(lines)
    return type(text)(f"{blank}{written}" if first else written)


def _urlencode(value: Any) -> str:
    return bounded_text(url_quote(str(shown(value)), for_qs=True))


def _tojson(value: Any) -> str:
    if isinstance(value, Undefined):
        str(value)
    return bounded_text(htmlsafe_json_dumps(value))


_OF_JINJA: Mapping[str, Any] = jinja_filters.FILTERS
_TESTS_OF_JINJA: Mapping[str, Any] = jinja_tests.TESTS
FILTERS: Mapping[str, Callable[..., Any]] = {
    **{name: _OF_JINJA[name] for name in _TAKEN},
    "bytes": _bytes,
    "duration": _duration,
    "figure": _figure,
    "indent": _indent,
    "join": _join,
    "localtime": _localtime,
    "money": _money,
    "number": _number,
    "percent": _percent,
    "replace": _replace,
    "round": _round,
    "string": _string,
    "sum": _sum,
    "tojson": _tojson,
    "urlencode": _urlencode,
}
TESTS: Mapping[str, Callable[..., Any]] = {name: _TESTS_OF_JINJA[name] for name in _TESTS_TAKEN}
