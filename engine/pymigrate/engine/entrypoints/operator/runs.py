"""Reconciling of custom resource Runs: what is declared is looked at beside the engine's run, and the calls that it asks for are made, one
after the other, until there is nothing left to be done now.

A run's name follows from the resource's uid, and is noted in an annotation before it is started: whoever comes later adopts it, whatever
has become of the declaration meanwhile.
"""

from dataclasses import replace

import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from pymigrate.engine.domain.errors import (
    AlreadyExists,
    EngineUnavailable,
    FailedPrecondition,
    InvalidDefinition,
    NotFound,
    NotPermitted,
    PermanentError,
    Problem,
    PyMigrateError,
    StaleWrite,
    TemporaryError,
)
from pymigrate.engine.domain.names import ID_RULE, is_id
from pymigrate.engine.entrypoints.custom_resources import RUN
from pymigrate.engine.entrypoints.operator.dependents import plan_place
from pymigrate.engine.entrypoints.operator.objects import (
    Key,
    environment_of_object,
    generation_of,
    has_finalizer,
    is_deleted,
    spec_of,
    uid_of,
)
from pymigrate.engine.entrypoints.operator.operator import Parts
from pymigrate.engine.entrypoints.operator.reconciling import AWAY, Unfinished, kept_status
from pymigrate.engine.entrypoints.operator.run_adopting import RunAdopting, declared_name
from pymigrate.engine.entrypoints.operator.run_calls import check_request, start_request, steering
from pymigrate.engine.entrypoints.operator.run_checks import is_checked, kept_verdict, plan_trouble
from pymigrate.engine.entrypoints.operator.run_figures import dry_run_report
from pymigrate.engine.entrypoints.operator.run_look import Look
from pymigrate.engine.entrypoints.operator.run_refusals import RunRefusals
from pymigrate.engine.entrypoints.operator.run_steering import (
    ApproveGate,
    Call,
    Check,
    DryRun,
    Nothing,
    Release,
    Retry,
    Rollback,
    Situation,
    Start,
    Step,
    Wait,
    needs_plan_hash,
    next_step,
)
from pymigrate.engine.entrypoints.operator.run_verdicts import Trouble, camel_case, run_verdict
from pymigrate.engine.entrypoints.operator.scaling import Scaling
from pymigrate.engine.entrypoints.operator.spec_paths import plan_path
from pymigrate.engine.entrypoints.operator.verdicts import Findings, Verdict, problems_text
from pymigrate.engine.ports.cluster import Object
from pymigrate.v1 import run_pb2
from pymigrate.v1.custom_resource_pb2 import RunSpec, RunStatus
from pymigrate.v1.shape import ShapeError, from_data

log = structlog.get_logger(__name__)
STEPS_MAX = 16
# What stands against a start may be mended where nobody tells.
MENDED_SECONDS = 300.0
MISSING_SECONDS = 60.0


