"""DefinitionService."""

import asyncio
from collections.abc import Iterator
from typing import Any

from pymigrate.engine.application.access.authorizer import Authorizer, GrantsOf
from pymigrate.engine.application.access.declaring import require_changed, require_declared, require_scope
from pymigrate.engine.application.gitops.applying import Applied, Applying, Scope
from pymigrate.engine.application.gitops.definition import DefinitionsRead
from pymigrate.engine.application.gitops.envelopes import read_definitions
from pymigrate.engine.application.gitops.staged_templates import (
    WantedRendering,
    has_rendered,
    rendering_problems,
    require_rendered,
    wanted_renderings,
)
from pymigrate.engine.application.requests import Requests
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.names import ID_RULE, is_id
from pymigrate.engine.entrypoints.identity import SIDES, caller
from pymigrate.engine.ports.rendering import Renderer
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import definition_pb2 as pb
from pymigrate.v1 import definition_pb2_grpc

METHOD = "apply definitions"
PROBLEMS_RAISED_MAX = 200


class DefinitionCalls(definition_pb2_grpc.DefinitionServiceServicer):
    """DefinitionService."""

    def __init__(
        self, store: Store, applying: Applying, requests: Requests, renderer: Renderer, grants_of: GrantsOf
    ) -> None:
        self._store = store
        self._grants_of = grants_of
        self._applying = applying
        self._requests = requests
        self._renderer = renderer

    async def ApplyDefinitions(self, request: pb.ApplyDefinitionsRequest, context: Any) -> pb.ApplyDefinitionsResponse:
        who = caller()
        _refuse(list(_wrong(request)))
        scope = Scope(who.managed_by, request.environment, request.prune_policy, frozenset(request.taken_over_sides))
        read = await asyncio.to_thread(read_definitions, list(request.files), request.environment)
        authorizer = Authorizer(who, self._grants_of(who))
        require_scope(authorizer, scope)
        require_declared(authorizer, read.definitions)

        def staged(unit: Unit) -> Applied:
            applied = self._applying.stage(unit, read, who, scope)
            require_changed(authorizer, applied.changes)
            return applied

        def looked_at(unit: Unit) -> tuple[Applied, list[WantedRendering]]:
            applied = staged(unit)
            return applied, wanted_renderings(applied)

        if request.validate_only:
            applied, wanted = await self._store.read(looked_at)
            return _answer(applied, read, await self._rendered(wanted, read))
        rendered: list[WantedRendering] = []
        if has_rendered(read):
            _, rendered = await self._store.read(looked_at)
            _refuse_problems(await self._rendered(rendered, read))

        def work(unit: Unit) -> pb.ApplyDefinitionsResponse:
            applied = staged(unit)
            _refuse_problems(applied.problems)
            require_rendered(applied, rendered)
            applied.flush(unit)
            return _answer(applied, read, [])

        return await self._store.transact(
            lambda unit: self._requests.once(
                unit, who, METHOD, request, request.request_id, pb.ApplyDefinitionsResponse.FromString, work
            )
        )

    async def _rendered(self, wanted: list[WantedRendering], read: DefinitionsRead) -> list[pb.DefinitionProblem]:
        return await rendering_problems(wanted, read.definitions, self._renderer)


def _wrong(request: pb.ApplyDefinitionsRequest) -> Iterator[Problem]:
    """What is wrong with the request itself."""
    if request.environment and not is_id(request.environment):
        yield Problem("environment", f"`{request.environment[:100]}` is no name: use {ID_RULE}")
    if request.prune_policy == pb.PRUNE_POLICY_DELETE and not request.environment:
        yield Problem("prune_policy", "needs `environment`: what is deleted lies in one environment")
    for side in request.taken_over_sides:
        if side not in SIDES:
            yield Problem("taken_over_sides", f"`{side[:100]}` is not one of {', '.join(sorted(SIDES))}")


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise InvalidDefinition(tuple(problems))


def _refuse_problems(problems: list[pb.DefinitionProblem]) -> None:
    _refuse([Problem(_where(each), each.description) for each in problems[:PROBLEMS_RAISED_MAX]])


def _where(problem: pb.DefinitionProblem) -> str:
    """`file:line: path`, as far as it is known."""
    place = f"{problem.file}:{problem.line}" if problem.file and problem.line else problem.file
    return ": ".join(part for part in (place, problem.path or problem.name) if part) or "files"


def _answer(
    applied: Applied, read: DefinitionsRead, problems: list[pb.DefinitionProblem]
) -> pb.ApplyDefinitionsResponse:
    return pb.ApplyDefinitionsResponse(
        changes=applied.changes,
        problems=[*applied.problems, *problems],
        unchanged_count=applied.unchanged_count,
        skipped_count=read.skipped_count,
        plans=[each for each in applied.plans if each.plan_hash != each.plan_hash_before],
    )
