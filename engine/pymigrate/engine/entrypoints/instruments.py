"""What the surfaces measure themselves with, and the page of it that they serve."""

from dataclasses import dataclass

from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.metrics import Exposition, Metrics


@dataclass(frozen=True, slots=True)
class Instruments:
    """Given to a server, it times its calls; one of HTTP serves the page too."""

    metrics: Metrics
    exposition: Exposition
    clock: Clock
