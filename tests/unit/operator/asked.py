"""An engine that is asked about definitions without a socket between: its own call, over a store in memory."""

from dataclasses import dataclass, field

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.application.access.authorizer import own_grants
from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.entrypoints.grpc.definitions import DefinitionCalls
from pymigrate.engine.entrypoints.identity import note_caller
from pymigrate.engine.entrypoints.operator.engine import Document, document_of, file_path
from pymigrate.engine.ports.rendering import Renderer
from pymigrate.v1.definition_pb2 import ApplyDefinitionsRequest, ApplyDefinitionsResponse, DefinitionFile
from tests.unit.application.gitops.applied import Scene, Spec, file

NO_RENDERER: Renderer = None  # type: ignore[assignment]  # no template is declared here


@dataclass
class AskedEngine:
    """`calls`: whether each was a check, and the files that were in it. `troubles` are raised by the next calls, and a file of `poison` by
    every call that holds it."""

    scene: Scene = field(default_factory=Scene)
    side: str = "kubernetes"
    calls: list[tuple[bool, list[str]]] = field(default_factory=list)
    troubles: list[Exception] = field(default_factory=list)
    poison: dict[str, PyMigrateError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._calls = DefinitionCalls(
            self.scene.store, self.scene.applying, Requests(SystemClock()), NO_RENDERER, own_grants
        )

    async def apply(self, *documents: Document) -> ApplyDefinitionsResponse:
        return await self._ask(documents, is_check=False)

    async def check(self, *documents: Document) -> ApplyDefinitionsResponse:
        return await self._ask(documents, is_check=True)

    async def _ask(self, documents: tuple[Document, ...], *, is_check: bool) -> ApplyDefinitionsResponse:
        self.calls.append((is_check, [file_path(each) for each in documents]))
        if self.troubles:
            raise self.troubles.pop(0)
        for each in documents:
            if file_path(each) in self.poison:
                raise self.poison[file_path(each)]
        note_caller(Caller("local", self.side))
        request = ApplyDefinitionsRequest(files=[_file(each) for each in documents], validate_only=is_check)
        return await self._calls.ApplyDefinitions(request, None)


def document(name: str, spec: Spec) -> Document:
    """A document of `word name` or `word environment/name`."""
    word, _, place = name.partition(" ")
    environment, _, object_name = place.rpartition("/")
    return document_of(word, environment, object_name, spec)


def _file(found: Document) -> DefinitionFile:
    metadata = found["metadata"]
    place = "/".join((*filter(None, (metadata.get("environment"),)), metadata["name"]))
    return DefinitionFile(path=file_path(found), content=file(f"{found['kind']} {place}", found["spec"]).content)
