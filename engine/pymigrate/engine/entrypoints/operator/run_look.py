"""A pass over a custom resource Run under way: the resource, and what has been found of it so far."""

from dataclasses import dataclass

from pymigrate.engine.entrypoints.operator.objects import Key, uid_of
from pymigrate.engine.entrypoints.operator.run_steering import Situation
from pymigrate.engine.ports.cluster import Object
from pymigrate.v1.custom_resource_pb2 import RunStatus


@dataclass(slots=True)
class Look:
    """A pass under way: the resource, the fields of its status, its run's name, and what is known now."""

    key: Key
    found: Object
    before: RunStatus
    environment: str
    name: str
    seen: Situation
    again_seconds: float | None = None

    @property
    def uid(self) -> str:
        """Of the resource."""
        return uid_of(self.found)

    @property
    def plan(self) -> str:
        """The plan's resource name."""
        return f"environments/{self.environment}/plans/{self.seen.spec.plan}"

    def look_again(self, seconds: float | None) -> None:
        """Then at the latest."""
        times = [each for each in (seconds, self.again_seconds) if each is not None]
        self.again_seconds = min(times, default=None)
