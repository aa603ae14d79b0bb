"""What is told outside, to the receivers that the settings name."""

import random
from collections.abc import Callable

from pymigrate.engine.application.cloud_events import CloudEvents
from pymigrate.engine.application.lineage import Lineage
from pymigrate.engine.entrypoints.instruments import Instruments
from pymigrate.engine.entrypoints.loops.outgoing import Outgoing, measure_outgoing
from pymigrate.engine.ports.secrets import Secret, Secrets, parse_secret_ref
from pymigrate.engine.ports.store import Store
from pymigrate.engine.settings import Settings

LINEAGE = "lineage"
CLOUD_EVENTS = "cloud_events"


def build_outgoing(settings: Settings, store: Store, instruments: Instruments, secrets: Secrets) -> list[Outgoing]:
    """One loop for each receiver; none is the default, and then nothing of it is imported."""
    told = {
        LINEAGE: (settings.lineage_url, settings.lineage_token, Lineage(settings.instance).messages),
        CLOUD_EVENTS: (settings.events_url, settings.events_token, CloudEvents(settings.instance).messages),
    }
    named = {kind: each for kind, each in told.items() if each[0]}
    if not named:
        return []
    from pymigrate.engine.adapters.posts import HttpPosts

    metrics, clock = instruments.metrics, instruments.clock
    loops = {
        kind: Outgoing(kind, make, HttpPosts(url, _token(token, kind, secrets)), store, clock, metrics, random.Random())
        for kind, (url, token, make) in named.items()
    }
    measure_outgoing(metrics, loops)
    return list(loops.values())


def _token(reference: str, kind: str, secrets: Secrets) -> Callable[[], Secret] | None:
    """Reads the token whenever it is asked for: it may have been renewed since."""
    if not reference:
        return None
    ref = parse_secret_ref(reference, f"{kind}_token")
    return lambda: secrets.read(ref)
