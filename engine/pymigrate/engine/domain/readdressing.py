"""Where a message goes that was made a while ago: to the place that its recipient has by now, or to nobody who is gone or paused since."""

from pymigrate.engine.domain.audience import NO_ADDRESS, PAUSED, UNKNOWN_STAKEHOLDER
from pymigrate.engine.domain.delivery import Delivery, DeliveryState
from pymigrate.engine.domain.notices import Directory
from pymigrate.engine.domain.run import Failure


def readdress(delivery: Delivery, directory: Directory) -> Failure | None:
    """Gives it the channel and the address that its recipient has declared now. Where there is neither any more, nothing changes, and this
    says why."""
    if not delivery.stakeholder:  # a test of a channel goes where somebody said
        return None
    someone = directory.stakeholders.get(delivery.stakeholder)
    if someone is None:
        return Failure(UNKNOWN_STAKEHOLDER, f"there is no stakeholder {delivery.stakeholder} any more")
    address = someone.addresses.get(delivery.address)
    if address is None:
        return Failure(NO_ADDRESS, f"{someone.id} has no address {delivery.address} any more")
    delivery.channel, delivery.to = address.channel, address.to
    return None


def hold_back(delivery: Delivery, directory: Directory) -> bool:
    """Whether a waiting one is not told after all: its recipient is gone, has no such address any more, or is paused. Else it goes to the
    address that they have now."""
    failure, state = readdress(delivery, directory), DeliveryState.UNDELIVERABLE
    someone = directory.stakeholders.get(delivery.stakeholder)
    if failure is None and someone is not None and someone.is_paused:
        failure, state = (
            Failure(PAUSED, f"{someone.id} is paused: they are told nothing for now"),
            DeliveryState.SUPPRESSED,
        )
    if failure is None:
        return False
    delivery.state, delivery.failure = state, failure
    return True
