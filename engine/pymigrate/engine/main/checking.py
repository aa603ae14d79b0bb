"""Files of definitions checked without an engine: by the engine's own call, over a store in memory in which there is nothing yet."""

import asyncio
from collections.abc import Sequence

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.patterns import Re2Patterns
from pymigrate.engine.adapters.rendering.process import TemplateProcess
from pymigrate.engine.application.access.authorizer import own_grants
from pymigrate.engine.application.caller import Caller, Surroundings, random_id
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.gitops.applying import Applying
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.entrypoints.grpc.definitions import DefinitionCalls
from pymigrate.engine.entrypoints.identity import note_caller
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1.definition_pb2 import ApplyDefinitionsRequest, ApplyDefinitionsResponse, DefinitionFile


def check_files(files: Sequence[DefinitionFile], environment: str) -> ApplyDefinitionsResponse:
    """What an engine that stores nothing says of files."""
    return asyncio.run(_check(files, environment))


async def _check(files: Sequence[DefinitionFile], environment: str) -> ApplyDefinitionsResponse:
    clock = SystemClock()
    surroundings, renderer = Surroundings(clock, random_id, Re2Patterns()), TemplateProcess()
    calls = DefinitionCalls(
        MemoryStore(), Applying(Catalog(surroundings), surroundings), Requests(clock), renderer, own_grants
    )
    note_caller(Caller("local", "cli"))
    try:
        request = ApplyDefinitionsRequest(files=files, environment=environment, validate_only=True)
        return await calls.ApplyDefinitions(request, None)
    finally:
        await renderer.close()
