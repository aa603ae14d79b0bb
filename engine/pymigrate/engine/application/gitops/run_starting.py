"""Runs that are started for commits. A commit's revision says of which plans before any is started, so that an engine that ends in between
leaves neither two runs nor none: whoever finds a revision that lacks a run starts it, and a run of the same commit is the same run."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Protocol

import structlog

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.gitops.conditions import ConditionType, Findings
from pymigrate.engine.application.gitops.git_source_definitions import EVERY_PLAN
from pymigrate.engine.application.gitops.git_source_kinds import owner_of
from pymigrate.engine.domain.errors import NotFound, PyMigrateError, StaleWrite
from pymigrate.engine.domain.names import last_segment, plan_of
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import definition_pb2, git_source_pb2, run_pb2

log = structlog.get_logger(__name__)
REVISIONS_BACK_MAX = 20
TRIGGER = "git_commit"
_STORED = frozenset({git_source_pb2.GIT_REVISION_STATE_APPLIED, git_source_pb2.GIT_REVISION_STATE_CORRECTED})


class StartsRuns(Protocol):
    """Starts runs, as StartRun does."""

    async def start(self, request: run_pb2.StartRunRequest, caller: Caller) -> run_pb2.Run:
        """Starts one, or adopts the one that was asked for before."""
        ...


def due_plans(
    source: git_source_pb2.GitSource,
    plans: Iterable[definition_pb2.PlanChange],
    reversal: git_source_pb2.Reversal | None = None,
) -> list[str]:
    """The plans of which a run is to be started: those that the source names and whose hash the commit has changed. A plan whose runs were
    undone for the commit has its earlier data again, and needs none."""
    undone = {plan_of(each.run) for each in reversal.runs} if reversal is not None else set()
    is_done = reversal is not None and reversal.state == git_source_pb2.REVERSAL_STATE_DONE
    named = set(source.started_plans)
    return [
        each.plan
        for each in plans
        if each.plan_hash
        and each.plan_hash != each.plan_hash_before
        and (EVERY_PLAN in named or last_segment(each.plan) in named)
        and not (is_done and each.plan in undone)
    ]


class RunStarting:
    """Starts what revisions still lack. In memory it knows only of which sources there is nothing left to start."""

    def __init__(self, store: Store, runs: StartsRuns) -> None:
        self._store = store
        self._runs = runs
        self._done: set[str] = set()

    async def step(
        self,
        source: git_source_pb2.GitSource,
        findings: Findings,
        newest: git_source_pb2.GitRevision | None = None,
    ) -> PyMigrateError | None:
        """Starts what is due and not started yet; what keeps it from that is told, and tried again with the next pass."""
        if newest is not None and newest.due_plans:
            self._done.discard(source.uid)
        if source.uid in self._done:
            return None
        failure: PyMigrateError | None = None
        for number, revision, plan, plan_hash in await self._store.read(partial(_lacking, uid=source.uid)):
            failure = await self._start(source, number, revision, plan, plan_hash) or failure
        if failure is None:
            self._done.add(source.uid)
        else:
            findings.miss(ConditionType.READY, "RUN_NOT_STARTED", failure.message)
        return failure

    def forget(self, uid: str) -> None:
        """A source is gone."""
        self._done.discard(uid)

    async def _start(
        self,
        source: git_source_pb2.GitSource,
        number: int,
        revision: git_source_pb2.GitRevision,
        plan: str,
        plan_hash: str,
    ) -> PyMigrateError | None:
        owner = owner_of(source.name)
        request = run_pb2.StartRunRequest(
            parent=plan, run=run_pb2.Run(triggers={TRIGGER: revision.commit}), plan_hash=plan_hash
        )
        try:
            run = await self._runs.start(request, Caller(owner, owner))
        except (StaleWrite, NotFound):  # another commit has changed it since, and asks for its own
            log.info("git_source.run_outdated", source=source.name, plan=plan, commit=revision.commit)
            await self._store.transact(lambda unit: _settle(unit, source.uid, number, plan, ""))
            return None
        except PyMigrateError as error:
            log.warning("git_source.run_not_started", source=source.name, plan=plan, reason=error.reason)
            return error
        log.info("git_source.run_started", source=source.name, run=run.name, commit=revision.commit)
        await self._store.transact(lambda unit: _settle(unit, source.uid, number, plan, run.name))
        return None


def _lacking(unit: Unit, uid: str) -> list[tuple[int, git_source_pb2.GitRevision, str, str]]:
    """Plans of which a run is due and not there, with the hash that they have: of each the newest revision that asks for it."""
    found: dict[str, tuple[int, git_source_pb2.GitRevision, str, str]] = {}
    for number, body in unit.git_records.revisions(uid, 0, REVISIONS_BACK_MAX):
        revision = git_source_pb2.GitRevision.FromString(body)
        if revision.state not in _STORED:
            continue
        hashes: Mapping[str, str] = {each.plan: each.plan_hash for each in revision.plans}
        started = {plan_of(run) for run in revision.runs}
        for plan in revision.due_plans:
            if plan not in found and plan not in started:
                found[plan] = (number, revision, plan, hashes.get(plan, ""))
    return list(found.values())


def _settle(unit: Unit, uid: str, number: int, plan: str, run: str) -> None:
    """Notes the run that was started, or without one that none is due any more."""
    kept = next(iter(unit.git_records.revisions(uid, number + 1, 1)), (0, b""))
    if kept[0] != number:
        return  # the source is gone
    revision = git_source_pb2.GitRevision.FromString(kept[1])
    if run and run not in revision.runs:
        revision.runs.append(run)
    if not run and plan in revision.due_plans:
        revision.due_plans.remove(plan)
    unit.git_records.set_revision(uid, number, revision.SerializeToString())
