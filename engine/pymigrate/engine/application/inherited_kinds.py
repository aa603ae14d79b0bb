"""Which kinds of objects environments inherit, and what the checks of each look at beside the object itself."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pymigrate.engine.application.kind import Kind
from pymigrate.engine.application.kinds import CONNECTIONS, DEPARTMENTS, PHASES, PLANS
from pymigrate.engine.application.notification_kinds import (
    ALERT_RULES,
    NOTIFICATION_CHANNELS,
    NOTIFICATION_TEMPLATES,
    ON_CALL_SCHEDULES,
    STAKEHOLDERS,
)
from pymigrate.engine.application.secret_backend_kinds import SECRET_BACKENDS
from pymigrate.engine.domain.names import is_id

KEYS_KEPT_MAX = 100_000
INHERITED: Mapping[str, Kind[Any]] = {
    kind.collection: kind
    for kind in (
        SECRET_BACKENDS,
        CONNECTIONS,
        DEPARTMENTS,
        PLANS,
        PHASES,
        NOTIFICATION_CHANNELS,
        STAKEHOLDERS,
        ON_CALL_SCHEDULES,
        NOTIFICATION_TEMPLATES,
        ALERT_RULES,
    )
}
"""By their collections: no silences, which somebody sets for a time, and no runs. What lies below another comes after it."""

LOOKED_AT: Mapping[str, frozenset[str]] = {
    "connections": frozenset({"secretBackends"}),
    "departments": frozenset({"connections", "departments"}),
    "plans": frozenset({"departments", "plans"}),
    "phases": frozenset({"connections", "departments"}),
    "notificationChannels": frozenset({"stakeholders"}),
    "stakeholders": frozenset({"notificationChannels", "departments"}),
    "onCallSchedules": frozenset({"stakeholders"}),
    "alertRules": frozenset({"stakeholders", "onCallSchedules", "departments", "notificationTemplates", "alertRules"}),
}
"""The collections that an object's check looks at: what changed there may make it wrong."""


@lru_cache(KEYS_KEPT_MAX)
def collection_of(key: str) -> str:
    """The collection of an object by its name within its environment: `phases` of `plans/warehouse/phases/sales`. Empty for what is no such
    name of anything that is inherited."""
    parts = key.split("/")
    collections = parts[::2]
    is_nested = collections == ["plans", "phases"]
    if len(parts) != (4 if is_nested else 2) or not all(is_id(part) for part in parts[1::2]):
        return ""
    return collections[-1] if is_nested or (collections[0] in INHERITED and collections[0] != "phases") else ""
