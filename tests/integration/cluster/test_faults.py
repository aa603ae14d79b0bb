"""The adapter where the API, or the way to it, is not sound: seen through a proxy that spoils what rules say."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.kubernetes.cluster import KubernetesCluster
from pymigrate.engine.adapters.kubernetes.kubeconfig import kubeconfig_access
from pymigrate.engine.domain.errors import PyMigrateError
from pymigrate.engine.ports.cluster import (
    Change,
    ChangeKind,
    ClusterBusy,
    ClusterForbidden,
    ClusterUnauthenticated,
    ClusterUnavailable,
    ObjectConflict,
    ObjectMissing,
    ObjectRefused,
    WatchExpired,
)
from tests.clusters import Cluster as ApiServer
from tests.integration.cluster.places import NAMESPACES, WIDGETS, body, fresh_namespace, name_of, version_of
from tests.kube_faults import Fault, said
from tests.kube_proxy import KubeProxy, kube_proxy
from tests.kubectl import Kubectl

SECONDS_MAX = 20.0


@dataclass(frozen=True, slots=True)
class Spoilt:
    """A place behind a proxy, and what was told of each call."""

    cluster: KubernetesCluster
    namespace: str
    proxy: KubeProxy
    server: ApiServer
    calls: list[tuple[str, str, str]] = field(default_factory=list)


@pytest.fixture(scope="module")
def proxy(defined: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeProxy]:
    with kube_proxy(defined, tmp_path_factory.mktemp("proxy")) as made:
        yield made


@pytest.fixture
async def spoilt(defined: ApiServer, proxy: KubeProxy) -> AsyncIterator[Spoilt]:
    calls: list[tuple[str, str, str]] = []
    kubeconfig, clock = proxy.kubeconfig("spoilt", defined.token), SystemClock()
    cluster = KubernetesCluster(
        lambda: kubeconfig_access(kubeconfig, clock),
        clock,
        lambda verb, resource, code, _: calls.append((verb, resource, code)),
        call_seconds_max=3.0,
        watch_seconds=4,
        silence_margin_seconds=1.0,
        page_objects=3,
    )
    namespace = fresh_namespace()
    await cluster.create(NAMESPACES, {"metadata": {"name": namespace}})
    calls.clear()
    yield Spoilt(cluster, namespace, proxy, defined, calls)
    proxy.clear()
    proxy.mend()
    proxy.go_on()
    await cluster.close()


async def told(spoilt: Spoilt, version: str, count: int) -> list[Change]:
    """So many changes after a version, as one watch tells them."""
    return await told_by(spoilt.cluster.watch(WIDGETS, version, spoilt.namespace), count)


async def told_by(watch: AsyncGenerator[Change], count: int) -> list[Change]:
    """So many changes, without bookmarks, or fewer where it ends."""
    found: list[Change] = []
    async with asyncio.timeout(SECONDS_MAX), aclosing(watch):
        async for change in watch:
            if change.kind is not ChangeKind.BOOKMARK:
                found.append(change)
            if len(found) == count:
                break
    return found


@pytest.mark.parametrize(
    ("status", "fields", "reason", "error", "patience"),
    [
        (429, {"Retry-After": "7"}, "TooManyRequests", ClusterBusy, 7.0),
        (429, {}, "TooManyRequests", ClusterBusy, 1.0),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, "TooManyRequests", ClusterBusy, 1.0),
        (429, {"Retry-After": "86400"}, "TooManyRequests", ClusterBusy, 60.0),
        (503, {"Retry-After": "3"}, "ServiceUnavailable", ClusterBusy, 3.0),
        (503, {}, "ServiceUnavailable", ClusterUnavailable, 1.0),
        (500, {}, "InternalError", ClusterUnavailable, 1.0),
        (502, {}, "", ClusterUnavailable, 1.0),
        (504, {}, "Timeout", ClusterUnavailable, 1.0),
        (301, {"Location": "https://elsewhere.example/"}, "", ClusterUnavailable, 1.0),
        (401, {}, "Unauthorized", ClusterUnauthenticated, 1.0),
    ],
)
async def test_what_may_pass_is_an_error_with_patience(
    spoilt: Spoilt, status: int, fields: dict[str, str], reason: str, error: type[ClusterUnavailable], patience: float
) -> None:
    spoilt.proxy.rule(
        Fault(status=status, fields=fields, body=said(status, reason, "not now")), method="PATCH", times=9
    )
    with pytest.raises(error) as caught:
        await spoilt.cluster.patch(WIDGETS, spoilt.namespace, "one", {})
    assert type(caught.value) is error
    assert caught.value.retry_after_seconds == patience
    path = f"/apis/conformance.example/v1/namespaces/{spoilt.namespace}/widgets/one"
    assert caught.value.message.startswith(f"PATCH {path}: the API said {status}: not now")
    asked = 2 if status == 401 else 1
    assert spoilt.calls == [("patch", "widgets", str(status))] * asked


@pytest.mark.parametrize(
    ("status", "reason", "message", "error"),
    [
        (403, "Forbidden", 'widgets "one" is forbidden: User "x" cannot patch', ClusterForbidden),
        (400, "BadRequest", "admission webhook said no", ObjectRefused),
        (413, "RequestEntityTooLarge", "too large", ObjectRefused),
        (422, "Invalid", "spec.size: must be positive", ObjectRefused),
        (409, "Conflict", "modified", ObjectConflict),
    ],
)
async def test_what_does_not_pass_is_an_error_that_says_what_the_api_said(
    spoilt: Spoilt, status: int, reason: str, message: str, error: type[PyMigrateError]
) -> None:
    spoilt.proxy.rule(Fault(status=status, body=said(status, reason, message)), method="PATCH")
    with pytest.raises(error, match=message.replace("(", ".")) as caught:
        await spoilt.cluster.patch(WIDGETS, spoilt.namespace, "one", {})
    assert not caught.value.is_temporary


async def test_a_quota_that_several_write_at_once_is_no_conflict_of_what_is_made(spoilt: Spoilt) -> None:
    spoilt.proxy.rule(Fault(status=409, body=said(409, "Conflict", "resourcequotas: modified")), method="POST")
    with pytest.raises(ClusterBusy):
        await spoilt.cluster.create(WIDGETS, body(WIDGETS, spoilt))


async def test_an_answer_that_is_no_json_is_a_fault(spoilt: Spoilt) -> None:
    spoilt.proxy.rule(Fault(status=200, body=b"<html>"), method="GET")
    with pytest.raises(ClusterUnavailable, match="not JSON"):
        await spoilt.cluster.get(WIDGETS, spoilt.namespace, "one")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_connection_that_breaks_after_the_commit_is_told_once_and_nothing_is_sent_again(
    spoilt: Spoilt, method: str
) -> None:
    cluster, namespace = spoilt.cluster, spoilt.namespace
    made = await cluster.create(WIDGETS, body(WIDGETS, spoilt, spec={"size": 1}))
    before = len(spoilt.proxy.writes)
    spoilt.proxy.rule(Fault(closes_after=True), method=method)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "POST": lambda: cluster.create(WIDGETS, body(WIDGETS, spoilt, "two")),
        "PUT": lambda: cluster.replace(WIDGETS, {**made, "spec": {"size": 2}}),
        "PATCH": lambda: cluster.patch(WIDGETS, namespace, "one", {"spec": {"size": 2}}),
        "DELETE": lambda: cluster.delete(WIDGETS, namespace, "one"),
    }
    with pytest.raises(ClusterUnavailable, match="does not answer"):
        await calls[method]()
    assert [request.method for request in spoilt.proxy.writes[before:]] == [method]
    if method == "POST":
        assert await cluster.get(WIDGETS, namespace, "two")
    elif method == "DELETE":
        with pytest.raises(ObjectMissing):
            await cluster.get(WIDGETS, namespace, "one")
    else:
        assert (await cluster.get(WIDGETS, namespace, "one"))["spec"] == {"size": 2}


async def test_a_connection_that_breaks_before_is_told_and_nothing_is_done(spoilt: Spoilt) -> None:
    spoilt.proxy.rule(Fault(closes_before=True), method="POST")
    with pytest.raises(ClusterUnavailable):
        await spoilt.cluster.create(WIDGETS, body(WIDGETS, spoilt))
    await spoilt.cluster.create(WIDGETS, body(WIDGETS, spoilt))


async def test_a_call_that_is_not_answered_in_its_time_is_given_up(spoilt: Spoilt) -> None:
    spoilt.proxy.pause()
    with pytest.raises(ClusterUnavailable, match="silent for too long"):
        await spoilt.cluster.list(WIDGETS)
    assert spoilt.calls == [("list", "widgets", "error")]


async def test_nobody_who_listens_is_told_at_once(defined: ApiServer) -> None:
    cluster = KubernetesCluster.open(defined.kubeconfig("nobody", "x", address="https://127.0.0.1:9"))
    with pytest.raises(ClusterUnavailable, match="GET /api/v1/namespaces/default: the API does not answer"):
        await cluster.get(NAMESPACES, "", "default")
    await cluster.close()


async def test_a_server_that_another_authority_has_signed_is_not_spoken_to(
    defined: ApiServer, proxy: KubeProxy
) -> None:
    cluster = KubernetesCluster.open(defined.kubeconfig("other", defined.token, address=proxy.address))
    before = len(proxy.requests)
    with pytest.raises(ClusterUnavailable, match="TLS failed"):
        await cluster.get(NAMESPACES, "", "default")
    assert len(proxy.requests) == before
    await cluster.close()


async def test_an_authority_that_is_replaced_is_trusted_from_the_next_call_on(
    defined: ApiServer, proxy: KubeProxy, tmp_path: Path
) -> None:
    assert proxy.authority is not None
    authority = tmp_path / "authority.crt"
    authority.write_bytes(defined.certificate_file.read_bytes())
    path = defined.kubeconfig("replaced", defined.token, address=proxy.address, authority=authority)
    cluster = KubernetesCluster.open(path)
    with pytest.raises(ClusterUnavailable, match="TLS failed"):
        await cluster.get(NAMESPACES, "", "default")
    authority.write_bytes(proxy.authority.read_bytes())
    assert name_of(await cluster.get(NAMESPACES, "", "default")) == "default"
    await cluster.close()


@pytest.mark.parametrize(("name", "is_right"), [("localhost", True), ("elsewhere.example", False)])
async def test_the_name_that_a_kubeconfig_asks_for_is_the_one_that_is_verified(
    defined: ApiServer, proxy: KubeProxy, name: str, is_right: bool
) -> None:
    path = proxy.kubeconfig("named", defined.token)
    written = path.read_text().replace('"server":', f'"tls-server-name": "{name}", "server":')
    path.write_text(written)
    cluster = KubernetesCluster.open(path)
    if is_right:
        assert name_of(await cluster.get(NAMESPACES, "", "default")) == "default"
    else:
        with pytest.raises(ClusterUnavailable, match="TLS failed"):
            await cluster.get(NAMESPACES, "", "default")
    await cluster.close()


@pytest.mark.parametrize("split", [(1,), (7, 1, 300), (4_096,)])
async def test_a_watch_is_read_whole_wherever_its_bytes_are_split(spoilt: Spoilt, split: tuple[int, ...]) -> None:
    listing = await spoilt.cluster.list(WIDGETS, spoilt.namespace)
    made = [
        await spoilt.cluster.create(WIDGETS, body(WIDGETS, spoilt, name, spec={"text": "ä€😀\\n" * 200}))
        for name in ("a", "b", "c")
    ]
    spoilt.proxy.rule(Fault(split=split), matches=lambda request: request.is_watch)
    found = await told(spoilt, listing.resource_version, 3)
    assert [change.object for change in found] == made


async def test_a_watch_that_is_silent_for_longer_than_the_server_lets_one_live_is_dead(spoilt: Spoilt) -> None:
    listing = await spoilt.cluster.list(WIDGETS, spoilt.namespace)
    spoilt.proxy.rule(Fault(is_silent=True), matches=lambda request: request.is_watch)
    await spoilt.cluster.create(WIDGETS, body(WIDGETS, spoilt))
    with pytest.raises(ClusterUnavailable, match="silent for too long"):
        await told(spoilt, listing.resource_version, 1)
    assert len(await told(spoilt, listing.resource_version, 1)) == 1


async def test_a_watch_that_nothing_happens_to_ends_without_an_error(spoilt: Spoilt) -> None:
    listing = await spoilt.cluster.list(WIDGETS, spoilt.namespace)
    assert await told(spoilt, listing.resource_version, 1) == []


async def test_a_watch_whose_connection_breaks_says_so(spoilt: Spoilt) -> None:
    listing = await spoilt.cluster.list(WIDGETS, spoilt.namespace)
    await spoilt.cluster.create(WIDGETS, body(WIDGETS, spoilt))
    watch = spoilt.cluster.watch(WIDGETS, listing.resource_version, spoilt.namespace)
    assert (await anext(watch)).kind is ChangeKind.ADDED
    spoilt.proxy.cut()
    with pytest.raises(ClusterUnavailable):
        await told_by(watch, 1)


async def test_a_watch_that_tells_old_news_again_is_passed_on_as_it_is(spoilt: Spoilt) -> None:
    listing = await spoilt.cluster.list(WIDGETS, spoilt.namespace)
    made = await spoilt.cluster.create(WIDGETS, body(WIDGETS, spoilt))
    await told(spoilt, listing.resource_version, 1)
    spoilt.proxy.rule(Fault(repeats=1), matches=lambda request: request.is_watch)
    changed = await spoilt.cluster.patch(WIDGETS, spoilt.namespace, "one", {"spec": {"size": 2}})
    found = await told(spoilt, version_of(made), 2)
    assert [change.object for change in found] == [made, changed]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b'{"type":"ERROR","object":' + said(410, "Expired", "too old") + b"}\n", WatchExpired),
        (b'{"type":"ERROR","object":' + said(500, "InternalError", "broken") + b"}\n", ClusterUnavailable),
        (b'{"type":"ERROR","object":' + said(429, "TooManyRequests", "busy") + b"}\n", ClusterBusy),
        (b'{"type":"ERROR","object":null}\n', ClusterUnavailable),
        (b'{"type":"WHAT","object":{}}\n', ClusterUnavailable),
        (b"[]\n", ClusterUnavailable),
        (b'{"type"\n', ClusterUnavailable),
        (b'{"type":"ADDED","object":{"metadata":{}', ClusterUnavailable),
    ],
)
async def test_a_line_of_a_watch_that_is_no_change_is_an_error(
    spoilt: Spoilt, line: bytes, error: type[PyMigrateError]
) -> None:
    spoilt.proxy.rule(Fault(status=200, body=line), matches=lambda request: request.is_watch)
    with pytest.raises(error) as caught:
        await told(spoilt, "1", 1)
    assert type(caught.value) is error


async def test_a_list_is_read_in_pages_that_are_of_one_version(spoilt: Spoilt) -> None:
    names = [f"w{number}" for number in range(8)]
    for name in names:
        await spoilt.cluster.create(WIDGETS, body(WIDGETS, spoilt, name))
    admin = Kubectl(spoilt.server)

    def make_another() -> None:
        admin.apply(body(WIDGETS, spoilt, "w9"))

    # What is made between two pages is of a later version.
    spoilt.proxy.rule(Fault(first=make_another), matches=lambda request: "continue" in request.query)
    listing = await spoilt.cluster.list(WIDGETS, spoilt.namespace)
    assert [name_of(item) for item in listing.items] == names
    assert [call for call in spoilt.calls if call[0] == "list"] == [("list", "widgets", "200")] * 3
    [change] = await told(spoilt, listing.resource_version, 1)
    assert name_of(change.object) == "w9"


async def test_a_list_whose_pages_have_expired_is_read_again_as_one(spoilt: Spoilt) -> None:
    names = [f"w{number}" for number in range(8)]
    for name in names:
        await spoilt.cluster.create(WIDGETS, body(WIDGETS, spoilt, name))
    spoilt.proxy.rule(
        Fault(status=410, body=said(410, "Expired", "the continue token is too old")),
        matches=lambda request: "continue" in request.query,
        skip=1,
    )
    listing = await spoilt.cluster.list(WIDGETS, spoilt.namespace)
    assert [name_of(item) for item in listing.items] == names
    assert [code for verb, _, code in spoilt.calls if verb == "list"] == ["200", "200", "410", "200"]


async def test_as_many_write_at_once_as_there_are_while_watches_are_open(spoilt: Spoilt) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        watches = [spoilt.cluster.watch(WIDGETS, "0", spoilt.namespace) for _ in range(20)]
        names = [f"w{number}" for number in range(64)]
        spoilt.proxy.rule(Fault(delay_seconds=0.5), method="POST", times=64)
        await asyncio.gather(*(spoilt.cluster.create(WIDGETS, body(WIDGETS, spoilt, name)) for name in names))
        firsts = await asyncio.gather(*(anext(watch) for watch in watches))
        assert {change.kind for change in firsts} == {ChangeKind.ADDED}
        for watch in watches:
            await watch.aclose()


async def test_the_clear_is_spoken_on_loopback(defined: ApiServer, tmp_path: Path) -> None:
    with kube_proxy(defined, tmp_path, has_tls=False) as clear:
        cluster = KubernetesCluster.open(clear.kubeconfig("clear", defined.token))
        assert name_of(await cluster.get(NAMESPACES, "", "default")) == "default"
        await cluster.close()


async def test_what_was_called_after_a_write_finds_it_done_while_its_answer_is_lost(spoilt: Spoilt) -> None:
    found: list[object] = []
    admin = Kubectl(spoilt.server)
    spoilt.proxy.rule(
        Fault(then=lambda: found.append(admin.read("widgets.conformance.example", "-n", spoilt.namespace))),
        method="POST",
    )
    spoilt.proxy.rule(Fault(closes_after=True), method="PATCH")
    made = await spoilt.cluster.create(WIDGETS, body(WIDGETS, spoilt))
    [listed] = found
    assert isinstance(listed, dict)
    assert [name_of(item) for item in listed["items"]] == [name_of(made)]


async def test_while_connections_are_refused_every_call_fails_until_they_are_taken_again(spoilt: Spoilt) -> None:
    spoilt.proxy.cut(refuses=True)
    for _ in range(3):
        with pytest.raises(ClusterUnavailable):
            await spoilt.cluster.list(WIDGETS, spoilt.namespace)
    spoilt.proxy.mend()
    assert (await spoilt.cluster.list(WIDGETS, spoilt.namespace)).items == []


async def test_a_watch_that_lags_tells_everything_later(spoilt: Spoilt) -> None:
    listing = await spoilt.cluster.list(WIDGETS, spoilt.namespace)
    rule = spoilt.proxy.rule(Fault(lag_seconds=0.5), matches=lambda request: request.is_watch)
    made = [await spoilt.cluster.create(WIDGETS, body(WIDGETS, spoilt, name)) for name in ("a", "b")]
    assert [change.object for change in await told(spoilt, listing.resource_version, 2)] == made
    assert rule.hits == 1


async def test_every_write_is_recorded_and_a_dry_run_is_none(spoilt: Spoilt) -> None:
    before = len(spoilt.proxy.writes)
    await spoilt.cluster.create(WIDGETS, body(WIDGETS, spoilt), is_dry_run=True)
    await spoilt.cluster.list(WIDGETS, spoilt.namespace)
    await spoilt.cluster.create(WIDGETS, body(WIDGETS, spoilt, spec={"size": 7}))
    [write] = spoilt.proxy.writes[before:]
    assert (write.method, write.status, b'"size":7' in write.body) == ("POST", 201, True)
    assert write.agent.startswith("pymigrate/")
