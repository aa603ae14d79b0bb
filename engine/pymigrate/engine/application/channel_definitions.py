"""What may be declared of notification channels: what they speak, and how much they carry. Nothing is contacted and no secret is read."""

from collections.abc import Iterator
from importlib.metadata import entry_points

from pymigrate.engine.application.channel_addresses import (
    ADDRESS_MAX,
    host_problems,
    mailbox_problems,
    url_problems,
)
from pymigrate.engine.application.field_definitions import (
    DISPLAY_NAME_MAX,
    id_problems,
    length_problems,
    line_problems,
    number_problems,
    range_problems,
    text_problems,
)
from pymigrate.engine.application.file_definitions import option_problems
from pymigrate.engine.application.http_definitions import HEADERS_MAX, header_name_problems
from pymigrate.engine.application.references import secret_problems
from pymigrate.engine.domain.errors import Problem
from pymigrate.engine.domain.names import is_id, nearest
from pymigrate.v1 import notification_pb2

ENTRY_POINTS = "pymigrate.channels"
SYSTEMS = tuple(field.name for field in notification_pb2.NotificationChannel.DESCRIPTOR.oneofs_by_name["system"].fields)
OWN_KINDS = frozenset(SYSTEMS) - {"plugin"}
MESSAGES_PER_MINUTE_MAX = 1_000_000
DELIVERIES_MAX = 500
TRY_SECONDS_MIN = 0.1
TRY_SECONDS_MAX = 120.0
TRIES_MAX = 100
CONNECTIONS_MAX = 100
OPTION_MAX = 10_000
# What requests say of themselves: a receiver tells repetitions and forgeries by them.
_SET_BY_CHANNEL = frozenset(
    {"content-type", "user-agent", "idempotency-key", "webhook-id", "webhook-timestamp", "webhook-signature"}
)


def channel_problems(channel: notification_pb2.NotificationChannel) -> Iterator[Problem]:
    """Problems of a channel."""
    yield from text_problems(channel)
    yield from line_problems("display_name", channel.display_name, DISPLAY_NAME_MAX)
    yield from range_problems("messages_per_minute_max", channel.messages_per_minute_max, 0, MESSAGES_PER_MINUTE_MAX)
    yield from range_problems("deliveries_max", channel.deliveries_max, 0, DELIVERIES_MAX)
    yield from number_problems("try_seconds_max", channel.try_seconds_max, TRY_SECONDS_MIN, TRY_SECONDS_MAX, "10")
    yield from range_problems("tries_max", channel.tries_max, 0, TRIES_MAX)
    match channel.WhichOneof("system"):
        case "smtp":
            yield from _smtp(channel.smtp)
        case "webhook":
            yield from _webhook(channel.webhook)
        case "apprise":
            if not channel.apprise.url:
                yield Problem("apprise.url", "is required: refer to Apprise's URL, as env://SLACK_URL")
            yield from secret_problems("apprise.url", channel.apprise.url, "URL")
        case "plugin":
            yield from _plugin(channel.plugin)
        case _:
            yield Problem("system", f"say what it speaks: set one of {', '.join(SYSTEMS)}")


def plugin_kinds() -> frozenset[str]:
    """The kinds that other packages bring, as this installation has them."""
    return frozenset(entry_points(group=ENTRY_POINTS).names)


def _smtp(smtp: notification_pb2.SmtpChannel) -> Iterator[Problem]:
    yield from host_problems("smtp.host", smtp.host)
    yield from range_problems("smtp.port", smtp.port, 0, 65_535)
    if smtp.security not in notification_pb2.SmtpSecurity.values():
        yield Problem("smtp.security", f"{smtp.security} is none: use starttls, tls or none")
    yield from line_problems("smtp.username", smtp.username, ADDRESS_MAX)
    yield from secret_problems("smtp.password", smtp.password)
    if bool(smtp.username) != bool(smtp.password):
        given, missing = ("username", "password") if smtp.username else ("password", "username")
        yield Problem(f"smtp.{missing}", f"is required beside `{given}`: both log in together")
    yield from mailbox_problems("smtp.sender", smtp.sender)
    if smtp.reply_to:
        yield from mailbox_problems("smtp.reply_to", smtp.reply_to)
    yield from range_problems("smtp.connections_max", smtp.connections_max, 0, CONNECTIONS_MAX)


def _webhook(webhook: notification_pb2.WebhookChannel) -> Iterator[Problem]:
    if webhook.url:
        yield from url_problems("webhook.url", webhook.url)
    yield from secret_problems("webhook.signing_key", webhook.signing_key, "key")
    yield from secret_problems("webhook.former_signing_key", webhook.former_signing_key, "key")
    if webhook.former_signing_key and not webhook.signing_key:
        yield Problem("webhook.signing_key", "is required beside `former_signing_key`, which it takes the place of")
    if len(webhook.secret_headers) > HEADERS_MAX:
        yield Problem("webhook.secret_headers", f"has at most {HEADERS_MAX} entries")
    for name, reference in sorted(webhook.secret_headers.items()):
        path = f"webhook.secret_headers.{name}"
        yield from header_name_problems(path, name)
        if name.lower() in _SET_BY_CHANNEL:
            yield Problem(path, "is set by the channel itself")
        if not reference:
            yield Problem(path, "is required: refer to the value, as env://NAME")
        yield from secret_problems(path, reference, "value")


def _plugin(plugin: notification_pb2.PluginChannel) -> Iterator[Problem]:
    if plugin.kind in OWN_KINDS:
        yield Problem("plugin.kind", f"`{plugin.kind}` is one of PyMigrate's own: set `{plugin.kind}` itself")
    elif not is_id(plugin.kind):
        yield from id_problems("plugin.kind", plugin.kind)
    elif plugin.kind not in (known := plugin_kinds()):
        yield Problem(
            "plugin.kind",
            f"no installed package has a channel `{plugin.kind}`{nearest(plugin.kind, known)}: install one with an "
            f"entry point in `{ENTRY_POINTS}`",
        )
    yield from option_problems("plugin.options", plugin.options)
    for name, value in sorted(plugin.options.items()):
        yield from length_problems(f"plugin.options.{name}", value, OPTION_MAX)
