"""pymigrate_silence."""

from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.v1 import notification_pb2


class SilenceResource(DeclaredResource):
    """What is not told for a while."""

    declaration = Declaration(
        "silence",
        "NotificationService",
        notification_pb2,
        parent="environment",
        required=("reason", "start_time", "end_time", "match.kpi.figure", "match.kpi.bound"),
    )
