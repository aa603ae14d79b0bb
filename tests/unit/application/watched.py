"""A run that rules watch, and what looks at it, on a store in memory and a clock of the test's."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.changes import Change
from pymigrate.engine.application.conditions import Conditions
from pymigrate.engine.application.findings import finding_of
from pymigrate.engine.application.limits import LaneLimits
from pymigrate.engine.application.notification_kinds import ALERT_RULES
from pymigrate.engine.application.work_bell import WorkBell
from pymigrate.engine.domain.run import Lane, PhaseRun, Run
from pymigrate.engine.domain.run_states import LaneState, PhaseState, RunState
from pymigrate.engine.ports.store import AuditEntry
from pymigrate.v1 import notification_pb2
from tests.unit.application.engines import ENVIRONMENT, ME, PLAN, Engine, phase
from tests.unit.application.noticed import add

RUN = f"{PLAN}/runs/r"
PHASE = f"{RUN}/phases/a"
MANY_ROWS = {"kpi": {"figure": "rows", "isAbove": True, "bound": 100}}
FEW_ROWS = {"kpi": {"figure": "rows", "bound": 100}}
RULE = f"{ENVIRONMENT}/alertRules/many"


class Watched:
    """A declared plan with a run of one lane, the rule `many`, and what looks at them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.bell = WorkBell()
        limits = LaneLimits(engine.store, engine.board, engine.lanes_max, engine.clock)
        self.conditions = Conditions(engine.store, engine.kpis, limits, engine.clock, self.bell)
        self.run = Run(RUN, PLAN, "k", "h", engine.clock.now(), "api", state=RunState.RUNNING, version=1)
        self.phase = PhaseRun("a", "sales", state=PhaseState.STAGING, version=1)
        self.lane = Lane("a.orders", "a", "orders", state=LaneState.RUNNING, version=1)

    async def declare(self, match: Mapping[str, Any], **fields: Any) -> None:
        """The plan, and a rule that watches it."""
        await self.engine.declare({"a": phase("orders")})
        await self.rule(match, **fields)
        self.tell()

    async def rule(self, match: Mapping[str, Any], **fields: Any) -> None:
        """The rule, as it is from now on."""
        document = {"match": match, **fields}

        def work(unit: Any) -> None:
            if unit.resources.get(RULE) is None:
                add(self.engine, unit, ALERT_RULES, "many", document)
                return
            changed = json_format.ParseDict({"name": RULE, **document}, notification_pb2.AlertRule())
            self.engine.catalog.update(unit, ALERT_RULES, changed, FieldMask(), ME)

        await self.engine.store.transact(work)

    async def no_rule(self) -> None:
        """The rule is deleted."""
        await self.engine.store.transact(lambda unit: self.engine.catalog.delete(unit, ALERT_RULES, RULE, "", ME))

    def tell(self, **lane: Any) -> None:
        """How far the lane is, which is what a commit stored."""
        self.lane = replace(self.lane, **lane, version=self.lane.version + 1)
        entities = (self.run, self.phase, self.lane)
        self.engine.board.changes.tell(Change(RUN, self.engine.clock.now(), entities, is_whole=True))

    def end(self, state: RunState = RunState.SUCCEEDED) -> None:
        """The run has ended."""
        self.run = replace(self.run, state=state, end_time=self.engine.clock.now(), version=self.run.version + 1)
        self.tell()

    async def look(self, seconds: float = 0.5) -> int:
        """A look after a while; how many entries it wrote."""
        self.engine.clock.advance(seconds)
        return await self.conditions.step()

    async def entries(self) -> list[AuditEntry]:
        """What was found so far."""
        found = await self.engine.store.read(lambda unit: unit.audit.list(0, 1_000))
        return [entry for entry in found if finding_of(entry.detail) is not None]

    async def told(self) -> list[str]:
        """The types of what was found so far."""
        return [entry.action for entry in await self.entries()]

    async def held(self) -> int:
        """How many conditions are kept."""
        found = await self.engine.store.read(lambda unit: unit.conditions.all())
        return sum(bool(condition.rule) for condition in found)

    async def kept(self) -> int:
        """How many conditions and notes of runs that are watched are kept."""
        return len(await self.engine.store.read(lambda unit: unit.conditions.all()))

    async def again(self) -> "Watched":
        """Another engine that goes on: this one was killed."""
        found = Watched(self.engine.again())
        found.run, found.phase, found.lane = self.run, self.phase, self.lane
        await found.engine.kpis.restore()
        return found
