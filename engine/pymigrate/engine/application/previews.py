"""Dry runs: who would get what for an event, when, and why, or why not. The same routing and timing as for what happens, over what is
stored now; nothing is sent and nothing is stored."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from pymigrate.engine.application.contents import Contents
from pymigrate.engine.application.delivery_messages import delivery_message
from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.event_types import event_type_problems
from pymigrate.engine.application.notice_sources import Notice
from pymigrate.engine.application.occurrences import Occurrences
from pymigrate.engine.application.telling import learn_lately, look_up
from pymigrate.engine.domain.audience import Reached
from pymigrate.engine.domain.delivery import Content, Delivery, DeliveryState
from pymigrate.engine.domain.duplicates import ToldLately
from pymigrate.engine.domain.errors import InvalidDefinition, NotFound, Problem
from pymigrate.engine.domain.gathering import Gathering
from pymigrate.engine.domain.names import matches
from pymigrate.engine.domain.notices import Occurrence
from pymigrate.engine.domain.parcels import Parcel, Parcels, overflow_thread
from pymigrate.engine.domain.routing import Routes
from pymigrate.engine.domain.threads import ThreadKind
from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import notification_pb2

# Whose texts are shown; the others' read alike.
TEXTS_MAX = 200
SECONDS_MAX = 253_402_300_799  # the last second of the year 9999
_WAITS = {
    ThreadKind.GROUP: "It waits for others of its group.",
    ThreadKind.DIGEST: "It waits for the rule's digest.",
    ThreadKind.QUIET: "It waits for the end of quiet hours, with whatever else comes in them.",
}


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one address would get."""

    delivery: Delivery
    because: tuple[str, ...]
    occurrences: tuple[Occurrence, ...]


class Previews:
    """Makes dry runs."""

    def __init__(
        self, store: Store, directories: Directories, occurrences: Occurrences, contents: Contents, clock: Clock
    ) -> None:
        self._store = store
        self._directories = directories
        self._occurrences = occurrences
        self._contents = contents
        self._clock = clock

    async def preview(
        self, environment: str, event: notification_pb2.NotificationEvent
    ) -> notification_pb2.PreviewNotificationsResponse:
        """What would come of the event. Raises InvalidDefinition for one that can't happen, and NotFound for the environment."""
        if problems := tuple(_problems(environment, event)):
            raise InvalidDefinition(problems)
        now = self._clock.now()
        outcomes, steps = await self._store.read(lambda unit: self._route(unit, environment, event, now))
        told = [each for each in outcomes if each.delivery.state is DeliveryState.WAITING][:TEXTS_MAX]
        contents = await self._contents.of([Notice(each.delivery, each.occurrences) for each in told]) if told else []
        for each, content in zip(told, contents, strict=True):
            each.delivery.content = content
        answer = notification_pb2.PreviewNotificationsResponse(steps=steps)
        for each in outcomes:
            shown = answer.deliveries.add(because=each.because, body=each.delivery.content.body)
            shown.delivery.CopyFrom(delivery_message(each.delivery, _ids(each), has_body=False))
        if len(told) == TEXTS_MAX:
            answer.steps.append(f"The texts of the first {TEXTS_MAX} are shown.")
        return answer

    def _route(
        self, unit: Unit, environment: str, event: notification_pb2.NotificationEvent, now: datetime
    ) -> tuple[list[_Outcome], list[str]]:
        if unit.resources.get(environment) is None:
            raise NotFound(f"there is no {environment}", field="parent")
        directory = self._directories.of(unit, environment)
        occurrence = self._occurrences.described(unit, environment, event, now)
        routes, lately, numbers = Routes(directory, now), ToldLately(), count(1)
        learn_lately(unit, self._occurrences, directory, lately, now)
        parcels = Parcels(routes, lately, now)
        parcels.add(occurrence)
        known = look_up(unit, directory, parcels)
        was = {each.name: each.entry_count for each in known.newest.values()}
        gathered = Gathering(parcels, known, lambda: f"preview-{next(numbers)}").gather()
        found = []
        told: dict[tuple[int, ...], tuple[Occurrence, ...]] = {}
        for parcel, reached, delivery in gathered.outcomes:
            delivery.content = Content()
            entries = tuple(delivery.entries)
            if entries not in told:
                before = self._occurrences.of(unit, unit.feed.get(entries)) if entries else []
                told[entries] = (*before, occurrence)
            because = (*reached.because, *_timing(parcels, parcel, reached, delivery, was.get(delivery.name, 0)))
            found.append(_Outcome(delivery, because, told[entries]))
        found.sort(key=lambda each: (each.delivery.stakeholder, each.delivery.address, each.delivery.rule))
        steps = [*routes.route(occurrence, now).steps, *_repeated(unit, gathered.repeated)]
        return found, steps


def _timing(parcels: Parcels, parcel: Parcel, reached: Reached, delivery: Delivery, before: int) -> Iterator[str]:
    """Why it comes when it comes, each as a sentence."""
    failure = parcel.failure(reached)
    if failure is not None:
        if parcel.silence is not None and reached.is_told:
            yield f"{failure.message[:1].upper()}{failure.message[1:]}."
        return
    if before:
        yield f"It is added to a message that waits already, with {before} {'events' if before > 1 else 'event'} in it."
    if delivery.thread == overflow_thread(parcel.rule, reached):
        most = parcel.rule.messages_per_hour_max
        messages = "message" if most == 1 else "messages"
        yield f"The rule may tell them {most} {messages} an hour, and has: it waits until one more is allowed."
    elif delivery.due_time > parcels.now and (waits := _WAITS.get(parcels.kind(parcel, reached))) is not None:
        yield waits
    if delivery.due_time > parcels.now:
        yield f"It is due at {delivery.due_time.isoformat()}."
    else:
        yield "It is due at once."


def _repeated(unit: Unit, repeated: dict[str, int]) -> Iterator[str]:
    for delivery in unit.deliveries.get_all(repeated.keys()) if repeated else ():
        yield f"Rule {delivery.rule} has told {delivery.stakeholder} the same: it is counted with {delivery.name}, and not told again."


def _ids(outcome: _Outcome) -> dict[int, str]:
    return {occurrence.entry: occurrence.id for occurrence in outcome.occurrences}


def _problems(environment: str, event: notification_pb2.NotificationEvent) -> Iterator[Problem]:
    if not event.type:
        yield Problem("event.type", "is required: name a type of event, such as `phase.failed`")
    elif event.type.endswith("*"):
        yield Problem("event.type", "must be one type, such as `phase.failed`")
    else:
        yield from event_type_problems("event.type", [event.type])
    if event.severity not in notification_pb2.Severity.values():
        yield Problem(
            "event.severity", f"{event.severity} is no severity: use `info`, `warning`, `error` or `critical`"
        )
    if event.HasField("time") and not 0 <= event.time.seconds <= SECONDS_MAX:
        yield Problem("event.time", "must be a time from 1970 to 9999, or be left out for now")
    if event.run and not (
        matches(event.run, "environments", "plans", "runs") and event.run.startswith(f"{environment}/")
    ):
        yield Problem("event.run", f"must be a run of this environment, as {environment}/plans/warehouse/runs/r1")
    if event.subject and event.subject != environment and not event.subject.startswith(f"{environment}/"):
        yield Problem("event.subject", f"must lie in this environment, as {environment}/plans/warehouse")
