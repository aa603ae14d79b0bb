"""Impact analysis: what a plan costs before it runs, and what another way would cost.

A plan is frozen as for a run, looked at, measured as far as its time allows, rehearsed, and told in terms of the business.
"""

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pymigrate.engine.application.analyses import Analysis
from pymigrate.engine.application.caller import Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.differences import differences
from pymigrate.engine.application.estimating import estimates_of
from pymigrate.engine.application.kinds import PLANS, connections_of, departments_of
from pymigrate.engine.application.landscapes import landscape_of
from pymigrate.engine.application.lessons import lessons_of
from pymigrate.engine.application.measuring import Known, Measuring
from pymigrate.engine.application.policies import lanes_max_of
from pymigrate.engine.application.rehearsing import Draw, stage_of
from pymigrate.engine.application.revisions import freeze
from pymigrate.engine.application.variants import Variant, apply_variants
from pymigrate.engine.domain.drawing import DRAWS_MAX
from pymigrate.engine.domain.errors import InvalidDefinition, NotFound, Problem
from pymigrate.engine.domain.names import environment_of
from pymigrate.engine.domain.systems import Landscape
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import connection_pb2, impact_pb2, run_pb2

DRAWS_DEFAULT = 200
PROBE_SECONDS_DEFAULT = 30.0
PROBE_SECONDS_MIN, PROBE_SECONDS_MAX = 1.0, 600.0
NOTHING_PROBED = -1.0
START_SECONDS_MAX = 366 * 86_400.0  # from now, either way


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds for the whole engine: lanes at once, and bytes that all worker hosts may hold."""

    lanes_max: int
    memory_bytes_max: int


@dataclass(frozen=True, slots=True)
class _Scene:
    """A plan as it stands, with what of its environment an analysis needs."""

    revision: run_pb2.PlanRevision
    landscape: Landscape
    lanes_max: int
    connections: Mapping[str, connection_pb2.Connection]
    departments: Collection[str]


@dataclass(frozen=True, slots=True)
class Proposed:
    """A plan that is to be analyzed as it was in some unit."""

    plan: str
    scene: _Scene


@dataclass(frozen=True, slots=True)
class _Asked:
    """How a plan is to be rehearsed, and how long it may be probed."""

    draws: int
    seed: int
    start: datetime
    probe_seconds: float


class Impacts:
    """The use cases of impact analysis."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        measuring: Measuring,
        surroundings: Surroundings,
        bounds: Bounds,
        draw: Draw,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._measuring = measuring
        self._clock = surroundings.clock
        self._bounds = bounds
        self._draw = draw

    async def analyze(self, request: impact_pb2.AnalyzeImpactRequest) -> impact_pb2.Impact:
        """What the plan costs. Raises NotFound, InvalidDefinition for a request or a plan that can't be, and FailedPrecondition for a
        plan that would wait for ever."""
        asked = self._asked(request, PROBE_SECONDS_DEFAULT)
        scene = await self._store.read(lambda unit: self._scene(unit, request.plan))
        known = await self._measured(scene, asked.probe_seconds, is_anew=request.remeasures)
        return await self._impact(scene, scene.revision, known, asked, asked.start)

    async def compare(self, request: impact_pb2.CompareImpactRequest) -> impact_pb2.CompareImpactResponse:
        """The plan as it stands beside its variants. Raises as `analyze`, and InvalidDefinition for a variant that can't be."""
        asked = self._asked(request, NOTHING_PROBED)
        scene = await self._store.read(lambda unit: self._scene(unit, request.plan))
        self._variants(scene, request)  # what can't be is refused before anything is looked at
        known = await self._measured(scene, asked.probe_seconds, is_anew=False)
        base = await self._impact(scene, scene.revision, known, asked, asked.start)
        answer = impact_pb2.CompareImpactResponse(base=base)
        for name, variant in self._variants(scene, request).items():
            start = variant.start_time or asked.start
            holding = known.without(variant.unmeasured)
            found = await self._impact(scene, variant.revision, holding, asked, start)
            answer.variants[name].CopyFrom(found)
        answer.differences.extend(await asyncio.to_thread(differences, answer.base, answer.variants))
        return answer

    def proposed(self, unit: Unit, plans: Sequence[str]) -> list[Proposed]:
        """Plans as a unit has them, which may hold what nobody has stored, to be analyzed outside of it, without what can't be frozen."""
        found = []
        for plan in plans:
            with contextlib.suppress(NotFound, InvalidDefinition):
                found.append(Proposed(plan, self._scene(unit, plan)))
        return found

    async def recall(self, proposed: Proposed, draws: int = DRAWS_DEFAULT) -> impact_pb2.Impact:
        """What a plan costs by what was measured before; nothing is looked at or probed. Raises FailedPrecondition for one that would wait
        for ever."""
        scene, now = proposed.scene, self._clock.now()
        known = await self._measuring.recall(scene.revision)
        return await self._impact(scene, scene.revision, known, _Asked(draws, 0, now, 0.0), now)

    @staticmethod
    def _variants(scene: _Scene, request: impact_pb2.CompareImpactRequest) -> dict[str, Variant]:
        return apply_variants(scene.revision, request.variants, scene.connections, scene.departments)

    def _scene(self, unit: Unit, plan: str) -> _Scene:
        self._catalog.get(unit, PLANS, plan)
        resource, environment = unit.resources.get(plan), environment_of(plan)
        if resource is None:
            raise NotFound(f"there is no {plan}", field="plan")
        revision, problems = freeze(unit, resource)
        if problems:
            raise InvalidDefinition(problems)
        return _Scene(
            revision,
            landscape_of(unit, environment),
            lanes_max_of(unit, environment, revision.policy),
            connections_of(unit, environment),
            departments_of(unit, environment),
        )

    async def _measured(self, scene: _Scene, seconds: float, *, is_anew: bool) -> Known:
        limits = [self._bounds.lanes_max, scene.lanes_max, scene.revision.plan.lanes_max]
        lanes_at_once = min(limit for limit in limits if limit > 0)
        return await self._measuring.measure(scene.revision, seconds, lanes_at_once, is_anew=is_anew)

    async def _impact(
        self, scene: _Scene, revision: run_pb2.PlanRevision, known: Known, asked: _Asked, start: datetime
    ) -> impact_pb2.Impact:
        estimates = await self._store.read(
            lambda unit: estimates_of(revision, known.measures, lessons_of(unit, revision))
        )
        stage = stage_of(revision, estimates, scene.lanes_max, self._bounds.lanes_max, start)
        analysis = Analysis(revision, estimates, known, scene.landscape, stage, self._bounds.memory_bytes_max)
        return await analysis.impact(self._draw, asked.draws, asked.seed, start, self._clock.now())

    def _asked(
        self, request: impact_pb2.AnalyzeImpactRequest | impact_pb2.CompareImpactRequest, probe_seconds: float
    ) -> _Asked:
        """Raises InvalidDefinition with every problem of the request."""
        now, problems = self._clock.now(), []
        if not 0 <= request.draws <= DRAWS_MAX:
            problems.append(Problem("draws", f"is 1 to {DRAWS_MAX:,}; 0 means {DRAWS_DEFAULT}"))
        seconds = request.probe_seconds_max or probe_seconds
        if seconds != NOTHING_PROBED and not PROBE_SECONDS_MIN <= seconds <= PROBE_SECONDS_MAX:
            said = f"is {PROBE_SECONDS_MIN:g} to {PROBE_SECONDS_MAX:g} seconds, or -1 to probe nothing"
            problems.append(Problem("probe_seconds_max", said))
        problems += _start_problems("start_time", request, now)
        if isinstance(request, impact_pb2.CompareImpactRequest):
            for name, variant in sorted(request.variants.items()):
                problems += _start_problems(f"variants.{name}.start_time", variant, now)
        if problems:
            raise InvalidDefinition(tuple(problems))
        start = request.start_time.ToDatetime(UTC) if request.HasField("start_time") else now
        return _Asked(request.draws or DRAWS_DEFAULT, request.seed, start, 0.0 if seconds < 0 else seconds)


def _start_problems(
    field: str,
    asked: impact_pb2.AnalyzeImpactRequest | impact_pb2.CompareImpactRequest | impact_pb2.ImpactVariant,
    now: datetime,
) -> list[Problem]:
    if not asked.HasField("start_time"):
        return []
    try:
        ahead_seconds = (asked.start_time.ToDatetime(UTC) - now).total_seconds()
    except ValueError:
        return [Problem(field, "is no moment from year 1 to 9999")]
    if ahead_seconds > START_SECONDS_MAX:
        return [Problem(field, "lies more than a year ahead")]
    return [Problem(field, "lies more than a year back")] if ahead_seconds < -START_SECONDS_MAX else []
