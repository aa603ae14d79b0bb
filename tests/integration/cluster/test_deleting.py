"""How objects go, held on the fake and on a real API server with its garbage collector alike."""

from collections.abc import Sequence
from functools import partial

import pytest

from pymigrate.engine.ports.cluster import (
    LEASES,
    PODS,
    ChangeKind,
    Object,
    ObjectConflict,
    ObjectMissing,
    ObjectRefused,
    Propagation,
)
from tests.integration.cluster.places import (
    NAMESPACES,
    WIDGETS,
    Place,
    body,
    changes,
    is_gone,
    name_of,
    until,
    version_of,
)

HELD = "conformance.example/held"
CONTAINERS = [{"name": "one", "image": "none"}]


def reference(owner: Object, *, blocks: bool = True) -> dict[str, object]:
    metadata = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "blockOwnerDeletion": blocks,
    }


# The real collector learns of custom resources each half minute: what it is asked about here it knows from the start.
async def owned(place: Place, names: Sequence[str] = ("child",), **fields: object) -> Object:
    owner = await place.cluster.create(LEASES, body(LEASES, place, "owner"))
    for name in names:
        await place.cluster.create(LEASES, body(LEASES, place, name, ownerReferences=[reference(owner)], **fields))
    return owner


async def test_what_nothing_holds_is_gone(place: Place) -> None:
    await place.cluster.create(WIDGETS, body(WIDGETS, place))
    await place.cluster.delete(WIDGETS, place.namespace, "one")
    with pytest.raises(ObjectMissing):
        await place.cluster.get(WIDGETS, place.namespace, "one")


async def test_a_uid_spares_another_object_of_that_name(place: Place) -> None:
    first = await place.cluster.create(WIDGETS, body(WIDGETS, place))
    await place.cluster.delete(WIDGETS, place.namespace, "one", uid=first["metadata"]["uid"])
    second = await place.cluster.create(WIDGETS, body(WIDGETS, place))
    with pytest.raises(ObjectConflict, match="409"):
        await place.cluster.delete(WIDGETS, place.namespace, "one", uid=first["metadata"]["uid"])
    assert await place.cluster.get(WIDGETS, place.namespace, "one") == second


async def test_a_finalizer_holds_until_it_is_taken_off(place: Place) -> None:
    made = await place.cluster.create(WIDGETS, body(WIDGETS, place, finalizers=[HELD], spec={"size": 1}))
    await place.cluster.delete(WIDGETS, place.namespace, "one")
    marked = await place.cluster.get(WIDGETS, place.namespace, "one")
    assert marked["metadata"]["deletionTimestamp"]
    assert marked["metadata"]["finalizers"] == [HELD]
    assert marked["metadata"]["generation"] == 2
    await place.cluster.delete(WIDGETS, place.namespace, "one")
    assert version_of(await place.cluster.get(WIDGETS, place.namespace, "one")) == version_of(marked)
    await place.cluster.patch(WIDGETS, place.namespace, "one", {"metadata": {"finalizers": None}})
    assert await is_gone(place, WIDGETS, "one")
    told = await changes(place, WIDGETS, version_of(made), 2)
    assert [kind for kind, _ in told] == [ChangeKind.MODIFIED, ChangeKind.DELETED]


async def test_what_is_being_deleted_is_written_and_takes_no_new_finalizer(place: Place) -> None:
    await place.cluster.create(WIDGETS, body(WIDGETS, place, finalizers=[HELD]))
    await place.cluster.delete(WIDGETS, place.namespace, "one")
    told = await place.cluster.patch(
        WIDGETS, place.namespace, "one", {"status": {"ready": False}}, subresource="status"
    )
    assert told["status"] == {"ready": False}
    with pytest.raises(ObjectRefused):
        await place.cluster.patch(
            WIDGETS, place.namespace, "one", {"metadata": {"finalizers": [HELD, "conformance.example/more"]}}
        )
    unmarked = await place.cluster.patch(WIDGETS, place.namespace, "one", {"metadata": {"deletionTimestamp": None}})
    assert unmarked["metadata"]["deletionTimestamp"] == told["metadata"]["deletionTimestamp"]


async def test_a_name_is_free_once_its_object_is_gone_and_not_before(place: Place) -> None:
    await place.cluster.create(WIDGETS, body(WIDGETS, place, finalizers=[HELD]))
    await place.cluster.delete(WIDGETS, place.namespace, "one")
    with pytest.raises(Exception, match="409"):
        await place.cluster.create(WIDGETS, body(WIDGETS, place))
    await place.cluster.patch(WIDGETS, place.namespace, "one", {"metadata": {"finalizers": []}})
    await place.cluster.create(WIDGETS, body(WIDGETS, place))


