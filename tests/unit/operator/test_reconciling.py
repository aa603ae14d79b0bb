"""Passes over custom resources whose API says now and then what is not so."""

import random
from typing import cast

import pytest

from pymigrate.engine.domain.errors import TemporaryError
from pymigrate.engine.entrypoints.operator.objects import Key
from pymigrate.engine.entrypoints.operator.reconciling import Reconciling
from pymigrate.engine.entrypoints.operator.status_writing import StatusWriter
from pymigrate.engine.entrypoints.operator.verdicts import Verdict
from pymigrate.engine.ports.cluster import Cluster, Object, ObjectConflict, ObjectMissing
from pymigrate.engine.testing.clock import ManualClock

KEY = Key("Run", "shop", "r")
FOUND: Object = {"metadata": {"name": "r", "namespace": "shop", "uid": "u", "generation": 1, "resourceVersion": "7"}}


class Missing:
    """An API server and a reconciler to which nothing of the kind is there."""

    def __init__(self, error: type[Exception]) -> None:
        self.mirrored: Object | None = FOUND
        self.lost: list[Key] = []
        self._error = error
        cluster, writer = (
            cast(Cluster, self),
            StatusWriter(cast(Cluster, self), ManualClock(), self._note, self._turned),
        )
        self.passes = Reconciling(cluster, writer, {"Run": self}, random.Random(1), lambda _: self.mirrored, self._note)

    async def look(self, key: Key, found: Object) -> Verdict | None:
        raise ObjectMissing("404", is_type_missing=True) if self._error is ObjectMissing else ObjectConflict("409")

    def gone(self, key: Key) -> None:
        self.lost.append(key)

    async def get(self, *_: object) -> Object:
        raise ObjectMissing("404", is_type_missing=True)

    def _note(self, key: Key, found: Object) -> None:
        raise AssertionError("nothing was written")

    def _turned(self, *_: object) -> None:
        raise AssertionError("nothing was told")


@pytest.mark.parametrize("error", [ObjectMissing, ObjectConflict])
async def test_what_an_api_server_that_begins_does_not_know_yet_is_looked_at_again(error: type[Exception]) -> None:
    scene = Missing(error)
    with pytest.raises(TemporaryError, match="looked at again"):
        await scene.passes.work(KEY)
    assert scene.lost == []


async def test_what_the_mirror_has_lost_too_is_gone() -> None:
    scene = Missing(ObjectMissing)
    scene.mirrored = None
    assert await scene.passes.work(KEY) is None
    assert scene.lost == [KEY]
