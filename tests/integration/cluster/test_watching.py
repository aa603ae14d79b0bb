"""Lists and watches, held on the fake and on a real API server alike."""

import asyncio
from functools import partial

import pytest

from pymigrate.engine.ports.cluster import ChangeKind, ObjectMissing, ObjectRefused, WatchExpired
from tests.integration.cluster.places import (
    NAMESPACES,
    PASSING,
    UNKNOWN,
    WIDGETS,
    Place,
    body,
    changes,
    fresh_namespace,
    name_of,
    until,
    version_of,
)

ADDED, MODIFIED, DELETED = ChangeKind.ADDED, ChangeKind.MODIFIED, ChangeKind.DELETED


async def test_a_list_holds_what_there_is_and_says_what_each_is(place: Place) -> None:
    made = [await place.cluster.create(WIDGETS, body(WIDGETS, place, name)) for name in ("b", "a")]
    listing = await place.cluster.list(WIDGETS, place.namespace)
    assert list(listing.items) == made[::-1]
    assert int(listing.resource_version) >= int(version_of(made[1]))
    assert (await place.cluster.list(NAMESPACES)).items[0]["kind"] == "Namespace"


async def test_a_namespace_s_list_is_its_own_and_that_of_all_is_everybody_s(place: Place) -> None:
    other = fresh_namespace()
    await place.cluster.create(NAMESPACES, {"metadata": {"name": other}})
    there = body(WIDGETS, place, "theirs")
    there["metadata"]["namespace"] = other
    await place.cluster.create(WIDGETS, there)
    await place.cluster.create(WIDGETS, body(WIDGETS, place, "ours"))
    assert [name_of(item) for item in (await place.cluster.list(WIDGETS, place.namespace)).items] == ["ours"]
    everywhere = (await place.cluster.list(WIDGETS)).items
    assert {"ours", "theirs"} <= {name_of(item) for item in everywhere}
    assert (await place.cluster.list(WIDGETS, "nowhere")).items == []


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("tier=front", ["a"]),
        ("tier==back", ["b"]),
        ("tier!=front", ["b", "c"]),
        ("tier", ["a", "b"]),
        ("!tier", ["c"]),
        ("tier in (front, back)", ["a", "b"]),
        ("tier notin (front)", ["b", "c"]),
        ("tier in (front,back),example.com/own!=x", ["b"]),
        ("tier=", []),
    ],
)
async def test_a_selector_takes_what_has_its_labels(place: Place, selector: str, names: list[str]) -> None:
    for name, labels in (("a", {"tier": "front", "example.com/own": "x"}), ("b", {"tier": "back"}), ("c", {})):
        await place.cluster.create(WIDGETS, body(WIDGETS, place, name, labels=labels))
    found = await place.cluster.list(WIDGETS, place.namespace, selector)
    assert [name_of(item) for item in found.items] == names


async def test_what_is_no_selector_is_refused(place: Place) -> None:
    with pytest.raises(ObjectRefused):
        await place.cluster.list(WIDGETS, place.namespace, "tier in (front")
    with pytest.raises(ObjectRefused):
        await anext(place.cluster.watch(WIDGETS, "1", place.namespace, "=x"))


async def test_a_watch_tells_in_order_what_happened_after_a_list(place: Place) -> None:
    await place.cluster.create(WIDGETS, body(WIDGETS, place, "before"))
    listing = await place.cluster.list(WIDGETS, place.namespace)
    made = await place.cluster.create(WIDGETS, body(WIDGETS, place, spec={"size": 1}))
    changed = await place.cluster.patch(WIDGETS, place.namespace, "one", {"spec": {"size": 2}})
    await place.cluster.delete(WIDGETS, place.namespace, "one")
    told = await changes(place, WIDGETS, listing.resource_version, 3)
    assert told[:2] == [(ADDED, made), (MODIFIED, changed)]
    kind, last = told[2]
    assert (kind, last["spec"], last["metadata"]["uid"]) == (DELETED, {"size": 2}, made["metadata"]["uid"])
    assert int(version_of(last)) > int(version_of(changed))


