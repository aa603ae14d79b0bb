"""Documents that go to the engine together: those of one environment that come within a moment, or while a call is under way, share the
next one, since each call costs the engine a look at the whole environment. Each has the outcome that it would have alone."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol

import orjson
import structlog

from pymigrate.engine.application.clusters.election import LeadershipLost
from pymigrate.engine.domain.errors import EngineUnavailable, InvalidDefinition, PyMigrateError, StoreUnavailable
from pymigrate.engine.entrypoints.operator.engine import Document, file_path
from pymigrate.engine.entrypoints.operator.objects import engine_name
from pymigrate.engine.ports.clock import Clock
from pymigrate.v1.definition_pb2 import ApplyDefinitionsResponse, DefinitionProblem

log = structlog.get_logger(__name__)
GATHER_SECONDS = 0.005
DOCUMENTS_MAX = 250
BYTES_MAX = 4 * 1024 * 1024
FAILED_MAX = 10_000
"""Documents that are remembered to have failed; of those that failed longest ago it is forgotten first."""
OF_THE_DOCUMENT = frozenset({"yaml", "envelope", "shape", "secret"})
"""Rules whose problems a document has by itself, whatever else is declared."""
AWAY = (EngineUnavailable, StoreUnavailable, LeadershipLost)
"""What says nothing of any document."""


class AsksDefinitions(Protocol):
    """An engine that applies documents all together or not at all."""

    async def apply(self, *documents: Document) -> ApplyDefinitionsResponse:
        """Makes objects what documents say. Raises InvalidDefinition where any of them can't be."""
        ...

    async def check(self, *documents: Document) -> ApplyDefinitionsResponse:
        """What applying them would do, with every problem."""
        ...


class _Standing(Enum):
    """Documents that failed last go together apart from the others, which would pay for them again and again. What was refused among
    others, and may be for them, is asked about alone."""

    SOUND = "sound"
    FAILED = "failed"
    ALONE = "alone"


class _Lane(NamedTuple):
    """What goes together, a call at a time."""

    environment: str
    is_check: bool
    standing: _Standing


@dataclass(eq=False, frozen=True, slots=True)
class _Waiting:
    """A document, and who waits for what becomes of it."""

    path: str
    name: str
    document: Document
    bytes: int
    answer: "asyncio.Future[ApplyDefinitionsResponse]"


