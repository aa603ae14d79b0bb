"""Several operators: one that loses its Lease, one that stood still, and two that both believe that they lead."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from pymigrate.engine.ports.cluster import LEASES
from tests.e2e.chaos import ChaosScene, approval, changes_objects, held
from tests.e2e.operators import OperatorProcess
from tests.kube_faults import Fault, Request, said
from tests.kube_proxy import KubeProxy, kube_proxy

EXIT_LOST = 75


@dataclass(frozen=True, slots=True)
class Candidate:
    """An operator in a process of its own, with what it asks of the API through a proxy of its own."""

    process: OperatorProcess
    proxy: KubeProxy

    def written(self) -> list[Request]:
        """What it has written, but for the Lease."""
        return [request for request in self.proxy.writes if changes_objects(request)]


@contextmanager
def candidate(scene: ChaosScene, name: str) -> Iterator[Candidate]:
    """One that works, or waits for its turn, until the end."""
    folder = scene.engine.home / name
    folder.mkdir()
    with kube_proxy(scene.grounds.server, folder) as proxy:
        kubeconfig = proxy.kubeconfig(f"{name}-of-{scene.namespace}", scene.grounds.server.token)
        environment = {
            "PYMIGRATE_OPERATOR_NAMESPACE": scene.namespace,
            "PYMIGRATE_OPERATOR_ENVIRONMENTS": "annotation",
            "PYMIGRATE_OPERATOR_LEASE": "chaos",
            "PYMIGRATE_OPERATOR_LEASE_NAMESPACE": scene.namespace,
        }
        process = OperatorProcess(scene.engine.home, kubeconfig, environment, name, is_warm=True)
        process.start()
        try:
            yield Candidate(process, proxy)
        finally:
            process.kill()


@pytest.fixture
async def two(scene: ChaosScene) -> AsyncIterator[tuple[Candidate, Candidate]]:
    """The first leads, with a Run that waits for an approval; the second waits for its turn."""
    with candidate(scene, "first") as first:
        await scene.apply_world(orders=held())
        await scene.apply("Run shared", {"plan": "p"})
        await scene.until_told("Run shared", "ApprovalRequired", "Stalled")
        with candidate(scene, "second") as second:
            await scene.eventually(lambda: any("/leases/" in each.path for each in list(second.proxy.requests)))
            assert second.written() == []
            yield first, second


async def approved(scene: ChaosScene) -> None:
    spec = {"plan": "p", "gateApprovals": [approval(await scene.get("Plan p"))]}
    await scene.apply("Run shared", spec)
    await scene.apply("Run fresh", spec)


async def assert_done(scene: ChaosScene) -> None:
    lives = [await scene.until_told(name, "Succeeded", status="True") for name in ("Run shared", "Run fresh")]
    scene.assert_one_run_each(*lives)


async def test_a_leader_that_stood_still_writes_nothing_when_it_comes_back_and_ends(
    scene: ChaosScene, two: tuple[Candidate, Candidate]
) -> None:
    first, second = two
    first.process.process.send_signal(signal.SIGSTOP)
    written = len(first.written())
    await approved(scene)
    await assert_done(scene)
    await scene.apply("Department sales", {"users": 9})
    await scene.until_told("Department sales", "Applied", status="True")
    first.process.process.send_signal(signal.SIGCONT)
    assert await asyncio.to_thread(first.process.process.wait, 30) == EXIT_LOST
    assert len(first.written()) == written
    assert second.written()


async def test_a_leader_that_can_renew_its_lease_no_longer_ends_before_another_takes_over(
    scene: ChaosScene, two: tuple[Candidate, Candidate]
) -> None:
    first, second = two
    failure = Fault(status=500, body=said(500, "InternalError", "etcdserver: timeout"))
    first.proxy.rule(failure, path="/leases", times=1_000)
    assert await asyncio.to_thread(first.process.process.wait, 60) == EXIT_LOST
    assert second.written() == []
    await approved(scene)
    await assert_done(scene)
    assert second.written()


async def test_a_leader_whose_lease_somebody_took_ends(scene: ChaosScene, two: tuple[Candidate, Candidate]) -> None:
    first, _ = two
    await scene.cluster.patch(LEASES, scene.namespace, "chaos", {"spec": {"holderIdentity": "somebody"}})
    assert await asyncio.to_thread(first.process.process.wait, 60) == EXIT_LOST
    await approved(scene)
    await assert_done(scene)


async def test_two_operators_that_both_believe_that_they_lead_start_each_run_once(scene: ChaosScene) -> None:
    async with scene.operated() as one, scene.operated() as other:
        await scene.apply_world(orders=held())
        spec = {"plan": "p", "gateApprovals": [approval(await scene.get("Plan p"))]}
        names = [f"Run both-{number}" for number in range(8)]
        await asyncio.gather(*(scene.apply(name, spec) for name in names))
        lives = [await scene.until_told(name, "Succeeded", status="True") for name in names]
        for name in names[:4]:
            await scene.delete(name)
        for name in names[:4]:
            await scene.until_gone(name)
    assert all({"GetRun", "ApplyDefinitions"} & set(each.calls) for each in (one, other)), "both took part"
    scene.assert_one_run_each(*lives)
