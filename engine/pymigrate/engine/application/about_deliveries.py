"""Which deliveries tell of nothing but deliveries: what becomes of those makes no further entries, or one dead channel would tell of itself
for ever."""

from collections.abc import Collection

from pymigrate.engine.application.findings import OF_DELIVERIES
from pymigrate.engine.domain.delivery import Delivery
from pymigrate.engine.ports.store import Unit


def about_deliveries(unit: Unit, deliveries: Collection[Delivery]) -> set[str]:
    """The names of those that do."""
    wanted = {entry for delivery in deliveries for entry in delivery.entries}
    types = {entry.id: entry.type for entry in unit.feed.get(wanted)} if wanted else {}
    return {
        delivery.name
        for delivery in deliveries
        if (told := [types[entry] for entry in delivery.entries if entry in types])
        and all(each in OF_DELIVERIES for each in told)
    }
