"""What waits for others is known before the engine is asked, so that nothing which happens until it has answered is missed."""

import pytest

from pymigrate.engine.domain.errors import FailedPrecondition
from pymigrate.engine.entrypoints.operator.declared import Declared
from pymigrate.engine.entrypoints.operator.dependents import Dependents
from pymigrate.engine.entrypoints.operator.objects import FINALIZER, EnvironmentRule, Key
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

    async def check(self, document: object) -> definition_pb2.ApplyDefinitionsResponse:
        self.waiting.extend(self._dependents.of("prod"))
        problem = definition_pb2.DefinitionProblem(path="spec.bases", description="there is none", is_missing=True)
        return definition_pb2.ApplyDefinitionsResponse(problems=[problem])


@pytest.mark.parametrize("is_deleted", [True, False])
async def test_who_is_refused_waits_since_before_the_engine_was_asked(is_deleted: bool) -> None:
    dependents = Dependents()
    engine = Answering(dependents)
    declared = Declared(
        engine,  # type: ignore[arg-type]  # what it is asked here
        None,  # type: ignore[arg-type]  # nothing is held or released
        dependents,
        EnvironmentRule.NAMESPACE,
        lambda _: None,
        lambda _: None,
        lambda _: None,
    )
    metadata = {"name": "prod", "namespace": "prod", "uid": "1", "generation": 1}
    if is_deleted:
        metadata |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FINALIZER]}
    found = {"metadata": metadata, "spec": {}}
    await declared.look(KEY, found)
    assert engine.waiting == [KEY]
    assert tuple(dependents.of("prod")) == (KEY,)
