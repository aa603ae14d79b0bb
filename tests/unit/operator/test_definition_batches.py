"""Documents go to the engine together, and none is the worse for the others."""

import asyncio
from collections.abc import Mapping

import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.domain.errors import EngineUnavailable, FailedPrecondition
from pymigrate.engine.entrypoints.operator.definition_batches import BYTES_MAX, DOCUMENTS_MAX, DefinitionBatches
from pymigrate.v1.definition_pb2 import ApplyDefinitionsResponse
from tests.unit.application.gitops.applied import Spec, phase
from tests.unit.operator.asked import AskedEngine, document

HEALTHY: Mapping[str, Spec] = {f"Department prod/d{at}": {} for at in range(20)}
WRONG: Mapping[str, Spec] = {f"Department prod/w{at}": {"users": -1} for at in range(3)}


async def engine_with_environment() -> AskedEngine:
    engine = AskedEngine()
    await engine.apply(document("Environment prod", {}))
    engine.calls.clear()
    return engine


async def applied(batches: DefinitionBatches, given: Mapping[str, Spec]) -> dict[str, ApplyDefinitionsResponse]:
    """All at once."""
    answers = await asyncio.gather(*(batches.apply("prod", document(name, spec)) for name, spec in given.items()))
    return dict(zip(given, answers, strict=True))


async def test_what_comes_at_once_goes_into_one_call_and_each_is_told_its_own() -> None:
    engine = await engine_with_environment()
    batches = DefinitionBatches(engine, SystemClock())
    answers = await applied(batches, HEALTHY)
    assert [len(files) for _, files in engine.calls] == [len(HEALTHY)]
    for name, answer in answers.items():
        assert [each.name for each in answer.changes] == [f"environments/prod/departments/{name.split('/')[1]}"]
    again = await applied(batches, HEALTHY)
    assert all((list(each.changes), each.unchanged_count) == ([], 1) for each in again.values())


