"""An environment with notifications in it, as tests of them declare it."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format

from pymigrate.engine.application.kind import Kind
from pymigrate.engine.application.kinds import DEPARTMENTS, ENVIRONMENTS
from pymigrate.engine.application.notification_kinds import (
    ALERT_RULES,
    NOTIFICATION_CHANNELS,
    NOTIFICATION_TEMPLATES,
    ON_CALL_SCHEDULES,
    SILENCES,
    STAKEHOLDERS,
)
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import environment_pb2
from tests.unit.application.engines import ENVIRONMENT, ME, Engine

MAIL = {"smtp": {"host": "mail.example.com", "sender": "PyMigrate <migrations@example.com>"}}
HOOK = {"webhook": {"url": "https://hooks.example.com/pymigrate", "signingKey": "env://HOOK_KEY"}}
ANN = {
    "displayName": "Ann Meier",
    "roles": ["engineer", "owner"],
    "departments": ["sales"],
    "addresses": {"mail": {"channel": "mail", "to": "ann@example.com"}},
    "locale": "de-CH",
    "timeZone": "Europe/Zurich",
    "quietHours": {"night": {"start": "22:00", "end": "07:00", "days": ["mon", "tue"]}},
}
BOB = {"roles": ["executive"], "addresses": {"hook": {"channel": "hook", "severityMin": "SEVERITY_ERROR"}}}
FAILURES = {
    "match": {"types": ["phase.failed", "run.*"], "severityMin": "SEVERITY_WARNING"},
    "recipients": {"roles": ["engineer"], "onCallSchedules": ["nights"], "includesOwners": True},
    "template": "short",
    "escalations": [{"afterSeconds": 600, "recipients": {"stakeholders": ["bob"]}}],
}
LAG = {
    "parentRule": "failures",
    "match": {"kpi": {"figure": "lag_seconds", "isAbove": True, "bound": 60, "holdSeconds": 30}},
    "recipients": {"stakeholders": ["ann"]},
    "digest": {"times": ["08:00", "17:30"], "days": ["mon"]},
    "groupBy": ["plan", "type"],
    "confirmSecondsMax": 300,
    "confirmState": "DELIVERY_STATE_ACKNOWLEDGED",
}
SHORT = {"types": ["phase.*"], "texts": {"en": {"subject": "{{ event.type }}", "body": "{{ event.subject }}"}}}
NIGHTS = {
    "timeZone": "Europe/Zurich",
    "rotations": {
        "first": {
            "stakeholders": ["ann", "bob"],
            "startTime": "2026-01-05T08:00:00Z",
            "turnDays": 7,
            "hours": {"start": "18:00", "end": "08:00"},
        }
    },
    "overrides": {
        "easter": {"stakeholder": "bob", "startTime": "2026-04-03T00:00:00Z", "endTime": "2026-04-06T00:00:00Z"}
    },
}
FREEZE = {
    "reason": "the yearly freeze",
    "match": {"plans": ["warehouse*"]},
    "startTime": "2026-12-20T00:00:00Z",
    "endTime": "2027-01-04T00:00:00Z",
}
DECLARED: tuple[tuple[Kind[Any], str, Mapping[str, Any]], ...] = (
    (NOTIFICATION_CHANNELS, "mail", MAIL),
    (NOTIFICATION_CHANNELS, "hook", HOOK),
    (STAKEHOLDERS, "ann", ANN),
    (STAKEHOLDERS, "bob", BOB),
    (ON_CALL_SCHEDULES, "nights", NIGHTS),
    (NOTIFICATION_TEMPLATES, "short", SHORT),
    (ALERT_RULES, "failures", FAILURES),
    (ALERT_RULES, "lag", LAG),
    (SILENCES, "freeze", FREEZE),
)
"""One of each that there is to know, in the order in which they name one another."""


def read(kind: Kind[Any], document: Mapping[str, Any]) -> Any:
    """A message of a kind from its JSON."""
    return json_format.ParseDict(dict(document), kind.message())


def add(engine: Engine, unit: Unit, kind: Kind[Any], object_id: str, document: Mapping[str, Any]) -> Any:
    """Declares one object."""
    return engine.catalog.create(unit, kind, ENVIRONMENT, object_id, read(kind, document), ME)


async def declare_notices(engine: Engine) -> None:
    """An environment with the department sales, and everything in DECLARED."""

    def work(unit: Unit) -> None:
        engine.catalog.create(unit, ENVIRONMENTS, "", "e", environment_pb2.Environment(), ME)
        engine.catalog.create(unit, DEPARTMENTS, ENVIRONMENT, "sales", environment_pb2.Department(), ME)
        for kind, object_id, document in DECLARED:
            add(engine, unit, kind, object_id, document)

    await engine.store.transact(work)