async def test_in_the_background_what_it_owns_goes_after_it(place: Place) -> None:
    await owned(place, ["first", "second"])
    await place.cluster.delete(LEASES, place.namespace, "owner", propagation=Propagation.BACKGROUND)
    assert await is_gone(place, LEASES, "owner")
    for name in ("first", "second"):
        await until(partial(is_gone, place, LEASES, name))


async def test_in_the_foreground_it_goes_after_what_it_owns(place: Place) -> None:
    await owned(place, finalizers=[HELD])
    await place.cluster.delete(LEASES, place.namespace, "owner", propagation=Propagation.FOREGROUND)
    marked = await place.cluster.get(LEASES, place.namespace, "owner")
    assert marked["metadata"]["finalizers"] == ["foregroundDeletion"]

    async def child_is_going() -> bool:
        child = await place.cluster.get(LEASES, place.namespace, "child")
        return "deletionTimestamp" in child["metadata"]

    await until(child_is_going)
    assert not await is_gone(place, LEASES, "owner")
    child = await place.cluster.get(LEASES, place.namespace, "child")
    left = [each for each in child["metadata"]["finalizers"] if each != HELD]
    await place.cluster.patch(LEASES, place.namespace, "child", {"metadata": {"finalizers": left or None}})
    await until(lambda: is_gone(place, LEASES, "owner"))
    assert await is_gone(place, LEASES, "child")


async def test_an_orphan_stays_without_its_owner(place: Place) -> None:
    await owned(place)
    await place.cluster.delete(LEASES, place.namespace, "owner", propagation=Propagation.ORPHAN)
    await until(lambda: is_gone(place, LEASES, "owner"))
    child = await place.cluster.get(LEASES, place.namespace, "child")
    assert not child["metadata"].get("ownerReferences")


async def test_what_has_another_owner_left_stays(place: Place) -> None:
    first = await place.cluster.create(LEASES, body(LEASES, place, "first"))
    second = await place.cluster.create(LEASES, body(LEASES, place, "second"))
    references = [reference(first), reference(second)]
    await place.cluster.create(LEASES, body(LEASES, place, "child", ownerReferences=references))
    await place.cluster.delete(LEASES, place.namespace, "first")

    async def is_disowned() -> bool:
        child = await place.cluster.get(LEASES, place.namespace, "child")
        return [one["name"] for one in child["metadata"]["ownerReferences"]] == ["second"]

    await until(is_disowned)


async def test_a_pod_on_a_node_goes_once_the_node_lets_it_go(place: Place) -> None:
    spec = {"nodeName": "node-1", "containers": CONTAINERS, "terminationGracePeriodSeconds": 7}
    await place.cluster.create(PODS, body(PODS, place, spec=spec))
    await place.cluster.delete(PODS, place.namespace, "one")
    marked = (await place.cluster.get(PODS, place.namespace, "one"))["metadata"]
    assert marked["deletionTimestamp"]
    assert marked["deletionGracePeriodSeconds"] == 7
    await place.cluster.delete(PODS, place.namespace, "one", grace_seconds=0)
    assert await is_gone(place, PODS, "one")


@pytest.mark.parametrize("phase", ["", "Failed", "Succeeded"])
async def test_a_pod_without_a_node_or_an_end_ahead_is_gone_at_once(place: Place, phase: str) -> None:
    spec = {"containers": CONTAINERS} | ({"nodeName": "node-1"} if phase else {})
    await place.cluster.create(PODS, body(PODS, place, spec=spec))
    if phase:
        await place.cluster.patch(PODS, place.namespace, "one", {"status": {"phase": phase}}, subresource="status")
    await place.cluster.delete(PODS, place.namespace, "one")
    assert await is_gone(place, PODS, "one")


async def test_a_namespace_takes_along_what_is_in_it(place: Place) -> None:
    await place.cluster.create(WIDGETS, body(WIDGETS, place))
    await place.cluster.delete(NAMESPACES, "", place.namespace)
    await until(lambda: is_gone(place, NAMESPACES, place.namespace))
    assert not [item for item in (await place.cluster.list(WIDGETS, place.namespace)).items if name_of(item) == "one"]
