"""Writes under optimistic concurrency, held on the fake and on a real API server alike."""

import pytest

from pymigrate.engine.ports.cluster import (
    EVENTS,
    JOBS,
    LEASES,
    PODS,
    ObjectConflict,
    ObjectExists,
    ObjectMissing,
    ObjectRefused,
    ResourceType,
)
from tests.integration.cluster.places import GADGETS, UNKNOWN, WIDGETS, Place, body, name_of, version_of

MOMENT, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
LEASE = {"holderIdentity": "one", "leaseDurationSeconds": 15}


async def test_what_was_made_is_read_as_it_was_answered(place: Place) -> None:
    made = await place.cluster.create(WIDGETS, body(WIDGETS, place, spec={"size": 1}, labels={"app": "x"}))
    assert made["metadata"]["uid"]
    assert made["metadata"]["creationTimestamp"]
    assert made["metadata"]["generation"] == 1
    assert (made["apiVersion"], made["kind"], made["spec"]) == (WIDGETS.api_version, "Widget", {"size": 1})
    assert await place.cluster.get(WIDGETS, place.namespace, "one") == made


async def test_a_name_is_taken_once(place: Place) -> None:
    await place.cluster.create(WIDGETS, body(WIDGETS, place))
    with pytest.raises(ObjectExists, match="409"):
        await place.cluster.create(WIDGETS, body(WIDGETS, place))


async def test_a_generated_name_begins_as_it_was_asked(place: Place) -> None:
    wanted = body(WIDGETS, place)
    wanted["metadata"] = {"namespace": place.namespace, "generateName": "event-"}
    first, second = [await place.cluster.create(WIDGETS, wanted) for _ in range(2)]
    assert name_of(first).startswith("event-")
    assert name_of(first) != name_of(second)


async def test_a_dry_run_answers_and_leaves_nothing(place: Place) -> None:
    told = await place.cluster.create(WIDGETS, body(WIDGETS, place, spec={"size": 1}), is_dry_run=True)
    assert told["spec"] == {"size": 1}
    with pytest.raises(ObjectMissing):
        await place.cluster.get(WIDGETS, place.namespace, "one")
    await place.cluster.create(WIDGETS, body(WIDGETS, place))
    with pytest.raises(ObjectExists):
        await place.cluster.create(WIDGETS, body(WIDGETS, place), is_dry_run=True)


async def test_the_status_is_not_made_with_the_object_where_it_has_a_subresource(place: Place) -> None:
    made = await place.cluster.create(WIDGETS, body(WIDGETS, place, spec={"size": 1}, status={"ready": True}))
    assert "status" not in made
    made = await place.cluster.create(GADGETS, body(GADGETS, place, spec={"size": 1}, status={"ready": True}))
    assert made["status"] == {"ready": True}


async def test_a_replacement_of_the_version_that_was_read_is_the_next_version(place: Place) -> None:
    made = await place.cluster.create(WIDGETS, body(WIDGETS, place, spec={"size": 1}))
    changed = await place.cluster.replace(WIDGETS, {**made, "spec": {"size": 2}})
    assert (changed["spec"], changed["metadata"]["generation"]) == ({"size": 2}, 2)
    assert int(version_of(changed)) > int(version_of(made))
    assert await place.cluster.get(WIDGETS, place.namespace, "one") == changed


async def test_a_replacement_of_an_older_version_is_a_conflict(place: Place) -> None:
    made = await place.cluster.create(WIDGETS, body(WIDGETS, place, spec={"size": 1}))
    changed = await place.cluster.replace(WIDGETS, {**made, "spec": {"size": 2}})
    with pytest.raises(ObjectConflict, match="409"):
        await place.cluster.replace(WIDGETS, {**made, "spec": {"size": 3}})
    assert await place.cluster.get(WIDGETS, place.namespace, "one") == changed


async def test_a_replacement_of_another_object_of_that_name_is_a_conflict(place: Place) -> None:
    made = await place.cluster.create(LEASES, body(LEASES, place, spec=LEASE))
    await place.cluster.delete(LEASES, place.namespace, "one")
    again = await place.cluster.create(LEASES, body(LEASES, place, spec=LEASE))
    with pytest.raises(ObjectConflict):
        await place.cluster.replace(LEASES, {**made, "spec": {**LEASE, "holderIdentity": "two"}})
    assert (await place.cluster.get(LEASES, place.namespace, "one"))["metadata"] == again["metadata"]


