"""pymigrate_stakeholder."""

from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.provider.formats import DAY, LINE, TIME_OF_DAY
from pymigrate.v1 import notification_pb2


class StakeholderResource(DeclaredResource):
    """Somebody who is told: a person or a team, with where they are reached and when they are not."""

    declaration = Declaration(
        "stakeholder",
        "NotificationService",
        notification_pb2,
        parent="environment",
        required=("addresses.channel", "quiet_hours.start", "quiet_hours.end"),
        checks={
            "display_name": LINE,
            "addresses.to": LINE,
            "quiet_hours.start": TIME_OF_DAY,
            "quiet_hours.end": TIME_OF_DAY,
            "quiet_hours.days": DAY,
        },
    )
