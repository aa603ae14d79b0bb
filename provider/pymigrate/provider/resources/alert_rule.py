"""pymigrate_alert_rule."""

from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.provider.formats import DAY, TIME_OF_DAY
from pymigrate.provider.sdk.checks import at_least, one_of
from pymigrate.v1 import notification_pb2


class AlertRuleResource(DeclaredResource):
    """Which events are told to whom."""

    declaration = Declaration(
        "alert_rule",
        "NotificationService",
        notification_pb2,
        parent="environment",
        required=(
            "match.kpi.figure",
            "match.kpi.bound",
            "digest.times",
            "escalations.after_seconds",
            "escalations.recipients",
        ),
        checks={
            "group_by": one_of("plan", "run", "phase", "department", "type", "severity", "reason"),
            "confirm_state": one_of("accepted", "delivered", "acknowledged"),
            "digest.times": TIME_OF_DAY,
            "digest.days": DAY,
            "repeat_interval_seconds": at_least(60, or_zero=True),
            "escalations.after_seconds": at_least(60),
        },
    )
