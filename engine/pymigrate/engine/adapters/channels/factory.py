"""Makes the channel that a message declares. One that can't be made is a channel all the same: each of its tries says why."""

import ssl
from collections.abc import Callable, Mapping

from pymigrate.engine.adapters.channels.addresses import OutgoingAddresses
from pymigrate.engine.domain.delivery import TryOutcome
from pymigrate.engine.domain.errors import PyMigrateError, SecretMissing
from pymigrate.engine.ports.channel import Channel, ChannelOptions, Letter, Sent
from pymigrate.engine.ports.secrets import Secret, Secrets, parse_secret_ref, reference_in
from pymigrate.v1 import notification_pb2 as pb

TRY_SECONDS_DEFAULT = 10.0
CONNECTIONS_DEFAULT = 5
SUBMISSION_PORT = 587
TLS_PORT = 465


class BrokenChannel:
    """What is used instead of a channel that can't be made."""

    def __init__(self, sent: Sent) -> None:
        self._sent = sent

    async def send(self, letter: Letter) -> Sent:
        """Why there is no channel."""
        return self._sent

    async def close(self) -> None:
        """Nothing is open."""


class PendingChannel:
    """A channel that lacks a secret: it is made as soon as a try finds the secret there."""

    def __init__(self, make: Callable[[], Channel]) -> None:
        self._make = make
        self._made: Channel | None = None

    async def send(self, letter: Letter) -> Sent:
        """Tries, or says which secret is missing."""
        if self._made is None:
            try:
                self._made = self._make()
            except SecretMissing as error:
                return Sent(TryOutcome.TRANSIENT, error.message)
            except PyMigrateError as error:
                self._made = BrokenChannel(Sent(TryOutcome.PERMANENT, error.message))
        return await self._made.send(letter)

    async def close(self) -> None:
        """Ends what is open."""
        if self._made is not None:
            await self._made.close()


def build_channel(
    declared: pb.NotificationChannel,
    secrets: Secrets,
    addresses: OutgoingAddresses,
    trust: ssl.SSLContext | None = None,
) -> Channel:
    """The channel, which opens nothing before its first try. `secrets` reads references where the dispatcher runs, `trust` says which
    certificates are taken: by default those of the system and of the public authorities. Never raises for what was declared."""
    try:
        return _channel(declared, secrets, addresses, trust)
    except SecretMissing:
        return PendingChannel(lambda: _channel(declared, secrets, addresses, trust))
    except PyMigrateError as error:
        return BrokenChannel(Sent(TryOutcome.PERMANENT, error.message))


def trusted() -> ssl.SSLContext:
    """The authorities of the system, and the public ones, of which a small image has none itself."""
    import httpx

    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context


def _channel(
    declared: pb.NotificationChannel, secrets: Secrets, addresses: OutgoingAddresses, trust: ssl.SSLContext | None
) -> Channel:
    """Each kind is imported when there is one of it."""
    seconds_max = declared.try_seconds_max or TRY_SECONDS_DEFAULT
    match declared.WhichOneof("system"):
        case "smtp":
            return _smtp(declared.smtp, secrets, addresses, trust or trusted(), seconds_max)
        case "webhook":
            return _webhook(declared.webhook, secrets, addresses, trust or trusted(), seconds_max)
        case "apprise":
            return _apprise(declared.apprise, secrets, addresses, seconds_max)
        case "plugin":
            return _plugin(declared.plugin, secrets, seconds_max)
        case None:
            # The engine may be newer than this dispatcher, and another one may know the kind.
            said = f"{declared.name}: is of a kind that this dispatcher does not know: use one as new as the engine"
            return BrokenChannel(Sent(TryOutcome.TRANSIENT, said))


def _smtp(
    smtp: pb.SmtpChannel, secrets: Secrets, addresses: OutgoingAddresses, trust: ssl.SSLContext, seconds_max: float
) -> Channel:
    from pymigrate.engine.adapters.channels.mail import mailbox
    from pymigrate.engine.adapters.channels.smtp import SmtpChannel
    from pymigrate.engine.adapters.channels.smtp_connections import MailServer, Security

    security = {pb.SMTP_SECURITY_TLS: Security.TLS, pb.SMTP_SECURITY_NONE: Security.NONE}.get(
        smtp.security, Security.STARTTLS
    )
    port = smtp.port or (TLS_PORT if security is Security.TLS else SUBMISSION_PORT)
    password = _reader(secrets, smtp.password, "smtp.password") if smtp.password else None
    return SmtpChannel(
        MailServer(smtp.host, port, security, smtp.username, password),
        mailbox(smtp.sender, "smtp.sender"),
        mailbox(smtp.reply_to, "smtp.reply_to") if smtp.reply_to else None,
        addresses,
        trust,
        smtp.connections_max or CONNECTIONS_DEFAULT,
        seconds_max,
    )


def _webhook(
    webhook: pb.WebhookChannel,
    secrets: Secrets,
    addresses: OutgoingAddresses,
    trust: ssl.SSLContext,
    seconds_max: float,
) -> Channel:
    from pymigrate.engine.adapters.channels.webhook import WebhookChannel, WebhookSecrets

    keys = [
        _reader(secrets, reference, f"webhook.{field}")
        for field, reference in (
            ("signing_key", webhook.signing_key),
            ("former_signing_key", webhook.former_signing_key),
        )
        if reference
    ]
    headers = {
        name: _reader(secrets, reference, f"webhook.secret_headers.{name}")
        for name, reference in sorted(webhook.secret_headers.items())
    }

    def read() -> WebhookSecrets:
        return WebhookSecrets(tuple(key() for key in keys), {name: value() for name, value in headers.items()})

    return WebhookChannel(webhook.url, read, addresses, trust, seconds_max)


def _apprise(apprise: pb.AppriseChannel, secrets: Secrets, addresses: OutgoingAddresses, seconds_max: float) -> Channel:
    from pymigrate.engine.adapters.channels.apprise import AppriseChannel

    return AppriseChannel(_reader(secrets, apprise.url, "apprise.url"), addresses, seconds_max)


def _plugin(plugin: pb.PluginChannel, secrets: Secrets, seconds_max: float) -> Channel:
    from pymigrate.engine.adapters.channels.plugins import plugin_channel

    hidden: Mapping[str, Secret] = {
        name: secrets.read(parse_secret_ref(value, f"plugin.options.{name}"))
        for name, value in plugin.options.items()
        if reference_in(value, secrets.schemes) is not None
    }
    plain = {name: value for name, value in plugin.options.items() if name not in hidden}
    return plugin_channel(plugin.kind, ChannelOptions(plain, hidden, seconds_max))


def _reader(secrets: Secrets, reference: str, field: str) -> Callable[[], Secret]:
    """Reads a reference anew whenever it is asked, since a secret is changed under its reference. Raises InvalidDefinition at once where it
    is none."""
    parsed = parse_secret_ref(reference, field)
    return lambda: secrets.read(parsed)
