"""What may be declared of stakeholders: who they are, where they are reached, and when they are left alone."""

import re
from collections.abc import Collection, Iterator, Mapping

from pymigrate.engine.application.channel_addresses import address_problems
from pymigrate.engine.application.field_definitions import (
    DISPLAY_NAME_MAX,
    id_problems,
    line_problems,
    names_problems,
    text_problems,
)
from pymigrate.engine.application.notification_definitions import (
    ROLES_MAX,
    known_problems,
    missing_problems,
    severity_problems,
)
from pymigrate.engine.application.schedules import window_problems, zone_problems
from pymigrate.engine.domain.errors import Problem
from pymigrate.v1 import notification_pb2

ADDRESSES_MAX = 16
QUIET_HOURS_MAX = 64
_LOCALE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,7}")


def stakeholder_problems(
    stakeholder: notification_pb2.Stakeholder,
    channels: Mapping[str, notification_pb2.NotificationChannel],
    departments: Collection[str],
) -> Iterator[Problem]:
    """Problems of a stakeholder within an environment that has these channels and departments."""
    yield from text_problems(stakeholder)
    yield from line_problems("display_name", stakeholder.display_name, DISPLAY_NAME_MAX)
    yield from names_problems("roles", stakeholder.roles, ROLES_MAX)
    yield from known_problems("departments", "department", stakeholder.departments, departments)
    yield from locale_problems("locale", stakeholder.locale)
    yield from zone_problems("time_zone", stakeholder.time_zone)
    if len(stakeholder.addresses) > ADDRESSES_MAX:
        yield Problem("addresses", f"has at most {ADDRESSES_MAX} entries")
    for name, address in sorted(stakeholder.addresses.items()):
        path = f"addresses.{name}"
        yield from id_problems(path, name)
        yield from severity_problems(f"{path}.severity_min", address.severity_min)
        yield from missing_problems(f"{path}.channel", "notification channel", address.channel, channels)
        if address.channel in channels:
            yield from address_problems(f"{path}.to", address.to, channels[address.channel])
    if len(stakeholder.quiet_hours) > QUIET_HOURS_MAX:
        yield Problem("quiet_hours", f"has at most {QUIET_HOURS_MAX} entries")
    for name, hours in sorted(stakeholder.quiet_hours.items()):
        yield from id_problems(f"quiet_hours.{name}", name)
        yield from window_problems(f"quiet_hours.{name}", hours)


def locale_problems(path: str, locale: str) -> Iterator[Problem]:
    """Problems of a language; empty means English."""
    if locale and not _LOCALE.fullmatch(locale):
        shown = f"`{locale}` is" if locale.isascii() and locale.isprintable() else "is"
        yield Problem(path, f"{shown} no language tag (BCP 47): write it as de-CH, or leave it empty for English")
