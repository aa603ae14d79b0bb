"""Deliveries that end without having been told, as entries of the stream: somebody may want to be told of that."""

from collections.abc import Iterable
from datetime import datetime

from pymigrate.engine.application.about_deliveries import about_deliveries
from pymigrate.engine.application.findings import DELIVERY_DEAD, DELIVERY_UNDELIVERABLE, Finding
from pymigrate.engine.domain import delivering
from pymigrate.engine.domain.delivery import Delivery, DeliveryState
from pymigrate.engine.domain.run_ledger import ENGINE
from pymigrate.engine.ports.store import AuditEntry, Unit


def tell_ended_badly(unit: Unit, deliveries: Iterable[Delivery], now: datetime) -> None:
    """One entry for each that is dead or undeliverable now. Tests of channels are told to whoever makes them, and to nobody else."""
    ended = [each for each in deliveries if each.state in delivering.ENDED_BADLY and each.rule]
    if not ended:
        return
    silent = about_deliveries(unit, ended)
    for delivery in ended:
        if delivery.name in silent:
            continue
        action = DELIVERY_DEAD if delivery.state is DeliveryState.DEAD else DELIVERY_UNDELIVERABLE
        why = delivery.failure.message if delivery.failure is not None else ""
        text = f"{delivery.stakeholder} was not told by {delivery.channel}: {why}"
        finding = Finding(delivery.rule, run=delivery.run, text=text)
        unit.audit.append(AuditEntry(now, ENGINE, action, delivery.name, 0, finding.detail()))