async def test_a_replacement_makes_a_lease_that_is_missing_but_not_in_place_of_another_one(place: Place) -> None:
    made = await place.cluster.replace(LEASES, body(LEASES, place, spec=LEASE))
    await place.cluster.delete(LEASES, place.namespace, "one")
    with pytest.raises(ObjectConflict):
        await place.cluster.replace(LEASES, made)
    stale = {**made, "metadata": {key: value for key, value in made["metadata"].items() if key != "uid"}}
    again = await place.cluster.replace(LEASES, stale)
    assert again["metadata"]["uid"] != made["metadata"]["uid"]


async def test_a_custom_resource_is_replaced_under_a_version_only(place: Place) -> None:
    await place.cluster.create(WIDGETS, body(WIDGETS, place))
    with pytest.raises(ObjectRefused, match="resourceVersion"):
        await place.cluster.replace(WIDGETS, body(WIDGETS, place, spec={"size": 3}))


async def test_a_replacement_touches_no_status(place: Place) -> None:
    await place.cluster.create(WIDGETS, body(WIDGETS, place, spec={"size": 1}))
    told = await place.cluster.patch(WIDGETS, place.namespace, "one", {"status": {"ready": True}}, subresource="status")
    changed = await place.cluster.replace(WIDGETS, {**told, "spec": {"size": 2}, "status": {"ready": False}})
    assert changed["status"] == {"ready": True}


async def test_a_patch_of_the_status_touches_nothing_else(place: Place) -> None:
    made = await place.cluster.create(WIDGETS, body(WIDGETS, place, spec={"size": 1}))
    patch = {"spec": {"size": 9}, "metadata": {"labels": {"a": "b"}}, "status": {"ready": True}}
    told = await place.cluster.patch(WIDGETS, place.namespace, "one", patch, subresource="status")
    assert (told["spec"], told["status"], told["metadata"]["generation"]) == ({"size": 1}, {"ready": True}, 1)
    assert "labels" not in told["metadata"]
    assert int(version_of(told)) > int(version_of(made))


async def test_a_patch_merges(place: Place) -> None:
    await place.cluster.create(WIDGETS, body(WIDGETS, place, spec={"size": 1, "tags": ["a"], "in": {"a": 1, "b": 2}}))
    patch = {"spec": {"tags": ["b"], "in": {"a": None, "c": 3}}, "metadata": {"annotations": {"k": "v"}}}
    told = await place.cluster.patch(WIDGETS, place.namespace, "one", patch)
    assert told["spec"] == {"size": 1, "tags": ["b"], "in": {"b": 2, "c": 3}}
    assert told["metadata"]["annotations"] == {"k": "v"}
    assert told["metadata"]["generation"] == 2


async def test_metadata_alone_is_no_new_generation(place: Place) -> None:
    await place.cluster.create(WIDGETS, body(WIDGETS, place, spec={"size": 1}))
    told = await place.cluster.patch(WIDGETS, place.namespace, "one", {"metadata": {"labels": {"a": "b"}}})
    assert (told["metadata"]["labels"], told["metadata"]["generation"]) == ({"a": "b"}, 1)


async def test_without_a_subresource_the_status_is_a_field_like_any_other(place: Place) -> None:
    await place.cluster.create(GADGETS, body(GADGETS, place, spec={"size": 1}))
    told = await place.cluster.patch(GADGETS, place.namespace, "one", {"status": {"ready": True}})
    assert (told["status"], told["metadata"]["generation"]) == ({"ready": True}, 2)
    with pytest.raises(ObjectMissing, match="404"):
        await place.cluster.patch(GADGETS, place.namespace, "one", {"status": {}}, subresource="status")


async def test_a_patch_of_an_older_version_is_a_conflict(place: Place) -> None:
    made = await place.cluster.create(WIDGETS, body(WIDGETS, place, spec={"size": 1}))
    patch = {"metadata": {"resourceVersion": version_of(made)}, "status": {"ready": True}}
    await place.cluster.patch(WIDGETS, place.namespace, "one", patch, subresource="status")
    with pytest.raises(ObjectConflict):
        await place.cluster.patch(
            WIDGETS, place.namespace, "one", {**patch, "status": {"ready": False}}, subresource="status"
        )
    found = await place.cluster.get(WIDGETS, place.namespace, "one")
    assert found["status"] == {"ready": True}


async def test_a_patch_that_changes_nothing_is_no_new_version(place: Place) -> None:
    made = await place.cluster.create(WIDGETS, body(WIDGETS, place, spec={"size": 1}))
    assert version_of(await place.cluster.patch(WIDGETS, place.namespace, "one", {"spec": {"size": 1}})) == version_of(
        made
    )