async def test_a_call_holds_no_more_than_its_bounds() -> None:
    engine = await engine_with_environment()
    batches = DefinitionBatches(engine, SystemClock())
    await applied(batches, {f"Department prod/d{at}": {} for at in range(DOCUMENTS_MAX + 1)})
    assert [len(files) for _, files in engine.calls] == [DOCUMENTS_MAX, 1]
    engine.calls.clear()
    large = {"labels": {"note": "x" * (BYTES_MAX // 2)}}
    await applied(batches, {f"Department prod/l{at}": large for at in range(3)})
    assert [len(files) for is_check, files in engine.calls if not is_check] == [1, 1, 1]


async def test_what_waits_while_a_call_is_under_way_shares_the_next_one() -> None:
    engine = await engine_with_environment()
    let_go = asyncio.Event()
    ask = engine.apply

    class Slow:
        check = engine.check

        async def apply(self, *documents: Mapping[str, object]) -> ApplyDefinitionsResponse:
            await let_go.wait()
            return await ask(*documents)

    batches = DefinitionBatches(Slow(), SystemClock())
    first = asyncio.ensure_future(batches.apply("prod", document("Department prod/first", {})))
    await SystemClock().sleep(0.05)
    rest = asyncio.ensure_future(applied(batches, HEALTHY))
    await SystemClock().sleep(0.05)
    let_go.set()
    await asyncio.gather(first, rest)
    assert [len(files) for _, files in engine.calls] == [1, len(HEALTHY)]


async def test_those_that_are_wrong_are_told_why_and_the_others_are_applied() -> None:
    engine = await engine_with_environment()
    batches = DefinitionBatches(engine, SystemClock())
    answers = await applied(batches, {**HEALTHY, **WRONG})
    assert all(answers[name].changes for name in HEALTHY)
    for name in WRONG:
        assert [each.path for each in answers[name].problems] == ["spec.users"]


async def test_those_that_failed_last_are_asked_about_apart_until_they_are_mended() -> None:
    engine = await engine_with_environment()
    batches = DefinitionBatches(engine, SystemClock())
    await applied(batches, WRONG)
    engine.calls.clear()
    await applied(batches, {**HEALTHY, **WRONG})
    healthy = {path for _, files in engine.calls for path in files if "/d" in path}
    calls_of_healthy = [files for _, files in engine.calls if healthy & set(files)]
    assert [len(files) for files in calls_of_healthy] == [len(HEALTHY)]
    mended = {name: {"users": 1} for name in WRONG}
    await applied(batches, mended)
    engine.calls.clear()
    await applied(batches, {**HEALTHY, **mended})
    assert [len(files) for _, files in engine.calls] == [len(HEALTHY) + len(WRONG)]


async def test_what_leant_on_something_that_is_wrong_is_told_what_it_lacks() -> None:
    engine = await engine_with_environment()
    batches = DefinitionBatches(engine, SystemClock())
    answers = await applied(batches, {"Department prod/a": {"dependencies": ["b"]}, "Department prod/b": {"users": -1}})
    assert [each.is_missing for each in answers["Department prod/a"].problems] == [True]
    assert [each.is_missing for each in answers["Department prod/b"].problems] == [False]


async def test_what_waits_and_fits_only_what_is_wrong_is_told_that_it_does_not_fit_what_there_is() -> None:
    engine = await engine_with_environment()
    batches = DefinitionBatches(engine, SystemClock())
    path = {"path": "/data/one.db"}
    await applied(batches, {f"Connection prod/{name}": {"sqlite": path} for name in ("legacy", "warehouse")})
    wrong = {"Connection prod/legacy": {"sqlite": {"path": ""}}}
    plan = {"Plan prod/p": {"phases": {"orders": phase()}}}
    together = (await applied(batches, {**wrong, **plan}))["Plan prod/p"]
    alone = await engine.check(document("Plan prod/p", plan["Plan prod/p"]))
    assert together.problems == alone.problems
    assert sorted(each.is_missing for each in together.problems) == [False, True]


async def test_what_lacks_something_beside_what_is_wrong_costs_one_call_more_for_all_of_it() -> None:
    engine = await engine_with_environment()
    batches = DefinitionBatches(engine, SystemClock())
    lacking = {f"Department prod/d{at}": {"dependencies": ["nobody"]} for at in range(20)}
    checks = [batches.check("prod", document(name, spec)) for name, spec in {**lacking, **WRONG}.items()]
    await asyncio.gather(*checks)
    sizes = sorted(len(files) for _, files in engine.calls)
    assert sizes == [*(1 for _ in WRONG), len(lacking), len(lacking) + len(WRONG)]


async def test_two_that_need_each_other_can_only_come_together() -> None:
    engine = await engine_with_environment()
    batches = DefinitionBatches(engine, SystemClock())
    pair = {"Department prod/a": {"dependencies": ["b"]}, "Department prod/b": {"dependencies": ["a"]}}
    assert all(each.changes for each in (await applied(batches, pair)).values())


async def test_one_for_which_the_whole_call_fails_fails_alone() -> None:
    engine = await engine_with_environment()
    engine.poison["prod/Department/d7.json"] = FailedPrecondition("not this one")
    batches = DefinitionBatches(engine, SystemClock())
    outcomes = await asyncio.gather(
        *(batches.apply("prod", document(name, spec)) for name, spec in HEALTHY.items()), return_exceptions=True
    )
    failed = [name for name, each in zip(HEALTHY, outcomes, strict=True) if isinstance(each, FailedPrecondition)]
    assert failed == ["Department prod/d7"]
    assert all(each.changes for each in outcomes if isinstance(each, ApplyDefinitionsResponse))


async def test_an_engine_that_is_away_is_asked_once_and_says_nothing_of_the_documents() -> None:
    engine = await engine_with_environment()
    engine.troubles.append(EngineUnavailable("away"))
    batches = DefinitionBatches(engine, SystemClock())
    with pytest.raises(EngineUnavailable):
        await applied(batches, HEALTHY)
    await applied(batches, HEALTHY)
    assert [len(files) for _, files in engine.calls] == [len(HEALTHY)] * 2


async def test_a_defect_fails_its_call_and_nothing_after_it() -> None:
    engine = await engine_with_environment()
    engine.troubles.append(ZeroDivisionError())
    batches = DefinitionBatches(engine, SystemClock())
    with pytest.raises(ZeroDivisionError):
        await batches.apply("prod", document("Department prod/a", {}))
    assert (await batches.apply("prod", document("Department prod/a", {}))).changes


async def test_what_nobody_waits_for_any_more_is_not_applied() -> None:
    engine = await engine_with_environment()
    batches = DefinitionBatches(engine, SystemClock())
    given_up = asyncio.ensure_future(batches.apply("prod", document("Department prod/gone", {})))
    await asyncio.sleep(0)
    given_up.cancel()
    await applied(batches, HEALTHY)
    assert [len(files) for _, files in engine.calls] == [len(HEALTHY)]


async def test_whoever_waits_when_it_is_closed_is_given_up() -> None:
    engine = await engine_with_environment()
    batches = DefinitionBatches(engine, SystemClock())
    waiting = asyncio.ensure_future(batches.apply("prod", document("Department prod/a", {})))
    await asyncio.sleep(0)
    await batches.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