class Runs:
    """The reconciler of the kind Run."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._engine = parts.engine
        self._clock = parts.clock
        self._adopting = RunAdopting(parts.cluster, parts.engine, parts.runs, parts.note, parts.rule)
        self._refusals = RunRefusals(parts.clock)
        self._scaling = Scaling(parts.clock)
        self._uids: dict[Key, str] = {}

    async def look(self, key: Key, found: Object) -> Verdict | None:
        """As the protocol says: deleted? name, adopt, and then step by step."""
        self._forget_waiting(key)
        self._remember(key, uid_of(found))
        if is_deleted(found) and not has_finalizer(found):
            return None
        before, spec = kept_status(RUN, found), RunSpec()
        assert isinstance(before, RunStatus)  # noqa: S101 (which of the two follows from the kind)
        try:
            from_data(spec_of(found), spec)
        except ShapeError as error:
            if not is_deleted(found):
                return Findings(before).stalled("InvalidDefinition", f"spec.{error}")
        environment = environment_of_object(RUN, found, self._parts.rule)
        name = self._adopting.name(found, environment) or declared_name(found, environment, spec.plan)
        seen = Situation(spec, retry=before.retry, is_deleted=is_deleted(found), has_finalizer=has_finalizer(found))
        look = Look(key, found, before, environment, name, seen)
        try:
            return await self._adopt(look) or await self._step(look)
        except TemporaryError as error:
            raise self._unfinished(look, error) from error

    def gone(self, key: Key) -> None:
        """The resource is there no longer."""
        self._forget_waiting(key)
        self._remember(key, "")

    def _forget_waiting(self, key: Key) -> None:
        self._parts.dependents.forget(key)
        self._parts.plan_dependents.forget(key)

    async def _adopt(self, look: Look) -> Verdict | None:
        """Finds what the engine has. A verdict where nothing can be done with that."""
        is_known = has_finalizer(look.found) or self._adopting.name(look.found, look.environment)
        run = await self._adopting.find(look.uid, look.name) if is_known else None
        if run is not None:
            self._take(look, run)
            return None
        if look.seen.is_deleted:
            return None
        if look.before.name:
            told = f"the engine has no {look.before.name} any more: make another Run, or bring back the engine's store"
            return run_verdict(look.before, look.seen, Nothing(), Trouble("RunMissing", told, needs_person=True))
        for what, said in (("environment", look.environment), ("plan", look.seen.spec.plan)):
            if not is_id(said):
                told = f"`{said}` is no name of its {what}: use {ID_RULE}"
                return run_verdict(look.before, look.seen, Nothing(), Trouble("InvalidDefinition", told, True))
        look.name = declared_name(look.found, look.environment, look.seen.spec.plan)
        await self._see_plan(look)
        return None

    async def _see_plan(self, look: Look) -> None:
        """What is to be known of the plan before a start. A resource that declares it and is not done yet is waited for."""
        spec = look.seen.spec
        if spec.cancel or spec.rollback or spec.suspend:
            return
        look.seen = replace(look.seen, plan_trouble=plan_trouble(self._parts.read, look.key, look.found, spec.plan))
        if look.seen.plan_trouble or not needs_plan_hash(spec):
            return
        plan_hash: str | None = None
        try:
            plan_hash = str((await self._engine.get("Plan", look.plan)).plan_hash)
        except NotFound:
            log.debug("plan.missing", plan=look.plan)
        report, now = look.before.dry_run, self._clock.now()
        checked = is_checked(look.found, look.before, plan_hash or "", now, MENDED_SECONDS)
        look.seen = replace(look.seen, plan_hash=plan_hash, is_checked=checked, problems=report.problem_count)

    async def _step(self, look: Look) -> Verdict | None:
        for _ in range(STEPS_MAX):
            step = next_step(look.seen)
            if isinstance(step, Release):
                await self._parts.finalizing.release(look.key, look.found)
                log.info("run.released", key=str(look.key), name=look.name)
                return None
            if not isinstance(step, Call):
                return self._verdict(look, step)
            try:
                await self._call(look, step)
            except PermanentError as error:
                if (trouble := await self._refused(look, step, error)) is not None:
                    return self._verdict(look, step, trouble)
        raise TemporaryError(f"{look.key} does not come to rest: {STEPS_MAX} calls were made of the engine at once")

    async def _call(self, look: Look, step: Call) -> None:
        spec = look.seen.spec
        match step:
            case DryRun() | Check():
                await self._check(look)
                return
            case Start(plan_hash):
                look.found = await self._adopting.hold(look.key, look.found, look.name)
                look.seen = replace(look.seen, has_finalizer=True)
                run = await self._engine.start_run(start_request(look.name, look.uid, spec, plan_hash))
                look.seen = replace(look.seen, retry=spec.retry)
            case _:
                method, request = steering(step, look.name)
                run = await self._engine.steer_run(method, request)
                if isinstance(step, Retry | Rollback):
                    look.seen = replace(look.seen, retry=spec.retry)
        log.info("run.steered", key=str(look.key), name=run.name, step=type(step).__name__.lower())
        self._adopting.note(look.uid, run)
        if isinstance(step, ApproveGate):
            self._refusals.note(look.uid, step, generation_of(look.found))
        self._take(look, run)

    async def _check(self, look: Look) -> None:
        """What a run would do, as the status tells it from then on."""
        problems: list[tuple[str, str]] = []
        expected = run_pb2.Run()
        try:
            expected = await self._engine.start_run(
                check_request(look.name, look.uid, look.seen.spec, look.seen.plan_hash or "")
            )
        except InvalidDefinition as error:
            problems = [(plan_path(problem.field), problem.description) for problem in error.problems]
        moment = Timestamp()
        moment.FromDatetime(self._clock.now())
        report = dry_run_report(problems, expected)
        report.time.CopyFrom(moment)
        look.before.dry_run.CopyFrom(report)
        look.before.environment, look.before.plan_hash = look.environment, look.seen.plan_hash or ""
        look.seen = replace(look.seen, is_checked=True, problems=report.problem_count)

    async def _refused(self, look: Look, step: Call, error: PermanentError) -> Trouble | None:
        """What to tell of a refusal; None where something was learned by it, and the next step may be another one."""
        match step, error:
            case (Start() | Check() | DryRun(), NotFound()):
                look.seen = replace(look.seen, plan_hash=None)
                return None
            case (Start() | Check() | DryRun(), StaleWrite()):
                await self._see_plan(look)
                return None
            case (Start(), AlreadyExists()):
                await self._look_up(look)
                return None
            case (Start(), InvalidDefinition(problems=problems)):
                look.look_again(MENDED_SECONDS)
                self._parts.dependents.wait(look.environment, look.key)
                told = problems_text([Problem(plan_path(each.field), each.description) for each in problems])
                return Trouble("InvalidDefinition", told, needs_person=True)
            case (ApproveGate(), FailedPrecondition() | NotPermitted() | NotFound()):
                look.look_again(self._refusals.note(look.uid, step, generation_of(look.found), error))
                look.seen = self._refusals.seen(look.uid, look.seen, generation_of(look.found))
                return None
        return await self._refused_state(look, step, error)

    async def _refused_state(self, look: Look, step: Call, error: PermanentError) -> Trouble | None:
        """The run may be another one by now than it was when the call was decided upon."""
        if look.seen.run is not None and isinstance(error, FailedPrecondition):
            await self._look_up(look)
            if next_step(look.seen) != step:
                return None
        reason = "NotPermitted" if isinstance(error, NotPermitted) else camel_case(error.reason)
        look.look_again(MENDED_SECONDS)
        return Trouble(reason, error.message, needs_person=True)

    async def _look_up(self, look: Look) -> None:
        run = await self._engine.get_run(look.name)
        self._adopting.note(look.uid, run)
        self._take(look, run)

    def _take(self, look: Look, run: run_pb2.Run) -> None:
        """The engine's run as it is now."""
        lanes, again = self._scaling.lanes(look.uid, look.seen.spec, run)
        look.look_again(again)
        look.name = run.name
        seen = replace(look.seen, run=run, lanes=lanes)
        look.seen = self._refusals.seen(look.uid, seen, generation_of(look.found))

    def _verdict(self, look: Look, step: Step, trouble: Trouble | None = None) -> Verdict:
        seen = look.seen
        if seen.run is None and isinstance(step, Wait):
            look.before.environment = look.environment
            self._parts.dependents.wait(look.environment, look.key)
            if step.reason in {"DependencyMissing", "DependencyNotReady"}:
                self._parts.plan_dependents.wait(plan_place(look.key.namespace, seen.spec.plan), look.key)
                look.look_again(MISSING_SECONDS)
        if seen.run is None and seen.spec.dry_run and isinstance(step, Nothing):
            self._parts.dependents.wait(look.environment, look.key)
        if seen.run is None and seen.problems:
            look.look_again(MENDED_SECONDS)
        return run_verdict(look.before, seen, step, trouble).after(look.again_seconds)

    def _unfinished(self, look: Look, error: PyMigrateError) -> PyMigrateError | Unfinished:
        """An engine that is away changes nothing of a run that has ended, nor of what is told of it."""
        if isinstance(error, EngineUnavailable):
            if (kept := kept_verdict(look.found, look.before)) is not None:
                return Unfinished(kept, error)
            trouble = Trouble("EngineUnavailable", AWAY)
        else:
            trouble = Trouble(camel_case(error.reason), error.message)
        return Unfinished(run_verdict(look.before, look.seen, next_step(look.seen), trouble), error)

    def _remember(self, key: Key, uid: str) -> None:
        """What is kept of a resource goes with it, also where another one has its name."""
        known = self._uids.get(key, "")
        if known and known != uid:
            self._scaling.forget(known)
            self._refusals.forget(known)
            self._adopting.forget(known)
        if uid:
            self._uids[key] = uid
        else:
            self._uids.pop(key, None)
