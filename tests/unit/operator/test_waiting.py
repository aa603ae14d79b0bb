"""What is known before the engine is asked: who waits for others, so that nothing which happens until it has answered is missed; and who
has which name."""

import asyncio

import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.entrypoints.operator.declared import Declared
from pymigrate.engine.entrypoints.operator.definition_batches import DefinitionBatches
from pymigrate.engine.entrypoints.operator.dependents import Dependents
from pymigrate.engine.entrypoints.operator.objects import FINALIZER, EnvironmentRule, Key
from pymigrate.engine.entrypoints.operator.waking import Waking
from pymigrate.v1 import definition_pb2

KEY = Key("Environment", "prod", "prod")


class Answering:
    """An engine that refuses, and notes who waited while it was asked."""

    def __init__(self, dependents: Dependents) -> None:
        self._dependents = dependents
        self.waiting: list[Key] = []

    async def delete(self, word: str, name: str) -> None:
        self.waiting.extend(self._dependents.of("prod"))
        raise FailedPrecondition(f"{name} is not empty")

    async def check(self, *documents: object) -> definition_pb2.ApplyDefinitionsResponse:
        self.waiting.extend(self._dependents.of("prod"))
        problem = definition_pb2.DefinitionProblem(path="spec.bases", description="there is none", is_missing=True)
        return definition_pb2.ApplyDefinitionsResponse(problems=[problem])


@pytest.mark.parametrize("is_deleted", [True, False])
async def test_who_is_refused_waits_since_before_the_engine_was_asked(is_deleted: bool) -> None:
    dependents = Dependents()
    engine = Answering(dependents)
    declared = declared_by(engine, dependents)
    metadata = {"name": "prod", "namespace": "prod", "uid": "1", "generation": 1}
    if is_deleted:
        metadata |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FINALIZER]}
    found = {"metadata": metadata, "spec": {}}
    await declared.look(KEY, found)
    assert engine.waiting == [KEY]
    assert tuple(dependents.of("prod")) == (KEY,)


def test_what_happens_while_the_engine_is_asked_counts_only_for_those_that_it_refuses() -> None:
    dependents = Dependents()
    other = Key("Department", "prod", "sales")
    dependents.ask("prod", KEY)
    dependents.wait("prod", other)
    assert dependents.wake("prod") == [other]
    assert dependents.answered(KEY), "refused, by what was there before"
    assert not dependents.answered(KEY)
    assert set(dependents.wake("prod")) == {KEY, other}
    dependents.ask("prod", KEY)
    dependents.wake("prod")
    dependents.forget(KEY)
    assert not dependents.answered(KEY), "it was taken"


async def test_what_was_applied_together_wakes_those_who_wait_once() -> None:
    dependents = Dependents()
    dependents.wait("prod", KEY)
    plan = Key("Plan", "prod", "p")
    later: list[Key] = []
    waking = Waking(dependents, lambda key, _: later.append(key), lambda _: [plan])
    for _ in range(3):
        waking.wake("prod")
        waking.hash_turned("prod")
    assert not later, "those who have an answer by now go on first"
    await asyncio.sleep(0)
    assert later == [KEY, plan]


@pytest.mark.parametrize("is_first", [True, False])
async def test_what_has_its_name_in_the_engine_keeps_it_from_an_older_one_whoever_is_looked_at_first(
    is_first: bool,
) -> None:
    dependents = Dependents()
    declared = declared_by(Answering(dependents), dependents)
    resources = {
        Key("GitSource", namespace, "repo"): {
            "metadata": {
                "name": "repo",
                "namespace": namespace,
                "uid": namespace,
                "generation": 1,
                "creationTimestamp": made,
            }
            | ({"finalizers": [FINALIZER]} if has_it else {}),
            "spec": {"environment": namespace},
            "status": {"name": "gitSources/repo"} if has_it else {},
        }
        for namespace, made, has_it in (
            ("older", "2026-01-01T00:00:00Z", False),
            ("younger", "2026-01-02T00:00:00Z", True),
        )
    }
    for key in resources if is_first else reversed(resources):
        declared.heard(key, resources[key])
    older = Key("GitSource", "older", "repo")
    verdict = await declared.look(older, resources[older])
    assert verdict is not None
    assert {each.reason for each in verdict.conditions} == {"NameTaken"}


def declared_by(engine: Answering, dependents: Dependents) -> Declared:
    """A reconciler that holds and releases nothing."""
    return Declared(
        engine,  # type: ignore[arg-type]  # what it is asked here
        DefinitionBatches(engine, SystemClock()),  # type: ignore[arg-type]  # nothing is applied
        None,  # type: ignore[arg-type]  # nothing is held or released
        dependents,
        EnvironmentRule.NAMESPACE,
        lambda _: None,
        lambda _: None,
        lambda _: None,
    )
