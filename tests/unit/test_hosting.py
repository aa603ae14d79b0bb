"""What the settings make of worker hosts: processes by default, Jobs where that is said, and nothing that contradicts what must hold."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.executors.kubernetes import KubernetesExecutor
from pymigrate.engine.adapters.executors.local import LocalExecutor
from pymigrate.engine.application.host_tokens import HostTokens
from pymigrate.engine.domain.errors import InvalidDefinition
from pymigrate.engine.main.hosting import IDLE_SECONDS_OF_JOBS, build_hosting
from pymigrate.engine.settings import Settings

TOKENS = HostTokens("the engine's token", SystemClock())
KUBECONFIG = {
    "current-context": "c",
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:9", "insecure-skip-tls-verify": True}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "prod"}}],
}


def templated(monkeypatch: pytest.MonkeyPatch, folder: Path, worker: Mapping[str, object]) -> Settings:
    """Jobs by a template with that worker."""
    (folder / "kubeconfig").write_text(json.dumps(KUBECONFIG))
    (folder / "pod.yaml").write_text(json.dumps({"spec": {"containers": [{"name": "worker", **worker}]}}))
    monkeypatch.setenv("PYMIGRATE_KUBERNETES_KUBECONFIG", str(folder / "kubeconfig"))
    monkeypatch.setenv("PYMIGRATE_KUBERNETES_POD_TEMPLATE", str(folder / "pod.yaml"))
    return Settings(home=folder, executor="kubernetes")


def test_hosts_are_processes_that_idle_for_ever_where_nothing_is_said(tmp_path: Path) -> None:
    hosting = build_hosting(Settings(home=tmp_path), SystemClock(), TOKENS)
    assert isinstance(hosting.executor, LocalExecutor)
    assert (hosting.idling.seconds_max, hosting.host_bytes_max, list(hosting.loops())) == (None, 0, [])


async def test_hosts_that_are_jobs_hold_what_their_template_says_and_end_when_they_idle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = {"image": "mine:1", "resources": {"limits": {"memory": "2Gi"}}}
    hosting = build_hosting(templated(monkeypatch, tmp_path, worker), SystemClock(), TOKENS)
    assert isinstance(hosting.executor, KubernetesExecutor)
    assert (hosting.idling.seconds_max, hosting.host_bytes_max) == (IDLE_SECONDS_OF_JOBS, 2 * 2**30)
    assert len(hosting.work) == 1


def test_an_engine_does_not_start_with_a_template_that_contradicts_what_must_hold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    privileged = {"image": "mine:1", "securityContext": {"privileged": True}}
    settings = templated(monkeypatch, tmp_path, privileged)
    with pytest.raises(InvalidDefinition, match=r"spec\.containers\[0\]\.securityContext\.privileged"):
        build_hosting(settings, SystemClock(), TOKENS)
