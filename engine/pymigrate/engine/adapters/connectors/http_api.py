"""HTTP APIs that answer in JSON, as sources."""

import threading
from typing import TYPE_CHECKING

from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.ports.clock import BlockingClock
from pymigrate.engine.ports.connector import SystemSpec
from pymigrate.engine.ports.source import Source
from pymigrate.engine.ports.target import Target

if TYPE_CHECKING:
    from pymigrate.engine.adapters.connectors.http_pace import RequestPace


class HttpApiConnector:
    """APIs by `base_url`. All sources of one connection keep its rate together."""

    kind = "http"

    def __init__(self, clock: BlockingClock | None = None) -> None:
        self._clock = clock
        self._paces: dict[tuple[str, str, str], RequestPace] = {}
        self._adding = threading.Lock()

    def open_source(self, system: SystemSpec) -> Source:
        """Nothing is asked yet."""
        from pymigrate.engine.adapters.clock import ThreadClock
        from pymigrate.engine.adapters.connectors.http_client import HttpClient
        from pymigrate.engine.adapters.connectors.http_pace import RequestPace
        from pymigrate.engine.adapters.connectors.http_source import HttpSource

        with self._adding:
            clock = self._clock = self._clock or ThreadClock()
            rate = system.options.get("requests_per_second_max", "0")
            place = (system.name, system.options["base_url"], rate)
            pace = self._paces.setdefault(place, RequestPace(clock, float(rate)))
        return HttpSource(HttpClient(system, pace, clock))

    def open_target(self, system: SystemSpec) -> Target:
        """Raises FailedPrecondition: what an API does with what it is sent is its own affair."""
        raise FailedPrecondition(f"{system.name} is an HTTP API, which is a source only", field="target.connection")
