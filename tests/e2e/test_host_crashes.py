"""kill -9 of the worker host before and after each commit of its targets, from a run's start to the end of its rollback. It is replaced,
and nothing is lost, doubled or left.
"""

import pytest

from tests.e2e.crash_scene import COMMITS_MAX, PASSES, STORES, Scene, legacy, scene, side
from tests.e2e.engines import wait_until

HOST_COMMITS_MIN = 8
__all__ = ["legacy", "scene"]


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("when", PASSES)
@pytest.mark.parametrize("scene", STORES, indirect=True)
def test_a_host_that_is_killed_at_any_commit_of_its_targets_is_replaced(scene: Scene, when: str) -> None:
    for commit in range(1, COMMITS_MAX):
        wait_until(lambda: bool(scene.engine.host_pids()))
        scene.watcher.order(side(when, commit), commit, scene.host())
        scene.pass_once()
        if scene.watcher.is_ordered:
            assert commit > HOST_COMMITS_MIN
            return
    raise AssertionError("a run makes more commits than anybody thought")
