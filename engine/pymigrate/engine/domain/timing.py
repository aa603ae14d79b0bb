"""When what is told is due: quiet hours and digests on the recipient's clock, waits and intervals of groups, and the hour's limit.

Nothing holds back what is critical but a group's wait and the limit of an hour.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo

from pymigrate.engine.domain.calendar import Calendar, WeeklyWindow
from pymigrate.engine.domain.delivery import Delivery, DeliveryState
from pymigrate.engine.domain.notices import Digest, Rule, Severity, Stakeholder

# What recurs weekly and has not ended by then does not end.
QUIET_DAYS_MAX = 8
QUIET_EDGES_MAX = 2_000
DIGEST_DAYS_MAX = 8
HOUR = timedelta(hours=1)
# How finely it is asked when an hour's limit lets the next message through.
LIMIT_STEPS = tuple(timedelta(minutes=minutes) for minutes in (10, 20, 30, 40, 50))


def is_held(severity: Severity) -> bool:
    """Whether quiet hours and digests hold back what is so grave."""
    return severity < Severity.CRITICAL


def quiet_until(windows: Sequence[WeeklyWindow], zone: tzinfo, moment: datetime) -> datetime | None:
    """The first moment from `moment` on that lies in none of the windows: `moment` itself outside of them, None where they never end."""
    if not windows:
        return moment
    quiet = Calendar(zone, tuple(windows))
    end = moment + timedelta(days=QUIET_DAYS_MAX)
    for _ in range(QUIET_EDGES_MAX):
        if not quiet.is_open(moment):
            return moment
        following = quiet.next_change(moment)
        if following is None or following > end:
            return None
        moment = following
    return None


def is_always_quiet(stakeholder: Stakeholder, now: datetime) -> bool:
    """Whether quiet hours leave no time of the week."""
    return quiet_until(stakeholder.quiet_hours, stakeholder.zone, now) is None


def digest_time(digest: Digest, zone: tzinfo, moment: datetime) -> datetime:
    """The first of the digest's times that is not before `moment`; `moment` itself for a digest without any."""
    today = moment.astimezone(zone).date()
    for offset in range(DIGEST_DAYS_MAX + 1):
        date = today + timedelta(days=offset)
        if digest.days and date.weekday() not in digest.days:
            continue
        moments = (datetime.combine(date, each, zone).astimezone(UTC) for each in digest.times)
        if (found := min((each for each in moments if each >= moment), default=None)) is not None:
            return found
    return moment


def group_time(rule: Rule, previous: Delivery | None, now: datetime) -> datetime:
    """When a message of a group is due that begins now: after the wait, and not sooner after the one before than the interval says."""
    due = now + timedelta(seconds=rule.group_wait_seconds)
    if previous is None or previous.state is DeliveryState.WAITING:
        return due
    told = previous.frozen_time or previous.due_time
    return max(due, told + timedelta(seconds=rule.group_interval_seconds))


def is_in_digest(rule: Rule, severity: Severity) -> bool:
    """Whether it waits for the rule's digest."""
    return rule.digest is not None and bool(rule.digest.times) and is_held(severity)
