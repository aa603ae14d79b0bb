"""Which ways in the settings open."""

from pathlib import Path
from typing import Any

import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.main.identity import build_ways_in
from pymigrate.engine.ports.cluster import ClusterMisconfigured
from pymigrate.engine.settings import Settings
from pymigrate.engine.testing.store import MemoryStore


def built(home: Path) -> Any:
    """What the environment's settings make."""
    return build_ways_in(Settings(home=home), "a-token-of-the-test", SystemClock(), MemoryStore())


async def test_without_settings_nothing_is_asked_outside(tmp_path: Path) -> None:
    ways_in = built(tmp_path)
    assert [*ways_in.loops()] == []
    await ways_in.close()


async def test_an_issuer_s_keys_are_looked_after_for_as_long_as_the_engine_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYMIGRATE_OIDC_ISSUER", "http://127.0.0.1:9")
    monkeypatch.setenv("PYMIGRATE_OIDC_AUDIENCE", "pymigrate")
    ways_in = built(tmp_path)
    loops = [*ways_in.loops()]
    assert len(loops) == 1
    loops[0].close()
    await ways_in.close()


async def test_a_cluster_s_tokens_take_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYMIGRATE_KUBERNETES_TOKENS", "true")
    monkeypatch.setenv("PYMIGRATE_KUBERNETES_KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ClusterMisconfigured):
        built(tmp_path)
