"""pymigrate_notification_channel."""

from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.provider.formats import LINE, REFERENCE
from pymigrate.v1 import notification_pb2


class NotificationChannelResource(DeclaredResource):
    """A way out for messages. Another kind of channel is another object; what is secret is a reference."""

    declaration = Declaration(
        "notification_channel",
        "NotificationService",
        notification_pb2,
        parent="environment",
        kinds=tuple(
            field.name for field in notification_pb2.NotificationChannel.DESCRIPTOR.oneofs_by_name["system"].fields
        ),
        required=("smtp.host", "smtp.sender", "apprise.url", "plugin.kind"),
        checks={
            "smtp.sender": LINE,
            "smtp.reply_to": LINE,
            "smtp.password": REFERENCE,
            "webhook.signing_key": REFERENCE,
            "webhook.former_signing_key": REFERENCE,
            "webhook.secret_headers": REFERENCE,
            "apprise.url": REFERENCE,
        },
    )
