"""Deliveries and how notifications fare, as tables for a terminal."""

from collections.abc import Iterable, Iterator, Sequence
from unicodedata import category

from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table
from rich.text import Text

from pymigrate.engine.entrypoints.cli.spelling import spell_moment, spell_span
from pymigrate.v1 import notification_pb2
from pymigrate.v1.shape import enum_word

_STATES = notification_pb2.DeliveryState.DESCRIPTOR
_SEVERITIES = notification_pb2.Severity.DESCRIPTOR
# The states in the order in which a delivery passes through them.
STATES = tuple(enum_word(_STATES, value.number) for value in _STATES.values if value.number)


def deliveries_table(found: Sequence[notification_pb2.NotificationDelivery]) -> Table:
    """A delivery a line."""
    grid = _grid(("delivery", "made", "state", "severity", "stakeholder", "address", "rule", "tries", "subject"))
    for each in found:
        _add_row(
            grid,
            each.name.rpartition("/")[2],
            spell_moment(each.create_time),
            _state(each),
            enum_word(_SEVERITIES, each.severity) or "-",
            each.stakeholder or "-",
            f"{each.address or each.to} ({each.channel})" if each.channel else "-",
            each.rule or "-",
            str(len(each.tries)),
            each.subject or each.failure.message or "-",
        )
    return grid


def tries_table(found: notification_pb2.NotificationDelivery) -> Table:
    """A try a line."""
    grid = _grid(("try", "at", "took", "outcome", "answer", "dispatcher"))
    for at, each in enumerate(found.tries, 1):
        moment = spell_moment(each.time)
        _add_row(grid, str(at), moment, spell_span(each.seconds), each.outcome, each.answer or "-", each.dispatcher)
    return grid


def delivery_line(found: notification_pb2.NotificationDelivery) -> str:
    """A delivery on one line: where it stands, and why where there is a reason."""
    return f"{found.name} {_state(found)}" + (f": {shown(found.failure.message)}" if found.failure.message else "")


def delivery_lines(found: notification_pb2.NotificationDelivery) -> Iterator[str]:
    """A delivery with everything that there is to tell."""
    yield delivery_line(found)
    told: list[tuple[str, str]] = [
        (
            "to",
            f"{found.stakeholder or '-'}, {found.to or 'nowhere'}" + (f" by {found.channel}" if found.channel else ""),
        ),
        ("rule", found.rule),
        ("severity", enum_word(_SEVERITIES, found.severity)),
        ("events", f"{found.event_count:,}" + (f", and {found.duplicates:,} the same" if found.duplicates else "")),
        ("template", f"{found.template}, version {found.template_version}" if found.template else ""),
        ("key", found.key),
        ("due", _moment(found.due_time)),
        ("tried next", _moment(found.next_try_time)),
        ("accepted", _moment(found.accept_time)),
        ("delivered", _moment(found.deliver_time)),
        ("acknowledged", f"{_moment(found.acknowledge_time)} by {found.acknowledger}" if found.acknowledger else ""),
        ("confirm by", _moment(found.confirm_by_time)),
        ("came twice", "perhaps: the answer to a try was lost" if found.may_be_repeated else ""),
        ("subject", found.subject),
    ]
    yield from (f"  {title:<12} {shown(value)}" for title, value in told if value)
    if found.body:
        yield ""
        yield from (f"    {shown(line)}" for line in found.body.splitlines())


def preview_lines(found: notification_pb2.PreviewNotificationsResponse) -> Iterator[str]:
    """Who would get what, each with its reasons, after the rules that were tried."""
    yield from found.steps
    if not found.deliveries:
        yield "nobody would be told"
    for each in found.deliveries:
        delivery = each.delivery
        where = f"{delivery.to} by {delivery.channel}" if delivery.channel else "nowhere"
        yield ""
        yield f"{delivery.stakeholder or delivery.rule}: {_state(delivery)}, {where}, due {spell_moment(delivery.due_time)}"
        yield from (f"  - {reason}" for reason in each.because)
        if delivery.failure.message:
            yield f"  - not told: {shown(delivery.failure.message)}"
        if delivery.subject:
            yield f"  {shown(delivery.subject)}"
        yield from (f"    {shown(line)}" for line in each.body.splitlines())


def figures_table(found: notification_pb2.NotificationKpis) -> Table:
    """All of them, then each rule and each channel."""
    title = f"{found.name}, the oldest unsent is due since {spell_span(found.lag_seconds)}"
    grid = _grid(("of", "told", "agreed", "in time", "late", "share in time", "P50", "P90", "by state"), title)
    rows: Iterable[tuple[str, notification_pb2.NotificationFigures]] = (
        ("all", found.total),
        *((f"rule {name}", found.rules[name]) for name in sorted(found.rules)),
        *((f"channel {name}", found.channels[name]) for name in sorted(found.channels)),
    )
    for name, each in rows:
        quantiles = each.confirm_seconds
        is_known = each.HasField("confirm_seconds")
        _add_row(
            grid,
            name,
            f"{sum(each.deliveries.values()):,}",
            f"{each.agreed:,}",
            f"{each.confirmed_in_time:,}",
            f"{each.late:,}",
            f"{each.share_in_time:.1%}",
            spell_span(quantiles.p50) if is_known else "-",
            spell_span(quantiles.p90) if is_known else "-",
            ", ".join(f"{each.deliveries[state]:,} {state}" for state in STATES if each.deliveries.get(state)) or "-",
        )
    return grid


def _grid(columns: Iterable[str], title: str = "") -> Table:
    grid = Table(title=title or None, title_justify="left")
    numbers = {"tries", "told", "agreed", "in time", "late", "share in time", "P50", "P90", "took", "try"}
    for column in columns:
        # Names are typed again: what a terminal is too narrow for is cut elsewhere.
        grid.add_column(column, justify="right" if column in numbers else "left", no_wrap=column == "delivery")
    return grid


def _add_row(grid: Table, *cells: str) -> None:
    """Adds texts as they are: what others wrote is neither markup nor told to the terminal."""
    grid.add_row(*(Text(shown(cell)) for cell in cells))


def shown(text: str) -> str:
    """A line that somebody else wrote, with nothing in it that would steer a terminal."""
    return "".join("\N{REPLACEMENT CHARACTER}" if category(each) in {"Cc", "Cs"} else each for each in text)


def _state(found: notification_pb2.NotificationDelivery) -> str:
    return enum_word(_STATES, found.state) or "not said"


def _moment(moment: Timestamp) -> str:
    return spell_moment(moment) if moment.seconds else ""
