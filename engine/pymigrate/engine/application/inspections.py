"""Looks at both sides of a revision's datasets, which only worker hosts can: what a run needs to know before it exists, and an estimate."""

import asyncio
from collections.abc import Iterable, Sequence

from pymigrate.engine.application import works
from pymigrate.engine.application.inquiries import Inquiries
from pymigrate.engine.application.joint_looks import JointLooks
from pymigrate.engine.domain.errors import InvalidDefinition, PermanentError, Problem, TemporaryError
from pymigrate.engine.domain.names import at_environment
from pymigrate.v1 import run_pb2, worker_pb2

INSPECTION_TIMEOUT_SECONDS = 120.0
INSPECTIONS_AT_ONCE = 32
DatasetPlace = tuple[str, str]
"""A phase's last segment, and a dataset's name."""


class Inspections:
    """Looks, as many at once as hosts take. With `looks` those who want to know the same at once are told by one."""

    def __init__(self, inquiries: Inquiries, looks: JointLooks | None = None) -> None:
        self._inquiries = inquiries
        self._looks = looks

    async def require(self, revision: run_pb2.PlanRevision, phases: Iterable[str]) -> None:
        """Adds what is found of every dataset of the phases to the revision. Raises InvalidDefinition with every problem, and a
        TemporaryError when none was found but a system did not answer."""
        places = [
            (phase, dataset) for phase in sorted(phases) for dataset in sorted(revision.plan.phases[phase].datasets)
        ]
        found = await self._look(revision, places)
        problems = tuple(problem for part in found if not isinstance(part, BaseException) for problem in part)
        if problems:
            raise InvalidDefinition(problems)
        if failed := [part for part in found if isinstance(part, BaseException)]:
            raise failed[0]

    async def gather(
        self, revision: run_pb2.PlanRevision, places: Sequence[DatasetPlace]
    ) -> dict[DatasetPlace, list[Problem]]:
        """Adds what is found of each dataset to the revision, and returns what stands against those of which something does; a system
        that does not answer is no more than a problem of its dataset. One that could not be looked at has no inspection."""
        problems: dict[DatasetPlace, list[Problem]] = {}
        for (phase, dataset), part in zip(places, await self._look(revision, places), strict=True):
            match part:
                case TemporaryError():
                    problems[phase, dataset] = [Problem(f"phases.{phase}.datasets.{dataset}", part.message)]
                case BaseException():
                    raise part
                case list() if part:
                    problems[phase, dataset] = part
        return problems

    async def _look(
        self, revision: run_pb2.PlanRevision, places: Sequence[DatasetPlace]
    ) -> list[list[Problem] | BaseException]:
        gate = asyncio.Semaphore(INSPECTIONS_AT_ONCE)

        async def look(phase: str, dataset: str) -> list[Problem]:
            async with gate:
                return await self._look_at(revision, phase, dataset)

        return await asyncio.gather(*(look(phase, dataset) for phase, dataset in places), return_exceptions=True)

    async def _look_at(self, revision: run_pb2.PlanRevision, phase: str, dataset: str) -> list[Problem]:
        path = f"phases.{phase}.datasets.{dataset}"
        sides = revision.plan.phases[phase].datasets[dataset]
        affinity = at_environment(
            works.dataset_affinity(
                revision.connections[sides.source.connection], revision.connections[sides.target.connection]
            ),
            revision.plan.name,
        )
        message = worker_pb2.Task(inspect=works.inspection_work(revision, phase, dataset))
        try:
            result = await self._ask(message, affinity)
        except InvalidDefinition as error:
            return [Problem(f"{path}.{problem.field}", problem.description) for problem in error.problems]
        except PermanentError as error:
            return [Problem(f"{path}.{error.field}" if error.field else path, error.message)]
        revision.inspections[f"{phase}/{dataset}"].CopyFrom(result.inspect)
        return [Problem(f"{path}.{problem.field}", problem.description) for problem in result.inspect.problems]

    async def _ask(self, message: worker_pb2.Task, affinity: str) -> worker_pb2.TaskResult:
        if self._looks is None:
            return await self._inquiries.ask(message, affinity, INSPECTION_TIMEOUT_SECONDS)
        key = "inspection", affinity, message.SerializeToString(deterministic=True)
        return await self._looks.look(
            key, lambda begin: self._inquiries.ask(message, affinity, INSPECTION_TIMEOUT_SECONDS, begin)
        )
