"""GitSourceService."""

from typing import Any

from google.protobuf.empty_pb2 import Empty

from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.gitops.bells import Bells
from pymigrate.engine.application.gitops.git_source_kinds import GIT_SOURCES
from pymigrate.engine.application.gitops.pass_outcomes import Outcome
from pymigrate.engine.application.gitops.sources import Sources
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.entrypoints.grpc.declared import DeclaredCalls
from pymigrate.engine.entrypoints.identity import caller
from pymigrate.engine.ports.store import Store
from pymigrate.v1 import git_source_pb2 as pb
from pymigrate.v1 import git_source_pb2_grpc


class GitSourceCalls(git_source_pb2_grpc.GitSourceServiceServicer):
    """GitSourceService."""

    def __init__(
        self, store: Store, catalog: Catalog, requests: Requests, sources: Sources, bells: Bells[Outcome]
    ) -> None:
        self._declared = DeclaredCalls(store, catalog, requests, GIT_SOURCES)
        self._sources = sources
        self._bells = bells

    async def CreateGitSource(self, request: Any, context: Any) -> pb.GitSource:
        created = await self._declared.create(request)
        if not request.validate_only:
            self._bells.ring(created.name)
        return created

    async def GetGitSource(self, request: Any, context: Any) -> pb.GitSource:
        return await self._sources.with_status(await self._declared.get(request))

    async def ListGitSources(self, request: Any, context: Any) -> pb.ListGitSourcesResponse:
        found, token = await self._declared.list(request)
        return pb.ListGitSourcesResponse(git_sources=await self._sources.with_statuses(found), next_page_token=token)

    async def UpdateGitSource(self, request: Any, context: Any) -> pb.GitSource:
        updated = await self._declared.update(request)
        if not request.validate_only:
            self._bells.ring(updated.name)
        return await self._sources.with_status(updated)

    async def DeleteGitSource(self, request: Any, context: Any) -> Empty:
        await self._sources.delete(request.name, request.etag, caller())
        return Empty()

    async def SyncGitSource(self, request: Any, context: Any) -> pb.GitRevision:
        return await self._sources.sync(request.name, caller(), is_dry=request.validate_only)

    async def DiffGitSource(self, request: Any, context: Any) -> pb.GitRevision:
        return await self._sources.diff(request.name, request.reference)

    async def SuspendGitSource(self, request: Any, context: Any) -> pb.GitSource:
        return await self._sources.suspend(request.name, request.reason, caller())

    async def ResumeGitSource(self, request: Any, context: Any) -> pb.GitSource:
        return await self._sources.resume(request.name, caller())

    async def PromoteGitSource(self, request: Any, context: Any) -> pb.Promotion:
        return await self._sources.promote(request, caller())

    async def ApproveReversal(self, request: Any, context: Any) -> pb.GitSource:
        return await self._sources.approve_reversal(request, caller())

    async def ListGitRevisions(self, request: Any, context: Any) -> pb.ListGitRevisionsResponse:
        found, token = await self._sources.revisions(request.parent, request.page_size, request.page_token)
        return pb.ListGitRevisionsResponse(revisions=found, next_page_token=token)
