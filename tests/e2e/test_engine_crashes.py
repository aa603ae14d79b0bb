"""kill -9 of the engine before and after each commit of its store, from a run's start to the end of its rollback. The next one goes on,
and nothing is lost, doubled or left.
"""

import pytest

from tests.e2e import crashing
from tests.e2e.crash_scene import COMMITS_MAX, PASSES, STORES, Scene, legacy, scene, side

ENGINE_COMMITS_MIN = 20
__all__ = ["legacy", "scene"]


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("when", PASSES)
@pytest.mark.parametrize("scene", STORES, indirect=True)
def test_an_engine_that_is_killed_at_any_commit_of_its_store_goes_on(scene: Scene, when: str) -> None:
    for commit in range(1, COMMITS_MAX):
        crashing.order(scene.engine.home, side(when, commit), commit)
        scene.pass_once()
        if crashing.is_ordered(scene.engine.home):
            assert commit > ENGINE_COMMITS_MIN
            return
    raise AssertionError("a run makes more commits than anybody thought")
