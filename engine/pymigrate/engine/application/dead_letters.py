"""Deliveries that end without having been told, as entries of the stream: somebody may want to be told of that.

What itself only tells of deliveries makes no further entries, or one dead channel would tell of itself for ever.
"""

from collections.abc import Iterable
from datetime import datetime

from pymigrate.engine.application.findings import DELIVERY_DEAD, DELIVERY_UNDELIVERABLE, OF_DELIVERIES, Finding
from pymigrate.engine.domain import delivering
from pymigrate.engine.domain.delivery import Delivery, DeliveryState
from pymigrate.engine.domain.run_ledger import ENGINE
from pymigrate.engine.ports.store import AuditEntry, Unit


def tell_ended_badly(unit: Unit, deliveries: Iterable[Delivery], now: datetime) -> None:
    """One entry for each that is dead or undeliverable now. Tests of channels are told to whoever makes them, and to nobody else."""
    ended = [each for each in deliveries if each.state in delivering.ENDED_BADLY and each.rule]
    if not ended:
        return
    entries = unit.feed.get({entry for delivery in ended for entry in delivery.entries})
    types = {entry.id: entry.type for entry in entries}
    for delivery in ended:
        told = [types[entry] for entry in delivery.entries if entry in types]
        if told and all(each in OF_DELIVERIES for each in told):
            continue
        action = DELIVERY_DEAD if delivery.state is DeliveryState.DEAD else DELIVERY_UNDELIVERABLE
        why = delivery.failure.message if delivery.failure is not None else ""
        text = f"{delivery.stakeholder} was not told by {delivery.channel}: {why}"
        finding = Finding(delivery.rule, run=delivery.run, text=text)
        unit.audit.append(AuditEntry(now, ENGINE, action, delivery.name, 0, finding.detail()))
