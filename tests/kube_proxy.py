"""A proxy on loopback between a client and an API server, which records requests and does to them what rules say.

It speaks TLS with a certificate of its own authority, or in the clear. What no rule meets passes unchanged.
"""

import asyncio
import contextlib
import re
import ssl
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.certificates import CertificateAuthority
from tests.clusters import Cluster
from tests.http_pieces import HEAD_BYTES_MAX, Head, answer, chunk, pieces, read_head, whole
from tests.kube_faults import Fault, Request, Rule, called, requested

CALL_SECONDS_MAX = 30.0
EVENTS_KEPT_MAX = 1_000
REQUESTS_KEPT_MAX = 200_000
NONE = Fault()


class KubeProxy:
    """Before one API server. `address` is its own; `authority` signed what it shows, where it speaks TLS."""

    def __init__(self, made: Cluster, folder: Path, *, has_tls: bool = True) -> None:
        self._cluster = made
        self._port = int(made.address.rpartition(":")[2])
        self._far = ssl.create_default_context(cafile=str(made.certificate_file))
        self._near: ssl.SSLContext | None = None
        self.authority: Path | None = None
        if has_tls:
            files = CertificateAuthority("Authority of a proxy").issue(folder)
            self._near = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._near.load_cert_chain(files.certificate, files.key)
            self.authority = files.authorities
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: dict[str, deque[bytes]] = defaultdict(lambda: deque(maxlen=EVENTS_KEPT_MAX))
        self._is_cut = False
        self.requests: deque[Request] = deque(maxlen=REQUESTS_KEPT_MAX)
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kube-proxy", daemon=True)
        self._thread.start()
        self._server: asyncio.Server = self._do(
            asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._near, limit=HEAD_BYTES_MAX)
        )
        scheme = "https" if has_tls else "http"
        self.address = f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def kubeconfig(self, name: str, token: str, *, namespace: str = "") -> Path:
        """A file by which somebody reaches the API server through the proxy."""
        return self._cluster.kubeconfig(
            name, token, address=self.address, authority=self.authority, namespace=namespace
        )

    def rule(
        self,
        fault: Fault,
        *,
        method: str = "",
        path: str = "",
        matches: Callable[[Request], bool] = lambda _: True,
        skip: int = 0,
        times: int = 1,
    ) -> Rule:
        """From now on. Of several rules that meet one request the first counts. `path` is a pattern."""
        made = Rule(fault, method, re.compile(path), matches, skip, times)
        with self._lock:
            self._rules.append(made)
        return made

    def clear(self) -> None:
        """No rule any more; watches that are silent stay so until they are cut."""
        with self._lock:
            self._rules.clear()

    @property
    def writes(self) -> list[Request]:
        """Those that asked for a change, in order."""
        return [request for request in list(self.requests) if request.is_write]

    def cut(self, *, refuses: bool = False) -> None:
        """Every connection ends at once; with `refuses` new ones too, until `mend`."""
        self._do(self._cut(refuses=refuses))

    def mend(self) -> None:
        """New connections are taken again."""
        self._do(self._cut(refuses=False))

    def pause(self) -> None:
        """Nothing passes, either way, and connections stay: what a partition looks like."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def go_on(self) -> None:
        """What was held passes on."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def close(self) -> None:
        """Ends everything."""
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: "Coroutine[Any, Any, Any]") -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS_MAX)

    async def _cut(self, *, refuses: bool) -> None:
        self._is_cut = refuses
        for writer in list(self._writers):
            writer.transport.abort()

    async def _end(self) -> None:
        self._server.close()
        self._flowing.set()
        await self._cut(refuses=True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        far: asyncio.StreamWriter | None = None
        try:
            if self._is_cut:
                return
            far_reader, far = await asyncio.open_connection(
                "127.0.0.1", self._port, ssl=self._far, limit=HEAD_BYTES_MAX
            )
            while (head := await _next_head(reader, far_reader)) is not None:
                body = await whole(reader, head)
                if not await self._pass_on(head, body, (reader, writer), (far_reader, far)):
                    return
        except (OSError, EOFError):
            pass  # either side is gone: the other one learns of it. A head beyond the limit is none of that, and is heard of
        finally:
            for each in (writer, far):
                if each is not None:
                    each.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _pass_on(
        self,
        head: Head,
        body: bytes,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> bool:
        request = requested(len(self.requests), head.line, body, head.fields.get("user-agent", ""))
        with self._lock:
            self.requests.append(request)
            fault = next((rule.fault for rule in self._rules if rule.meets(request)), NONE)
        await called(fault.first)
        if fault.delay_seconds:
            await asyncio.sleep(fault.delay_seconds)
        await self._flowing.wait()
        if fault.closes_before:
            return False
        if fault.status:
            request.status = fault.status
            near[1].write(answer(fault.status, {"Content-Type": "application/json"} | fault.fields, fault.body))
            await near[1].drain()
            return True
        far[1].write(head.raw + (_chunked(body) if head.is_chunked else body))
        await far[1].drain()
        told = await read_head(far[0])
        if told is None:
            return False
        if request.is_watch and told.status == 200:
            request.status = told.status
            return await self._until_gone(near[0], self._stream(request, fault, told, near[1], far[0]))
        content = b"" if request.method == "HEAD" else await whole(far[0], told)
        await called(fault.then)
        await self._flowing.wait()
        if fault.closes_after:
            return False
        request.status = told.status
        near[1].write(told.raw + (_chunked(content) if told.is_chunked else content))
        await near[1].drain()
        return True

    async def _until_gone(self, near: asyncio.StreamReader, stream: "Coroutine[Any, Any, None]") -> bool:
        """Streams to the end; whether the client is there still. One that listens to a stream says nothing, but that it goes."""
        going = {asyncio.ensure_future(stream), asyncio.ensure_future(near.read(1))}
        try:
            done, _ = await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
            return not near.at_eof()
        finally:
            for each in going:
                each.cancel()
            await asyncio.gather(*going, return_exceptions=True)

    async def _stream(
        self, request: Request, fault: Fault, told: Head, near: asyncio.StreamWriter, far: asyncio.StreamReader
    ) -> None:
        near.write(told.raw)
        await near.drain()
        kept = self._told[request.path]
        repeated = b"".join(list(kept)[-fault.repeats :]) if fault.repeats else b""
        if repeated:
            near.write(chunk(repeated))
        line = b""
        async for piece in pieces(far, told):
            await asyncio.sleep(fault.lag_seconds)
            await self._flowing.wait()
            if fault.is_silent:
                continue
            *lines, line = (line + piece).split(b"\n")
            kept.extend(each + b"\n" for each in lines)
            for part in _parts(piece, fault.split):
                near.write(chunk(part))
                await near.drain()
                await asyncio.sleep(0)
        if fault.is_silent:
            await asyncio.Event().wait()  # until it is cut: an end would be a word too
        near.write(chunk(b""))
        await near.drain()


async def _next_head(near: asyncio.StreamReader, far: asyncio.StreamReader) -> Head | None:
    """The next request; None once either side has gone, which the other one learns at once, as without a proxy."""
    head, going = asyncio.ensure_future(read_head(near)), asyncio.ensure_future(far.read(1))
    try:
        await asyncio.wait({head, going}, return_when=asyncio.FIRST_COMPLETED)
        return head.result() if head.done() else None
    finally:
        for each in (head, going):
            each.cancel()
        await asyncio.gather(head, going, return_exceptions=True)


def _chunked(content: bytes) -> bytes:
    return (chunk(content) if content else b"") + chunk(b"")


def _parts(piece: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    if not sizes:
        yield piece
        return
    position = turn = 0
    while position < len(piece):
        size = sizes[turn % len(sizes)]
        yield piece[position : position + size]
        position, turn = position + size, turn + 1


@contextmanager
def kube_proxy(made: Cluster, folder: Path, *, has_tls: bool = True) -> Iterator[KubeProxy]:
    """A proxy before an API server, gone at the end."""
    proxy = KubeProxy(made, folder, has_tls=has_tls)
    try:
        yield proxy
    finally:
        with contextlib.suppress(TimeoutError):
            proxy.close()
