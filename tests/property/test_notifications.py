"""Who is told of what, under chance: nobody twice, nobody forgotten, and the same whether what happens comes one by one or in batches."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta

from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from pymigrate.engine.domain.audience import SAME_ADDRESS
from pymigrate.engine.domain.calendar import WeeklyWindow
from pymigrate.engine.domain.delivery import Delivery, DeliveryState
from pymigrate.engine.domain.gathering import Gathering
from pymigrate.engine.domain.notices import (
    Address,
    Digest,
    Directory,
    Escalation,
    EventMatch,
    Occurrence,
    Recipients,
    Rule,
    Severity,
    Silence,
    Stakeholder,
)
from pymigrate.engine.domain.routing import Audience, Routes
from pymigrate.engine.domain.run import Failure
from tests.unit.domain.ledger import Ledger
from tests.unit.domain.notified import FAILED, NOW, directory, occurrence

# The first world that shows what is wrong will do: it need not be the least.
FOUND_SOON = settings(max_examples=500, phases=[Phase.generate], derandomize=True, database=None)
ROLES = ("engineer", "owner", "boss")
DEPARTMENTS = ("retail", "finance")
TYPES = ("phase.failed", "phase.skipped", "run.failed")
PEOPLE = ("ann", "ben", "cem", "dan")
RULES = ("a", "b", "c", "d")
PLACES = ("one@example.com", "two@example.com", "three@example.com")

addresses = st.dictionaries(
    st.sampled_from(("x", "y")),
    st.builds(Address, st.sampled_from(("mail", "hook", "gone")), st.sampled_from(PLACES), st.sampled_from(Severity)),
)
quiet = st.sampled_from(((), (), (WeeklyWindow(time(11), time(13)),), (WeeklyWindow(time(0), time(0)),)))
people = st.builds(
    Stakeholder,
    st.just(""),
    st.just(""),
    roles=st.lists(st.sampled_from(ROLES), unique=True).map(tuple),
    departments=st.frozensets(st.sampled_from(DEPARTMENTS)),
    addresses=addresses,
    quiet_hours=quiet,
    is_paused=st.sampled_from((False, False, False, True)),
)
recipients = st.builds(
    Recipients,
    st.lists(st.sampled_from(ROLES), unique=True).map(tuple),
    st.lists(st.sampled_from((*PEOPLE, "gone")), unique=True, max_size=2).map(tuple),
    includes_owners=st.booleans(),
)
matches = st.builds(
    EventMatch,
    st.sampled_from(((), (), ("phase.*",), ("run.*", "phase.failed"))),
    st.sampled_from(Severity),
    departments=st.sampled_from(((), (), ("ret*",))),
)
rules = st.builds(
    Rule,
    st.just(""),
    st.just(""),
    matches,
    recipients,
    parent=st.sampled_from(("", "", *RULES)),
    order=st.integers(0, 2),
    continues=st.booleans(),
    group_by=st.sampled_from(((), ("run",), ("phase", "severity"), ("type",))),
    group_wait_seconds=st.sampled_from((0.0, 30.0)),
    digest=st.sampled_from((None, None, Digest((time(8), time(17))))),
    messages_per_hour_max=st.sampled_from((0, 0, 1, 3)),
    duplicate_seconds=st.sampled_from((0.0, 0.0, 3.0)),
    escalations=st.sampled_from(((), (Escalation(60.0, Recipients(roles=("boss",))),))),
    confirm_seconds_max=st.sampled_from((0.0, 60.0)),
    severity=st.sampled_from((None, None, *Severity)),
    is_paused=st.sampled_from((False, False, False, True)),
)
silences = st.builds(
    Silence,
    st.just(""),
    matches,
    st.just(NOW - timedelta(hours=1)),
    st.sampled_from((NOW, NOW + timedelta(hours=1))),
)
happened = st.tuples(
    st.sampled_from(TYPES),
    st.sampled_from(Severity),
    st.sampled_from(("", *DEPARTMENTS)),
    st.sampled_from(("sales", "books")),
    st.sampled_from((None, FAILED)),
)


Happened = tuple[str, Severity, str, str, Failure | None]


@dataclass(frozen=True)
class World:
    """What is declared, and what happens there."""

    directory: Directory
    occurrences: tuple[Occurrence, ...]


def world_of(
    everybody: Sequence[Stakeholder],
    ruled: Sequence[Rule],
    silent: Sequence[Silence],
    events: Sequence[Happened],
) -> World:
    named = [replace(each, id=name, uid=f"uid-{name}") for name, each in zip(PEOPLE, everybody, strict=False)]
    ruling = [replace(each, id=name, uid=f"uid-{name}") for name, each in zip(RULES, ruled, strict=False)]
    silencing = [replace(each, id=f"s{number}") for number, each in enumerate(silent)]
    told = [
        occurrence(kind, grave, entry, department=department, phase=phase, subject=phase, failure=failure)
        for entry, (kind, grave, department, phase, failure) in enumerate(events, start=1)
    ]
    return World(directory(named, ruling, silences=silencing), tuple(told))


worlds = st.builds(
    world_of,
    st.lists(people, min_size=1, max_size=len(PEOPLE)),
    st.lists(rules, min_size=1, max_size=len(RULES)),
    st.lists(silences, max_size=1),
    st.lists(happened, min_size=1, max_size=10),
)
Told = tuple[str, str, str, int]


def told_by(ledger: Ledger, *states: DeliveryState) -> "Counter[Told]":
    """Rule, stakeholder, address and entry of everything in the ledger that stands so."""
    return Counter(
        (each.rule, each.stakeholder, each.address, entry) for each in ledger.of(*states) for entry in each.entries
    )


def in_batches(world: World, sizes: Sequence[int], kind: type[Gathering] = Gathering) -> Ledger:
    ledger, left = Ledger(world.directory, gathering=kind), list(world.occurrences)
    for size in sizes:
        ledger.tell(NOW, *left[:size])
        left = left[size:]
    ledger.tell(NOW, *left)
    return ledger


def summed(ledger: Ledger) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """Everything in a ledger but the names that it happened to be given."""

    def delivery(each: Delivery) -> tuple[object, ...]:
        incident = ledger.incidents[each.incident].thread if each.incident else ""
        shape = replace(each, name="", incident=incident, version=0, create_time=NOW)
        return (each.key, repr(shape))

    incidents = [(each.thread, each.entries, str(each.next_time)) for each in ledger.incidents.values()]
    return sorted(map(delivery, ledger.deliveries.values())), sorted(incidents)


def doubles(world: World, kind: type[Routes] = Routes) -> list[tuple[object, ...]]:
    """What is told more than once by one rule at one place."""
    ledger = Ledger(world.directory, routes=kind)
    ledger.tell(NOW, *world.occurrences)
    told = Counter(
        (each.rule, each.channel, each.to, entry) for each in ledger.of(DeliveryState.WAITING) for entry in each.entries
    )
    return [place for place, times in told.items() if times > 1]


@given(worlds)
def test_nobody_is_told_twice_of_an_entry_by_one_rule_at_one_address(world: World) -> None:
    assert doubles(world) == []


@given(worlds)
def test_every_recipient_of_a_rule_that_tells_has_exactly_one_outcome(world: World) -> None:
    ledger, routes = Ledger(world.directory), Routes(world.directory, NOW)
    ledger.tell(NOW, *world.occurrences)
    expected, known = Counter[Told](), told_by(ledger)
    repeated = 0
    for each in world.occurrences:
        for told in routes.told(each, NOW):
            outcomes = [(told.rule.id, to.stakeholder, to.address, each.entry) for to in told.audience]
            if told.rule.duplicate_seconds and outcomes and outcomes[0] not in known:
                repeated += 1  # it is counted with another that is the same, and so for everybody
            else:
                expected.update(outcomes)
            assert outcomes
    assert known == expected
    assert (repeated > 0) == any(each.duplicates for each in ledger.of())
    assert all(each.entry_count == len(each.entries) for each in ledger.of())


@given(worlds)
def test_whoever_is_not_told_has_a_reason_and_whoever_is_has_none(world: World) -> None:
    ledger = Ledger(world.directory)
    ledger.tell(NOW, *world.occurrences)
    for each in ledger.of():
        assert (each.failure is None) is (each.state is DeliveryState.WAITING)
        assert each.state is not DeliveryState.WAITING or each.due_time >= NOW


@given(worlds, st.lists(st.integers(0, 4), max_size=6))
def test_batches_of_any_size_come_to_the_same_as_one_by_one(world: World, sizes: list[int]) -> None:
    assert summed(in_batches(world, sizes)) == summed(in_batches(world, [1] * len(world.occurrences)))


@given(worlds, st.randoms(use_true_random=False))
def test_the_order_within_a_batch_changes_nothing_of_who_is_told(world: World, rng: object) -> None:
    ruled = [replace(each, duplicate_seconds=0.0) for each in world.directory.rules.values()]
    found = replace(world.directory, rules={each.id: each for each in ruled})
    straight, shuffled = Ledger(found), Ledger(found)
    straight.tell(NOW, *world.occurrences)
    mixed = list(world.occurrences)
    rng.shuffle(mixed)  # type: ignore[attr-defined]
    shuffled.tell(NOW, *mixed)
    for states in ((), (DeliveryState.WAITING,)):
        assert told_by(straight, *states) == told_by(shuffled, *states)


@given(worlds, st.lists(st.integers(0, 5_000), min_size=10, max_size=10))
def test_an_hours_limit_holds_whenever_things_happen(world: World, pauses: list[int]) -> None:
    ledger, now = Ledger(world.directory), NOW
    for each, pause in zip(world.occurrences, pauses, strict=False):
        now += timedelta(seconds=pause)
        ledger.freeze(now)
        ledger.tell(now, replace(each, time=now))
        ledger.freeze(now)
    told: dict[tuple[str, str, str], list[datetime]] = {}
    for delivery in ledger.of(DeliveryState.PENDING):
        assert delivery.frozen_time is not None
        told.setdefault((delivery.rule, delivery.stakeholder, delivery.address), []).append(delivery.frozen_time)
    for (rule, _, _), times in told.items():
        most = world.directory.rules[rule].messages_per_hour_max
        times.sort()
        if most:
            assert all(b - a >= timedelta(hours=1) for a, b in zip(times, times[most:], strict=False))


class TellsEverybodyWhoShares(Routes):
    """Wrong: a shared address is told once for everybody who has it."""

    def audience(self, *args: object, **more: object) -> Audience:
        """As it were without the check."""
        found = super().audience(*args, **more)  # type: ignore[arg-type]  # passed on as it came
        return tuple(
            replace(each, state=DeliveryState.WAITING, failure=None)
            if each.failure is not None and each.failure.reason == SAME_ADDRESS
            else each
            for each in found
        )


class ForgetsWhatItMade(Gathering):
    """Wrong: what gathers is looked for among what was stored before alone."""

    def _waiting(self, thread: str) -> Delivery | None:
        found = super()._waiting(thread)
        return found if found is not None and found.version else None


def test_telling_a_shared_address_twice_would_be_noticed() -> None:
    found = find(worlds, lambda world: bool(doubles(world, TellsEverybodyWhoShares)), settings=FOUND_SOON)
    assert doubles(found) == []


def test_forgetting_what_the_batch_has_made_would_be_noticed() -> None:
    def differ(world: World) -> bool:
        alone = [1] * len(world.occurrences)
        return summed(in_batches(world, [], ForgetsWhatItMade)) != summed(in_batches(world, alone, ForgetsWhatItMade))

    found = find(worlds, differ, settings=FOUND_SOON)
    assert summed(in_batches(found, [])) == summed(in_batches(found, [1] * len(found.occurrences)))
