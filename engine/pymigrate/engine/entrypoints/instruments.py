"""What the surfaces measure themselves with, and the page of it that they serve."""

from collections.abc import Callable
from dataclasses import dataclass

from pymigrate.engine.ports.clock import Clock
from pymigrate.engine.ports.metrics import Exposition, Metrics
from pymigrate.engine.ports.tracing import NoTracing, Tracing

NOWHERE = NoTracing()


@dataclass(frozen=True, slots=True)
class Instruments:
    """Given to a server, it times its calls; one of HTTP serves the page too. `tracing` is where the spans of calls and runs go,
    `clean` takes the secrets that the process knows of out of what it says."""

    metrics: Metrics
    exposition: Exposition
    clock: Clock
    tracing: Tracing = NOWHERE
    clean: Callable[[str], str] = str