class DefinitionBatches:
    """At most DOCUMENTS_MAX documents and BYTES_MAX bytes a call, though always one. Nobody asks twice at once about one name."""

    def __init__(self, engine: AsksDefinitions, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._waiting: defaultdict[_Lane, deque[_Waiting]] = defaultdict(deque)
        self._working: dict[_Lane, asyncio.Task[None]] = {}
        self._failed: dict[str, None] = {}

    async def apply(self, environment: str, document: Document) -> ApplyDefinitionsResponse:
        """Makes one object what a document says, unless there are problems, which are told."""
        return await self._ask(environment, document, is_check=False)

    async def check(self, environment: str, document: Document) -> ApplyDefinitionsResponse:
        """What applying it would do, with every problem."""
        return await self._ask(environment, document, is_check=True)

    async def close(self) -> None:
        """Gives up what is under way."""
        working = list(self._working.values())
        for each in working:
            each.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        for lane in self._waiting.values():
            for left in lane:
                left.answer.cancel()
        self._waiting.clear()
        self._working.clear()  # one that had not begun yet could not take itself out

    async def _ask(self, environment: str, document: Document, *, is_check: bool) -> ApplyDefinitionsResponse:
        path = file_path(document)
        metadata = document["metadata"]
        name = engine_name(document["kind"], str(metadata.get("environment", "")), metadata["name"])
        answer: asyncio.Future[ApplyDefinitionsResponse] = asyncio.get_running_loop().create_future()
        standing = _Standing.FAILED if path in self._failed else _Standing.SOUND
        waiting = _Waiting(path, name, document, len(orjson.dumps(document)), answer)
        self._add(_Lane(environment, is_check, standing), waiting)
        return await answer

    def _add(self, lane: _Lane, waiting: _Waiting) -> None:
        self._waiting[lane].append(waiting)
        if lane not in self._working:
            self._working[lane] = asyncio.get_running_loop().create_task(self._work(lane))

    async def _work(self, lane: _Lane) -> None:
        """Until nothing waits."""
        try:
            if lane.standing is not _Standing.ALONE:
                await self._clock.sleep(GATHER_SECONDS)
            while batch := self._next(lane):
                await self._settle(lane, batch)
        finally:
            self._working.pop(lane, None)
            if not self._waiting[lane]:
                del self._waiting[lane]

    def _next(self, lane: _Lane) -> list[_Waiting]:
        """What goes into the next call; what nobody waits for any more does not."""
        waiting, size = self._waiting[lane], 0
        found: list[_Waiting] = []
        limit = 1 if lane.standing is _Standing.ALONE else DOCUMENTS_MAX
        while waiting and len(found) < limit and not (found and size + waiting[0].bytes > BYTES_MAX):
            each = waiting.popleft()
            if not each.answer.done():
                found.append(each)
                size += each.bytes
        return found

    async def _settle(self, lane: _Lane, batch: list[_Waiting]) -> None:
        """Asks until each has its answer, or is to be asked about alone. What is asked again is always less than before."""
        groups = [batch]
        try:
            while groups:
                groups += await self._told(lane, groups.pop())
        except Exception as defect:
            log.exception("batch.failed", environment=lane.environment, error=type(defect).__name__)
            _fail(batch, defect)
        except asyncio.CancelledError:
            for each in batch:
                each.answer.cancel()
            raise

    async def _told(self, lane: _Lane, group: list[_Waiting]) -> list[list[_Waiting]]:
        """Tells what became of a group; what of it is to be asked again, in groups."""
        try:
            answer = await self._answer(lane, group)
        except AWAY as error:
            _fail(group, error)
            return []
        except PyMigrateError as error:
            if len(group) > 1:
                return _halves(group)
            self._note(group[0], is_failed=True)
            _fail(group, error)
            return []
        if len(group) == 1:
            self._tell(group[0], answer)
            return []
        if not answer.problems:
            for each, part in zip(group, _parts(answer, group), strict=True):
                self._tell(each, part)
            return []
        return self._refused(lane, group, answer)

    async def _answer(self, lane: _Lane, group: Sequence[_Waiting]) -> ApplyDefinitionsResponse:
        documents = [each.document for each in group]
        if lane.is_check:
            return await self._engine.check(*documents)
        try:
            return await self._engine.apply(*documents)
        except InvalidDefinition as error:
            checked = await self._engine.check(*documents)
            if not checked.problems:  # it would be taken by now
                checked.problems.extend(
                    DefinitionProblem(path=each.field, description=each.description) for each in error.problems
                )
            return checked

    def _refused(self, lane: _Lane, group: list[_Waiting], answer: ApplyDefinitionsResponse) -> list[list[_Waiting]]:
        """Those with problems of their own have theirs, and the others are asked again without them, on which they may have leant: even
        what lacks something may fit only what is wrong, and not what the engine holds in its place."""
        found, is_whole = _problems(answer, group)
        if not found:
            return _halves(group)
        wrong = [each for each in found if not (is_whole and all(map(_is_its_own, found[each])))]
        told = [each for each in found if each not in wrong and not (wrong and any(map(_is_missing, found[each])))]
        for each in wrong:
            self._add(_Lane(lane.environment, lane.is_check, _Standing.ALONE), each)
        for each in told:
            self._tell(each, ApplyDefinitionsResponse(problems=found[each]))
        left = [each for each in group if each not in wrong and each not in told]
        return [left] if left else []

    def _tell(self, waiting: _Waiting, answer: ApplyDefinitionsResponse) -> None:
        self._note(waiting, is_failed=bool(answer.problems))
        if not waiting.answer.done():
            waiting.answer.set_result(answer)

    def _note(self, waiting: _Waiting, *, is_failed: bool) -> None:
        self._failed.pop(waiting.path, None)
        if is_failed:
            self._failed[waiting.path] = None
            if len(self._failed) > FAILED_MAX:
                del self._failed[next(iter(self._failed))]


def _fail(group: Sequence[_Waiting], error: Exception) -> None:
    for each in group:
        if not each.answer.done():
            each.answer.set_exception(error)


def _halves(group: list[_Waiting]) -> list[list[_Waiting]]:
    middle = len(group) // 2
    return [half for half in (group[middle:], group[:middle]) if half]


def _is_its_own(problem: DefinitionProblem) -> bool:
    """Whether it is told of a document alone too, where nothing else is wrong. What is missing is waited for, so that it is looked at again
    in any case."""
    return problem.is_missing or problem.rule in OF_THE_DOCUMENT


def _is_missing(problem: DefinitionProblem) -> bool:
    return problem.is_missing


def _problems(
    answer: ApplyDefinitionsResponse, group: Sequence[_Waiting]
) -> tuple[Mapping[_Waiting, Sequence[DefinitionProblem]], bool]:
    """The problems of each document that has any, and whether all of them are of one."""
    by_path, by_name = {each.path: each for each in group}, {each.name: each for each in group}
    found: defaultdict[_Waiting, list[DefinitionProblem]] = defaultdict(list)
    is_whole = True
    for problem in answer.problems:
        waiting = by_path.get(problem.file) or by_name.get(problem.name)
        if waiting is None:
            is_whole = False
        else:
            found[waiting].append(problem)
    return found, is_whole


def _parts(answer: ApplyDefinitionsResponse, group: Sequence[_Waiting]) -> list[ApplyDefinitionsResponse]:
    """What became of each."""
    changes: defaultdict[str, list[Any]] = defaultdict(list)
    for change in answer.changes:
        changes[change.file].append(change)
    plans = {each.plan: each for each in answer.plans}
    return [
        ApplyDefinitionsResponse(
            changes=changes[each.path],
            plans=[plans[each.name]] if each.name in plans else [],
            unchanged_count=int(not changes[each.path]),
        )
        for each in group
    ]
