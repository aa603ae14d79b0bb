"""The ways in that the settings name: each recognises its own kind of credential."""

from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.application.access.service_tokens import ServiceTokens
from pymigrate.engine.application.caller import Surroundings, random_id
from pymigrate.engine.entrypoints.identity import Bearers
from pymigrate.engine.entrypoints.origins import Origins
from pymigrate.engine.ports.store import Store
from pymigrate.engine.settings import Settings


@dataclass(frozen=True, slots=True)
class WaysIn:
    """Who calls, as all surfaces ask it, and the tokens that are made here."""

    bearers: Bearers
    service_tokens: ServiceTokens

    def loops(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What they do on their own, each until it is cancelled."""
        yield from ()


def build_ways_in(settings: Settings, token: str, clock: SystemClock, store: Store) -> WaysIn:
    """The engine's token, what it made itself, and whoever else is to vouch for callers. Raises PyMigrateError for settings that can't
    hold."""
    service_tokens = ServiceTokens(store, Surroundings(clock, random_id))
    origins = Origins(settings.trusted_proxies_parts)
    return WaysIn(Bearers(token, clock, (service_tokens,), origins), service_tokens)
