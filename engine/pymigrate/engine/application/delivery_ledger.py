"""The ledger as it is read: who was told what, when, by which template, and what came back."""

from pymigrate.engine.application.acknowledging import AcknowledgeLinks
from pymigrate.engine.application.delivery_messages import delivery_messages
from pymigrate.engine.application.pages import page_limit
from pymigrate.engine.application.required_objects import require_parent
from pymigrate.engine.application.run_tokens import page_token_of, read_page_token
from pymigrate.engine.domain.delivery import DeliveryState
from pymigrate.engine.domain.errors import InvalidDefinition, NotFound, Problem
from pymigrate.engine.domain.names import environment_of, is_id, matches
from pymigrate.engine.ports.deliveries import DeliveryFilter
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import notification_pb2
from pymigrate.v1.shape import enum_word


class DeliveryLedger:
    """The use cases behind GetDelivery and ListDeliveries."""

    def __init__(self, store: Store, links: AcknowledgeLinks) -> None:
        self._store = store
        self._links = links

    async def get(self, name: str) -> notification_pb2.NotificationDelivery:
        """One delivery, with its text. Raises NotFound."""

        def work(unit: Unit) -> notification_pb2.NotificationDelivery:
            delivery = unit.deliveries.get(name)
            if delivery is None:
                raise self._not_found(unit, name)
            message = delivery_messages(unit, [delivery], has_body=True)[0]
            message.acknowledge_path = self._links.path(delivery)
            return message

        return await self._store.read(work)

    async def page(self, request: notification_pb2.ListDeliveriesRequest) -> notification_pb2.ListDeliveriesResponse:
        """A page of deliveries, the newest first. Raises NotFound for the environment, and InvalidDefinition."""
        size, before = page_limit(request.page_size), read_page_token(request.page_token, "ListDeliveries")
        only = _filter_of(request)

        def work(unit: Unit) -> notification_pb2.ListDeliveriesResponse:
            require_parent(unit, request.parent)
            found = unit.deliveries.list(only, before, size + 1)
            last = found[size - 1] if len(found) > size else None
            return notification_pb2.ListDeliveriesResponse(
                deliveries=delivery_messages(unit, found[:size]),
                next_page_token=page_token_of(last.create_time, last.name) if last is not None else "",
            )

        return await self._store.read(work)

    def _not_found(self, unit: Unit, name: str) -> NotFound:
        if not matches(name, "environments", "deliveries"):
            return NotFound(
                f"`{name}` is no delivery's name: write it as environments/prod/deliveries/d1", field="name"
            )
        require_parent(unit, environment_of(name))
        return NotFound(f"there is no {name}: ListDeliveries tells which there are", field="name")


def _filter_of(request: notification_pb2.ListDeliveriesRequest) -> DeliveryFilter:
    problems = [
        Problem(field, f"`{value}` is no last segment of a name")
        for field, value in (("stakeholder", request.stakeholder), ("rule", request.rule))
        if value and not is_id(value)
    ]
    if request.run and not matches(request.run, "environments", "plans", "runs"):
        problems.append(Problem("run", "is no run's name: write it as environments/prod/plans/warehouse/runs/r1"))
    states = notification_pb2.DeliveryState.DESCRIPTOR
    if request.state not in states.values_by_number:
        problems.append(Problem("state", f"{request.state} is no state of a delivery"))
    if not request.parent:
        problems.append(Problem("parent", "is required: name the environment, as environments/prod"))
    if problems:
        raise InvalidDefinition(tuple(problems))
    state = DeliveryState(enum_word(states, request.state)) if request.state else None
    return DeliveryFilter(request.parent, request.stakeholder, request.rule, state, request.run)
