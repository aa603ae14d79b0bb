"""What the store knows of a batch of occurrences before they are gathered, and what is stored of them afterwards, each in few calls
however many are told."""

from datetime import datetime, timedelta

from pymigrate.engine.application.findings import DELIVERY_UNDELIVERABLE, Finding
from pymigrate.engine.application.occurrences import Occurrences
from pymigrate.engine.domain.delivery import Delivery, DeliveryState
from pymigrate.engine.domain.duplicates import Lately, Sameness, ToldLately, sameness
from pymigrate.engine.domain.gathering import Gathered, Known
from pymigrate.engine.domain.notices import Directory, Rule
from pymigrate.engine.domain.parcels import Parcels, Place
from pymigrate.engine.domain.run_ledger import ENGINE
from pymigrate.engine.domain.timing import HOUR, LIMIT_STEPS
from pymigrate.engine.ports.deliveries import DeliveryFilter
from pymigrate.engine.ports.store import AuditEntry, Unit

LEDGER_PAGE = 500
LEDGER_READ_MAX = 5_000
# What waits, as for the end of quiet hours, is in the ledger since before what it tells last.
WAITING_MAX = timedelta(days=1)
UNTOLD = frozenset({DeliveryState.UNDELIVERABLE, DeliveryState.SUPPRESSED})


def look_up(unit: Unit, directory: Directory, parcels: Parcels) -> Known:
    """What is there already of what a batch may add to."""
    threads, incidents = parcels.threads(), parcels.incident_threads()
    counts: dict[tuple[str, Place], int] = {}
    free: dict[tuple[str, Place], datetime] = {}
    for rule, places in parcels.limited().items():
        most = directory.rules[rule].messages_per_hour_max
        _look_up_limit(unit, directory.environment, rule, most, places, parcels.now, counts, free)
    return Known(
        unit.deliveries.newest(threads) if threads else {},
        unit.incidents.open_of(incidents) if incidents else {},
        counts,
        free,
    )


def _look_up_limit(
    unit: Unit,
    environment: str,
    rule: str,
    most: int,
    places: dict[Place, int],
    now: datetime,
    counts: dict[tuple[str, Place], int],
    free: dict[tuple[str, Place], datetime],
) -> None:
    found = unit.deliveries.frozen_since(environment, rule, list(places), now - HOUR)
    counts.update({(rule, place): count for place, count in found.items()})
    crowded = {place for place, asked in places.items() if found.get(place, 0) + asked > most}
    for step in LIMIT_STEPS:
        if not crowded:
            return
        later = unit.deliveries.frozen_since(environment, rule, list(crowded), now - HOUR + step)
        # As soon as any of those that count has left the hour, one more is allowed.
        freed = {place for place in crowded if later.get(place, 0) < min(found.get(place, 0), most)}
        free.update({(rule, place): now + step for place in freed})
        crowded -= freed


def store(unit: Unit, gathered: Gathered, now: datetime) -> list[Delivery]:
    """Writes everything that came of a batch, and an entry of the stream for each delivery that can't reach anybody. Gives the deliveries
    that are new."""
    deliveries = list(gathered.deliveries.values())
    new, changed = [each for each in deliveries if not each.version], [each for each in deliveries if each.version]
    if new:
        unit.deliveries.insert(new)
    if gathered.repeated:
        for repeated in unit.deliveries.get_all(gathered.repeated.keys()):
            repeated.duplicates += gathered.repeated[repeated.name]
            changed.append(repeated)
    if changed:
        unit.deliveries.save(changed)
    incidents = gathered.incidents.values()
    opened, added = [each for each in incidents if not each.version], [each for each in incidents if each.version]
    if opened:
        unit.incidents.insert(opened)
    if added:
        unit.incidents.save(added)
    for delivery in gathered.undeliverable:
        if delivery.version:
            unit.audit.append(undeliverable_entry(delivery, now))
    return [each for each in new if each.version]


def undeliverable_entry(delivery: Delivery, now: datetime) -> AuditEntry:
    """What the stream says of a delivery that reaches nobody."""
    whom = f"{delivery.stakeholder} was not told" if delivery.stakeholder else "Nobody was told"
    why = f": {delivery.failure.message}" if delivery.failure is not None else ""
    by = f" by rule {delivery.rule}" if delivery.rule else ""
    finding = Finding(delivery.rule, run=delivery.run, text=f"{whom}{by}{why}.")
    return AuditEntry(now, ENGINE, DELIVERY_UNDELIVERABLE, delivery.name, 0, finding.detail())


def learn_lately(unit: Unit, occurrences: Occurrences, directory: Directory, lately: ToldLately, now: datetime) -> None:
    """Reads from the ledger what those rules have told of late that tell nothing twice, unless it is known. At most LEDGER_READ_MAX
    deliveries of each rule are read."""
    for rule in directory.rules.values():
        if rule.duplicate_seconds > 0 and not lately.is_learned(rule):
            lately.learn(rule, _told_lately(unit, occurrences, directory.environment, rule, now))


def _told_lately(
    unit: Unit, occurrences: Occurrences, environment: str, rule: Rule, now: datetime
) -> dict[Sameness, Lately]:
    since = now - timedelta(seconds=rule.duplicate_seconds) - WAITING_MAX
    names: dict[int, list[str]] = {}
    for delivery in _ledger(unit, environment, rule, since):
        for entry in delivery.entries if delivery.state not in UNTOLD else ():
            names.setdefault(entry, []).append(delivery.name)
    told = occurrences.of(unit, unit.feed.get(names)) if names else []
    # In the order of the stream: the last of those that are the same is the one that what follows is held against.
    return {sameness(rule, each): Lately(each.time, tuple(sorted(names[each.entry]))) for each in told}


def _ledger(unit: Unit, environment: str, rule: Rule, since: datetime) -> list[Delivery]:
    found: list[Delivery] = []
    before: tuple[datetime, str] | None = None
    while len(found) < LEDGER_READ_MAX:
        page = unit.deliveries.list(DeliveryFilter(environment, rule=rule.id), before, LEDGER_PAGE)
        found.extend(each for each in page if each.create_time >= since)
        if len(page) < LEDGER_PAGE or page[-1].create_time < since:
            break
        before = page[-1].create_time, page[-1].name
    return found
