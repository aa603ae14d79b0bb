"""What is still to be told in an environment that is deleted: nothing of it goes out by a later one of the same name."""

from pymigrate.engine.domain import delivering
from pymigrate.engine.domain.run import Failure
from pymigrate.engine.ports.deliveries import DeliveryFilter
from pymigrate.engine.ports.store import Unit

PAGE = 500
ENVIRONMENT_DELETED = "ENVIRONMENT_DELETED"


def abandon_deliveries(unit: Unit, environment: str) -> None:
    """Ends every delivery of the environment that waits or is to be sent. The ledger keeps them, with the reason."""
    failure = Failure(ENVIRONMENT_DELETED, f"{environment} was deleted before it was told")
    for state in delivering.OPEN:
        while page := unit.deliveries.list(DeliveryFilter(environment, state=state), None, PAGE):
            found = unit.deliveries.get_all([each.name for each in page])
            for delivery in found:
                delivering.abandon(delivery, failure)
            unit.deliveries.save(found)