async def test_a_watch_goes_on_after_any_version_that_it_told(place: Place) -> None:
    listing = await place.cluster.list(WIDGETS, place.namespace)
    for name in ("a", "b", "c"):
        await place.cluster.create(WIDGETS, body(WIDGETS, place, name))
    [(_, first)] = await changes(place, WIDGETS, listing.resource_version, 1)
    rest = await changes(place, WIDGETS, version_of(first), 2)
    assert [name_of(item) for _, item in rest] == ["b", "c"]


async def test_a_watch_tells_of_its_namespace_alone(place: Place) -> None:
    other = fresh_namespace()
    await place.cluster.create(NAMESPACES, {"metadata": {"name": other}})
    listing = await place.cluster.list(WIDGETS)
    there = body(WIDGETS, place, "theirs")
    there["metadata"]["namespace"] = other
    await place.cluster.create(WIDGETS, there)
    await place.cluster.create(WIDGETS, body(WIDGETS, place, "ours"))
    [(_, first)] = await changes(place, WIDGETS, listing.resource_version, 1)
    assert name_of(first) == "ours"


async def test_what_begins_or_ends_to_fit_a_selector_comes_and_goes(place: Place) -> None:
    await place.cluster.create(WIDGETS, body(WIDGETS, place, labels={"tier": "back"}, spec={"size": 1}))
    listing = await place.cluster.list(WIDGETS, place.namespace, "tier=front")
    for labels in ({"tier": "front"}, {"more": "x"}, {"tier": "back"}):
        await place.cluster.patch(WIDGETS, place.namespace, "one", {"metadata": {"labels": labels}})
    told = await changes(place, WIDGETS, listing.resource_version, 3, "tier=front")
    assert [kind for kind, _ in told] == [ADDED, MODIFIED, DELETED]
    assert told[2][1]["metadata"]["labels"] == {"tier": "front", "more": "x"}
    now = await place.cluster.get(WIDGETS, place.namespace, "one")
    assert version_of(told[2][1]) == version_of(now)


async def test_a_version_that_nobody_remembers_has_expired(place: Place) -> None:
    await place.cluster.create(WIDGETS, body(WIDGETS, place))
    with pytest.raises(WatchExpired, match="410"):
        await anext(place.cluster.watch(WIDGETS, place.forgotten(WIDGETS), place.namespace))


async def test_a_watch_of_an_unknown_type_says_so(place: Place) -> None:
    with pytest.raises(ObjectMissing) as caught:
        await anext(place.cluster.watch(UNKNOWN, "1", place.namespace))
    assert caught.value.is_type_missing


async def test_a_type_whose_definition_goes_ends_its_watches_and_comes_back_empty(place: Place) -> None:
    place.serve(PASSING)
    await place.cluster.create(PASSING, body(PASSING, place))
    listing = await place.cluster.list(PASSING, place.namespace)
    watch = place.cluster.watch(PASSING, listing.resource_version, place.namespace)
    await place.cluster.create(PASSING, body(PASSING, place, "two"))
    assert name_of((await anext(watch)).object) == "two"
    await asyncio.to_thread(place.withdraw, PASSING)
    kinds = [change.kind async for change in watch]
    assert set(kinds) <= {DELETED, ChangeKind.BOOKMARK}
    await until(partial(_is_unknown, place))
    with pytest.raises(ObjectMissing):
        await place.cluster.create(PASSING, body(PASSING, place))
    place.serve(PASSING)
    await until(partial(_is_known, place))
    assert (await place.cluster.list(PASSING, place.namespace)).items == []


async def _is_unknown(place: Place) -> bool:
    try:
        await place.cluster.list(PASSING, place.namespace)
    except ObjectMissing as error:
        return error.is_type_missing
    return False


async def _is_known(place: Place) -> bool:
    return not await _is_unknown(place)
