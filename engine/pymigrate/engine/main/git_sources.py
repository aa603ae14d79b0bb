"""Git sources of one engine, wired to each other: what is fetched, what is made of it, and what is asked of sources."""

import asyncio
import random
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any

from pymigrate.engine.application.board import Board
from pymigrate.engine.application.caller import Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.gitops.applying import Applying
from pymigrate.engine.application.gitops.bells import Bells
from pymigrate.engine.application.gitops.definition_cache import DefinitionCache
from pymigrate.engine.application.gitops.pass_outcomes import Outcome, Wish
from pymigrate.engine.application.gitops.passes import Passes
from pymigrate.engine.application.gitops.promoting import Promoting
from pymigrate.engine.application.gitops.reversing import Reversing
from pymigrate.engine.application.gitops.run_starting import RunStarting
from pymigrate.engine.application.gitops.source_reading import SourceReading
from pymigrate.engine.application.gitops.source_secrets import SourceSecrets
from pymigrate.engine.application.gitops.sources import Sources, Wishes
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.application.runs import Runs
from pymigrate.engine.entrypoints.grpc.git_sources import GitSourceCalls
from pymigrate.engine.entrypoints.loops.git_sources import GitSourceLoop
from pymigrate.engine.main.git import build_repositories
from pymigrate.engine.main.secrets import build_readers
from pymigrate.engine.ports.metrics import Metrics
from pymigrate.engine.ports.redaction import Redactor
from pymigrate.engine.ports.store import Store
from pymigrate.engine.settings import Settings


class GitSources:
    """Built once for each engine, from the parts that it shares with the others."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        surroundings: Surroundings,
        catalog: Catalog,
        board: Board,
        runs: Runs,
        metrics: Metrics,
        redactor: Redactor,
    ) -> None:
        self._store, self._catalog = store, catalog
        self._readers = build_readers(redactor)
        self.bells: Bells[Outcome] = Bells()
        self.secrets = SourceSecrets(store, self._readers.held)
        repositories = build_repositories(settings.home, redactor)
        self.reading = SourceReading(repositories, self.secrets, DefinitionCache(), redactor.clean)
        self.applying = Applying(catalog, surroundings)
        starting = RunStarting(store, runs)
        self.passes = Passes(store, self.reading, self.applying, starting, surroundings.clock, redactor.clean)
        self._wishes = Wishes()
        self.reversing = Reversing(store, board, runs, surroundings.clock, self.bells.ring)
        self.passes.reverse_by(self.reversing.drafts)
        promoting = Promoting(
            store, catalog, self.reading, self.secrets, self.applying, surroundings.clock, self.bells.ring
        )
        self.sources = Sources(
            store, catalog, self.passes, self.bells, self._wishes, surroundings.clock, self.reversing, promoting
        )
        self._loop = GitSourceLoop(
            store, self.passes, self.bells, self._wishes, surroundings.clock, random.Random(), metrics
        )

    def servicers(self, requests: Requests) -> Mapping[str, Any]:
        """What is served, by the service's name."""
        return {"GitSourceService": GitSourceCalls(self._store, self._catalog, requests, self.sources, self.bells)}

    def pushed(self, name: str) -> None:
        """Asks for a pass of a source whose branch is told to have moved. Returns at once."""
        self._wishes.wish(name, Wish(is_pushed=True))
        self.bells.ring(name)

    async def restore(self) -> None:
        """Finds what an earlier engine left unfinished."""
        await self.reversing.restore()

    def loops(self) -> Iterator[Coroutine[Any, Any, None]]:
        """Passes, and what is undone for commits, each until it is cancelled."""
        yield self._loop.run()
        yield self.reversing.run_loop()

    async def close(self) -> None:
        """Gives the secret backends up."""
        await asyncio.to_thread(self._readers.close)