async def test_what_is_missing_is_told_apart_from_an_unknown_type(place: Place) -> None:
    cluster, namespace = place.cluster, place.namespace
    for call in (
        cluster.get(WIDGETS, namespace, "nobody"),
        cluster.patch(WIDGETS, namespace, "nobody", {"spec": {}}),
        cluster.replace(WIDGETS, body(WIDGETS, place, "nobody", spec={})),
        cluster.delete(WIDGETS, namespace, "nobody"),
        cluster.create(WIDGETS, {**body(WIDGETS, place), "metadata": {"name": "one", "namespace": "nowhere"}}),
    ):
        with pytest.raises(ObjectMissing) as caught:
            await call
        assert not caught.value.is_type_missing, caught.value
    for call in (
        cluster.get(UNKNOWN, namespace, "nobody"),
        cluster.patch(UNKNOWN, namespace, "nobody", {"spec": {}}),
        cluster.delete(UNKNOWN, namespace, "nobody"),
        cluster.create(UNKNOWN, body(UNKNOWN, place)),
    ):
        with pytest.raises(ObjectMissing) as caught:
            await call
        assert caught.value.is_type_missing, caught.value
    with pytest.raises(ObjectMissing) as caught:
        await cluster.list(UNKNOWN, namespace)
    assert caught.value.is_type_missing


@pytest.mark.parametrize("name", ["", "UPPER", "under_score", "-dash", "a/b", "..", "x" * 254])
async def test_what_is_no_name_is_refused(place: Place, name: str) -> None:
    with pytest.raises(ObjectRefused):
        await place.cluster.create(WIDGETS, body(WIDGETS, place, name))


@pytest.mark.parametrize("name", ["", "..", "."])
async def test_without_a_name_nothing_is_deleted(place: Place, name: str) -> None:
    await place.cluster.create(WIDGETS, body(WIDGETS, place))
    with pytest.raises(ObjectRefused):
        await place.cluster.delete(WIDGETS, place.namespace, name)
    with pytest.raises(ObjectRefused):
        await place.cluster.delete(WIDGETS, "", "one")
    assert await place.cluster.get(WIDGETS, place.namespace, "one")


async def test_an_object_of_another_kind_is_refused(place: Place) -> None:
    with pytest.raises(ObjectRefused):
        await place.cluster.create(WIDGETS, body(WIDGETS, place) | {"kind": "Gadget"})
    with pytest.raises(ObjectRefused):
        await place.cluster.create(JOBS, body(JOBS, place) | {"apiVersion": "v1"})


async def test_a_version_is_not_made(place: Place) -> None:
    wanted = body(WIDGETS, place)
    wanted["metadata"]["resourceVersion"] = "7"
    with pytest.raises(ObjectRefused):
        await place.cluster.create(WIDGETS, wanted)


@pytest.mark.parametrize("kind", [JOBS, PODS])
async def test_the_status_of_jobs_and_pods_is_written_by_its_subresource_alone(
    place: Place, kind: ResourceType
) -> None:
    pod = {"containers": [{"name": "one", "image": "none"}], "restartPolicy": "Never"}
    spec = pod if kind == PODS else {"template": {"spec": pod}}
    # What the Job controller, where there is one, leaves as it is.
    field, mine, told_later = ("message", "mine", "told") if kind == PODS else ("startTime", MOMENT, LATER)
    made = await place.cluster.create(kind, body(kind, place, spec=spec, status={field: mine}))
    assert field not in (made.get("status") or {})
    patch = {"status": {field: told_later}}
    told = await place.cluster.patch(kind, place.namespace, "one", patch, subresource="status")
    assert told["status"][field] == told_later
    changed = await place.cluster.patch(
        kind, place.namespace, "one", {"metadata": {"labels": {"a": "b"}}, "status": {field: None}}
    )
    assert (changed["status"][field], changed["metadata"]["labels"]["a"]) == (told_later, "b")
    assert "generation" not in changed["metadata"]


async def test_an_event_is_made_and_counted_up(place: Place) -> None:
    regarding = {"involvedObject": {"kind": "Widget", "name": "one", "namespace": place.namespace}}
    await place.cluster.create(EVENTS, body(EVENTS, place, "one.1", reason="Made", count=1, **regarding))
    told = await place.cluster.patch(EVENTS, place.namespace, "one.1", {"count": 2})
    assert (told["count"], told["reason"]) == (2, "Made")
