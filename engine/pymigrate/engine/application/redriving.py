"""What an operator asks of deliveries: that one which ended badly begins again, and that a channel is tried."""

import hashlib

from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.channel_addresses import address_problems
from pymigrate.engine.application.delivery_messages import delivery_messages
from pymigrate.engine.application.directories import Directories
from pymigrate.engine.application.notification_kinds import NOTIFICATION_CHANNELS
from pymigrate.engine.application.stale_writes import transact_again
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain import delivering
from pymigrate.engine.domain.delivery import Content, Delivery, DeliveryState
from pymigrate.engine.domain.errors import FailedPrecondition, InvalidDefinition, NotFound
from pymigrate.engine.domain.names import environment_of, last_segment, nearest
from pymigrate.engine.domain.notices import Severity
from pymigrate.engine.domain.readdressing import readdress
from pymigrate.engine.ports.store import AuditEntry, Store, Unit
from pymigrate.v1 import notification_pb2

SUBJECT = "A test of the channel {channel}"
BODY = """This message was asked for by {who}, to see whether it arrives.

Nothing has happened. The delivery {name} tells what came of it.
"""


class Redriving:
    """The use cases behind RedriveDelivery and TestNotificationChannel. `sending` wakes dispatchers, `freezing` whoever renders."""

    def __init__(
        self, store: Store, directories: Directories, surroundings: Surroundings, sending: WorkBell, freezing: WorkBell
    ) -> None:
        self._store = store
        self._directories = directories
        self._clock = surroundings.clock
        self._new_id = surroundings.new_id
        self._sending = sending
        self._freezing = freezing

    async def redrive(self, name: str, who: Caller) -> notification_pb2.NotificationDelivery:
        """Begins again, at the address that the recipient has now. Raises NotFound, IllegalTransition, and FailedPrecondition for one that
        has no address to go to."""
        now = self._clock.now()

        def work(unit: Unit) -> notification_pb2.NotificationDelivery:
            delivery = unit.deliveries.get(name)
            if delivery is None:
                raise NotFound(f"there is no {name}", field="name")
            delivering.redrive(delivery, now)
            if delivery.channel and (failure := readdress(delivery, self._directories.of(unit, delivery.environment))):
                raise FailedPrecondition(f"{failure.message}: {name} has nowhere to go", field="name")
            if not delivery.channel:
                raise FailedPrecondition(
                    f"{name} has no address to go to: give {delivery.stakeholder or 'its rule somebody'} one, which holds from the next "
                    "event on",
                    field="name",
                )
            unit.deliveries.save([delivery])
            unit.audit.append(AuditEntry(now, who.principal, "redrive", name, 0))
            return delivery_messages(unit, [delivery])[0]

        answer = await transact_again(self._store, work)
        self._sending.ring()
        self._freezing.ring()
        return answer

    async def test(self, name: str, to: str, who: Caller) -> notification_pb2.NotificationDelivery:
        """Makes a delivery through a channel, to be sent at once. Raises NotFound, and InvalidDefinition for no such address."""
        now, new_id = self._clock.now(), self._new_id()

        def work(unit: Unit) -> notification_pb2.NotificationDelivery:
            resource = unit.resources.get(name)
            if resource is None or resource.kind != NOTIFICATION_CHANNELS.collection:
                known = unit.resources.names(NOTIFICATION_CHANNELS.collection, environment_of(name))
                raise NotFound(f"there is no {name}{nearest(name, known)}", field="name")
            if problems := tuple(address_problems("to", to, NOTIFICATION_CHANNELS.held(resource))):
                raise InvalidDefinition(problems)
            environment, channel = environment_of(name), last_segment(name)
            delivery_name = f"{environment}/deliveries/{new_id}"
            content = _content(delivery_name, channel, who)
            delivery = Delivery(
                name=delivery_name,
                environment=environment,
                state=DeliveryState.PENDING,
                rule="",
                stakeholder="",
                address="",
                channel=channel,
                to=to,
                thread=f"test/{new_id}",
                key=hashlib.sha256(f"test\0{delivery_name}".encode()).hexdigest(),
                severity=Severity.INFO,
                create_time=now,
                due_time=now,
                content=content,
                frozen_time=now,
                next_try_time=now,
            )
            unit.deliveries.insert([delivery])
            unit.audit.append(AuditEntry(now, who.principal, "test", name, resource.version))
            return delivery_messages(unit, [delivery])[0]

        answer = await self._store.transact(work)
        self._sending.ring()
        return answer


def _content(delivery: str, channel: str, who: Caller) -> Content:
    subject, body = SUBJECT.format(channel=channel), BODY.format(who=who.principal, name=delivery)
    return Content(subject, body, digest=hashlib.sha256(f"{subject}\0{body}\0".encode()).hexdigest())
