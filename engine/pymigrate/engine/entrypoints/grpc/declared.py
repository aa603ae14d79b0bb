"""EnvironmentService, and what the services of declared objects share."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Generic, TypeVar

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from pymigrate.engine.application.access.authorizer import Authorizer, GrantsOf
from pymigrate.engine.application.access.readable import readable_environments
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.kind import Kind
from pymigrate.engine.application.kinds import DEPARTMENTS, ENVIRONMENTS
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.entrypoints.identity import caller
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import environment_pb2, environment_pb2_grpc

M = TypeVar("M", bound=Message)


Check = Callable[[Callable[[Unit], M]], Awaitable[Callable[[Unit], None]]]
"""What must be found out of a write before its transaction, as it takes longer than a transaction may. It is given what tells what would be
stored, without storing it, and raises InvalidDefinition. What it returns is called within the transaction, and raises StaleWrite where
what was looked at has changed since."""


class DeclaredCalls(Generic[M]):
    """The five calls of a kind of declared object, the same for each, read from the fields that AIP-131 to 135 prescribe."""

    def __init__(
        self, store: Store, catalog: Catalog, requests: Requests, kind: Kind[M], check: Check[M] | None = None
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._requests = requests
        self._kind = kind
        self._check = check

    async def create(self, request: Any) -> M:
        """Create."""
        who, kind = caller(), self._kind
        parent = getattr(request, "parent", "")
        object_id, message = getattr(request, f"{kind.noun}_id"), getattr(request, kind.noun)
        method = f"create {kind.collection}"

        def write(unit: Unit, *, is_dry: bool) -> M:
            made: M = self._catalog.create(unit, kind, parent, object_id, message, who, is_dry=is_dry)
            return made

        is_answered = await self._is_answered(method, request)
        checked = await self._checked(write) if not is_answered else None

        def work(unit: Unit) -> M:
            if checked is not None:
                checked(unit)
            return write(unit, is_dry=request.validate_only)

        return await self.once(method, request, work)

    async def once(self, method: str, request: Any, work: Callable[[Unit], M]) -> M:
        """Does the work in one transaction, once for each request id; a dry run keeps nothing."""

        def read(body: bytes) -> M:
            message = self._kind.message()
            message.ParseFromString(body)
            return message

        who = caller()
        return await self._store.transact(
            lambda unit: self._requests.once(unit, who, method, request, _request_id(request), read, work)
        )

    async def get(self, request: Any) -> M:
        """Get."""
        return await self._store.read(lambda unit: self._catalog.get(unit, self._kind, request.name))

    async def list(self, request: Any) -> tuple[list[M], str]:
        """List: the page and the token of the next one."""
        parent = getattr(request, "parent", "")
        return await self._store.read(
            lambda unit: self._catalog.list(unit, self._kind, parent, request.page_size, request.page_token)
        )

    async def update(self, request: Any) -> M:
        """Update."""
        who, kind = caller(), self._kind
        message, mask = getattr(request, kind.noun), request.update_mask

        def write(unit: Unit, *, is_dry: bool) -> M:
            changed: M = self._catalog.update(unit, kind, message, mask, who, is_dry=is_dry)
            return changed

        checked = await self._checked(write)

        def work(unit: Unit) -> M:
            if checked is not None:
                checked(unit)
            return write(unit, is_dry=request.validate_only)

        return await self._store.transact(work)

    async def delete(self, request: Any) -> Empty:
        """Delete."""
        who = caller()
        await self._store.transact(lambda unit: self._catalog.delete(unit, self._kind, request.name, request.etag, who))
        return Empty()

    async def _checked(self, write: Callable[..., M]) -> Callable[[Unit], None] | None:
        if self._check is None:
            return None
        return await self._check(partial(write, is_dry=True))

    async def _is_answered(self, method: str, request: Any) -> bool:
        """Whether the call was made before, so that there is nothing to look at again."""
        who, request_id = caller(), _request_id(request)
        if self._check is None or not request_id:
            return False
        return await self._store.read(lambda unit: self._requests.is_answered(unit, who, method, request_id))


def _request_id(request: Any) -> str:
    return "" if request.validate_only else request.request_id


class EnvironmentCalls(environment_pb2_grpc.EnvironmentServiceServicer):
    """EnvironmentService."""

    def __init__(self, store: Store, catalog: Catalog, requests: Requests, grants_of: GrantsOf) -> None:
        self._store = store
        self._catalog = catalog
        self._grants_of = grants_of
        self._environments = DeclaredCalls(store, catalog, requests, ENVIRONMENTS)
        self._departments = DeclaredCalls(store, catalog, requests, DEPARTMENTS)

    async def CreateEnvironment(self, request: Any, context: Any) -> environment_pb2.Environment:
        return await self._environments.create(request)

    async def GetEnvironment(self, request: Any, context: Any) -> environment_pb2.Environment:
        return await self._environments.get(request)

    async def ListEnvironments(self, request: Any, context: Any) -> environment_pb2.ListEnvironmentsResponse:
        who = caller()
        authorizer = Authorizer(who, self._grants_of(who))
        found, token = await self._store.read(
            lambda unit: readable_environments(unit, self._catalog, authorizer, request)
        )
        return environment_pb2.ListEnvironmentsResponse(environments=found, next_page_token=token)

    async def UpdateEnvironment(self, request: Any, context: Any) -> environment_pb2.Environment:
        return await self._environments.update(request)

    async def DeleteEnvironment(self, request: Any, context: Any) -> Empty:
        return await self._environments.delete(request)

    async def ResolveEnvironment(self, request: Any, context: Any) -> environment_pb2.ResolveEnvironmentResponse:
        return await self._store.read(lambda unit: self._catalog.resolve(unit, request))

    async def CreateDepartment(self, request: Any, context: Any) -> environment_pb2.Department:
        return await self._departments.create(request)

    async def GetDepartment(self, request: Any, context: Any) -> environment_pb2.Department:
        return await self._departments.get(request)

    async def ListDepartments(self, request: Any, context: Any) -> environment_pb2.ListDepartmentsResponse:
        found, token = await self._departments.list(request)
        return environment_pb2.ListDepartmentsResponse(departments=found, next_page_token=token)

    async def UpdateDepartment(self, request: Any, context: Any) -> environment_pb2.Department:
        return await self._departments.update(request)

    async def DeleteDepartment(self, request: Any, context: Any) -> Empty:
        return await self._departments.delete(request)
