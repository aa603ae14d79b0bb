"""What the operator needs of a cluster is taken from it and given back: its types, a verb of its Role, its token."""

import asyncio

from tests.clusters import Cluster
from tests.e2e.chaos import ChaosScene, approval, define, held, run_name
from tests.e2e.onlooking import WATCHED

GROUP = "pymigrate.io"
READING = ["get", "list", "watch"]


def rules(*writing: str) -> list[dict[str, list[str]]]:
    """What the operator may do in its namespace."""
    return [
        {"apiGroups": [GROUP], "resources": ["*"], "verbs": [*READING, *writing]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch", "get"]},
    ]


def give(server: Cluster, namespace: str, *writing: str) -> str:
    return server.service_account(namespace, "operator", rules(*writing))


async def answered(scene: ChaosScene, status: int) -> None:
    """Until the API has said so to the operator from now on."""
    known = len(scene.grounds.proxy.requests)
    await scene.eventually(lambda: any(each.status == status for each in list(scene.grounds.proxy.requests)[known:]))


async def test_types_that_are_deleted_take_their_runs_with_them_and_are_followed_again_once_they_are_back(
    scene: ChaosScene,
) -> None:
    server = scene.grounds.server
    names = [f"{word.lower()}s.{GROUP}" for word in WATCHED]
    async with scene.operated():
        await scene.apply_world(orders=held())
        await scene.apply("Run first", {"plan": "p"})
        await scene.until_told("Run first", "ApprovalRequired", "Stalled")
        await asyncio.to_thread(server.kubectl, "delete", "crd", "--timeout=60s", *names)
        await asyncio.to_thread(define, server)
        await scene.apply_world(orders=held())
        spec = {"plan": "p", "gateApprovals": [approval(await scene.get("Plan p"))]}
        await scene.apply("Run second", spec)
        second = run_name(await scene.until_told("Run second", "Succeeded", status="True"))
    assert {name: state for name, state in scene.runs().items() if state != "cancelled"} == {second: "succeeded"}
    assert scene.engine.begun == {(second, "orders"): 1}


async def test_a_verb_that_is_revoked_holds_up_what_needs_it_and_nothing_is_done_twice_once_it_is_back(
    scene: ChaosScene,
) -> None:
    server, namespace = scene.grounds.server, scene.namespace
    token = give(server, namespace, "patch", "update")
    async with scene.operated(token=token):
        await scene.apply_world(orders=held())
        await scene.apply("Run first", {"plan": "p"})
        await scene.until_told("Run first", "ApprovalRequired", "Stalled")
        give(server, namespace)
        spec = {"plan": "p", "gateApprovals": [approval(await scene.get("Plan p"))]}
        refused = asyncio.ensure_future(answered(scene, 403))
        await scene.apply("Run first", spec)
        await scene.apply("Run second", spec)
        await refused
        assert len(scene.runs()) == 1
        give(server, namespace, "patch", "update")
        lives = [await scene.until_told(name, "Succeeded", status="True") for name in ("Run first", "Run second")]
    scene.assert_one_run_each(*lives)


async def test_types_that_may_not_be_watched_are_followed_again_once_they_may(scene: ChaosScene) -> None:
    server, namespace = scene.grounds.server, scene.namespace
    token = give(server, namespace, "patch", "update")
    async with scene.operated(token=token, watch_seconds=1):
        await scene.apply_world()
        server.kubectl("delete", "rolebinding", "operator", "-n", namespace)
        await answered(scene, 403)
        await scene.apply("Run first", {"plan": "p"})
        give(server, namespace, "patch", "update")
        first = await scene.until_told("Run first", "Succeeded", status="True")
    scene.assert_one_run_each(first)


async def test_a_token_that_is_taken_away_is_replaced_by_the_one_that_lies_there_by_then(scene: ChaosScene) -> None:
    server, namespace = scene.grounds.server, scene.namespace
    token = give(server, namespace, "patch", "update")
    async with scene.operated(token=token, watch_seconds=1):
        await scene.apply_world()
        server.kubectl("delete", "serviceaccount", "operator", "-n", namespace)
        await answered(scene, 401)
        await scene.apply("Run first", {"plan": "p"})
        scene.kubeconfig(give(server, namespace, "patch", "update"))
        first = await scene.until_told("Run first", "Succeeded", status="True")
    scene.assert_one_run_each(first)
