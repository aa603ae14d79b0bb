"""pymigrate_on_call_schedule."""

from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.provider.formats import DAY, TIME_OF_DAY
from pymigrate.provider.sdk.checks import at_least
from pymigrate.v1 import notification_pb2


class OnCallScheduleResource(DeclaredResource):
    """Who is on duty when."""

    declaration = Declaration(
        "on_call_schedule",
        "NotificationService",
        notification_pb2,
        parent="environment",
        required=(
            "rotations.stakeholders",
            "rotations.start_time",
            "rotations.turn_days",
            "rotations.hours.start",
            "rotations.hours.end",
            "overrides.stakeholder",
            "overrides.start_time",
            "overrides.end_time",
        ),
        checks={
            "rotations.turn_days": at_least(1),
            "rotations.hours.start": TIME_OF_DAY,
            "rotations.hours.end": TIME_OF_DAY,
            "rotations.hours.days": DAY,
        },
    )
