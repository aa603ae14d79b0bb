"""The use cases of role bindings: written as declared objects are, and held by this engine before the answer."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from pymigrate.engine.application.access.authorizer import GrantsOf
from pymigrate.engine.application.access.bindings import Bindings
from pymigrate.engine.application.access.role_bindings import ROLE_BINDINGS, grant_message
from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.application.trying import tried
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import access_pb2

GROUPS_TOLD_MAX = 200
Answer = TypeVar("Answer", bound=Message)


class RoleBindingWrites:
    """Creates, changes and deletes role bindings, and tells them. A dry one checks everything and keeps nothing."""

    def __init__(self, store: Store, catalog: Catalog, requests: Requests, bindings: Bindings) -> None:
        self._store = store
        self._catalog = catalog
        self._requests = requests
        self._bindings = bindings

    async def create(self, request: access_pb2.CreateRoleBindingRequest, who: Caller) -> access_pb2.RoleBinding:
        """Raises InvalidDefinition and AlreadyExists."""

        def work(unit: Unit) -> access_pb2.RoleBinding:
            return self._catalog.create(
                unit,
                ROLE_BINDINGS,
                "",
                request.role_binding_id,
                request.role_binding,
                who,
                is_dry=request.validate_only,
            )

        return await self._once(who, "create roleBindings", request, access_pb2.RoleBinding.FromString, work)

    async def update(self, request: access_pb2.UpdateRoleBindingRequest, who: Caller) -> access_pb2.RoleBinding:
        """Raises InvalidDefinition, NotFound, StaleWrite and NotOwned."""

        def work(unit: Unit) -> access_pb2.RoleBinding:
            return self._catalog.update(
                unit, ROLE_BINDINGS, request.role_binding, request.update_mask, who, is_dry=request.validate_only
            )

        return await self._once(who, "update roleBindings", request, access_pb2.RoleBinding.FromString, work)

    async def delete(self, request: access_pb2.DeleteRoleBindingRequest, who: Caller) -> Empty:
        """Raises NotFound, StaleWrite and NotOwned."""

        def work(unit: Unit) -> Empty:
            written = tried(unit) if request.validate_only else unit
            self._catalog.delete(written, ROLE_BINDINGS, request.name, request.etag, who)
            return Empty()

        return await self._once(who, "delete roleBindings", request, Empty.FromString, work)

    async def get(self, name: str) -> access_pb2.RoleBinding:
        """Raises NotFound."""
        return await self._store.read(lambda unit: self._catalog.get(unit, ROLE_BINDINGS, name))

    async def page(self, page_size: int, page_token: str) -> tuple[list[access_pb2.RoleBinding], str]:
        """A page ordered by name, and the token of the next one."""
        return await self._store.read(lambda unit: self._catalog.list(unit, ROLE_BINDINGS, "", page_size, page_token))

    async def _once(
        self,
        who: Caller,
        method: str,
        request: Message,
        read: Callable[[bytes], Answer],
        work: Callable[[Unit], Answer],
    ) -> Answer:
        is_dry: bool = getattr(request, "validate_only", False)
        request_id: str = "" if is_dry else getattr(request, "request_id", "")
        answer = await self._store.transact(
            lambda unit: self._requests.once(unit, who, method, request, request_id, read, work)
        )
        if not is_dry:
            await self._bindings.refresh()
        return answer


def caller_info(who: Caller, grants_of: GrantsOf) -> access_pb2.CallerInfo:
    """Who calls, and what that principal may do."""
    grants: Sequence[access_pb2.Grant] = [grant_message(grant) for grant in grants_of(who)]
    return access_pb2.CallerInfo(principal=who.principal, groups=sorted(who.groups)[:GROUPS_TOLD_MAX], grants=grants)
