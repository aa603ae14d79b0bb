"""What kube_operator.py measures on: Runs that are made and changed over the real API, a watch that notes when each got which status, and
processes with what they use."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from _kopf_peer import GROUP, PLURAL, VERSION

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.clusters import Cluster
from tests.e2e.engines import ROOT

CREATING = 48  # calls at once
READY_SECONDS_MAX = 180.0
PAUSE_SECONDS = 0.05
PAGE_BYTES = 1 << 22


@dataclass(slots=True)
class Seen:
    """When a Run first had what, by `time.perf_counter`."""

    condition: float = 0.0
    accepted: float = 0.0
    generations: dict[int, float] = field(default_factory=dict)
    is_gone: bool = False


class Runs:
    """Runs of one namespace: made, changed and watched."""

    def __init__(self, session: aiohttp.ClientSession, address: str, namespace: str) -> None:
        self._session = session
        self._url = f"{address}/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{PLURAL}"
        self._turns = asyncio.Semaphore(CREATING)
        self.namespace = namespace
        self.seen: dict[str, Seen] = {}
        self._changed = asyncio.Event()

    async def watch(self) -> None:
        """Notes what becomes of each, until it is cancelled; goes on from the beginning when the server ends it."""
        while True:
            query = {"watch": "1", "resourceVersion": "0", "timeoutSeconds": "3000"}
            try:
                async with self._session.get(
                    self._url, params=query, timeout=aiohttp.ClientTimeout(total=None)
                ) as answer:
                    answer.raise_for_status()
                    async for line in answer.content:
                        self._note(orjson.loads(line))
            except aiohttp.ClientError:
                await asyncio.sleep(PAUSE_SECONDS)  # the server is away, which is measured

    async def create(self, specs: Mapping[str, Mapping[str, Any]]) -> float:
        """Makes all of them at once; when the last reply came."""
        await asyncio.gather(*(self._create(name, spec) for name, spec in specs.items()))
        return time.perf_counter()

    async def patch(self, name: str, spec: Mapping[str, Any]) -> tuple[int, float]:
        """Changes one; its generation then, and when the change was sent."""
        sent = time.perf_counter()
        body, headers = orjson.dumps({"spec": spec}), {"content-type": "application/merge-patch+json"}
        async with self._session.patch(f"{self._url}/{name}", data=body, headers=headers) as answer:
            answer.raise_for_status()
            return orjson.loads(await answer.read())["metadata"]["generation"], sent

    async def observed(self, name: str, generation: int) -> float:
        """When the status first was of a generation."""
        await self.until(lambda: generation in self.seen[name].generations)
        return self.seen[name].generations[generation]

    async def delete(self) -> None:
        """Deletes all of them, and waits until they are gone."""
        async with self._session.delete(self._url) as answer:
            answer.raise_for_status()
            await answer.read()
        await self.until(lambda: all(each.is_gone for each in self.seen.values()))
        self.seen.clear()

    async def until(self, holds: Any) -> None:
        """Waits for something that the watch tells. Raises TimeoutError."""
        async with asyncio.timeout(READY_SECONDS_MAX):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def _create(self, name: str, spec: Mapping[str, Any]) -> None:
        body = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Run", "metadata": {"name": name}, "spec": spec}
        self.seen[name] = Seen()
        async with self._turns, self._session.post(self._url, data=orjson.dumps(body)) as answer:
            if answer.status >= 300:
                raise RuntimeError(f"{name}: {await answer.text()}")
            await answer.read()

    def _note(self, event: Mapping[str, Any]) -> None:
        if event["type"] in {"BOOKMARK", "ERROR"}:
            return
        found = event["object"]
        seen, now = self.seen.get(found["metadata"]["name"]), time.perf_counter()
        if seen is None:
            return
        seen.is_gone = event["type"] == "DELETED"
        status = found.get("status", {})
        if status.get("conditions") and (generation := status.get("observedGeneration")):
            seen.condition = seen.condition or now
            seen.generations.setdefault(generation, now)
        if status.get("name"):
            seen.accepted = seen.accepted or now
        self._changed.set()


@asynccontextmanager
async def api_session(cluster: Cluster) -> AsyncIterator[aiohttp.ClientSession]:
    """Calls as the administrator."""
    headers = {"authorization": f"Bearer {cluster.token}", "content-type": "application/json"}
    connector = aiohttp.TCPConnector(ssl=False, limit=CREATING + 8)
    async with aiohttp.ClientSession(
        headers=headers, connector=connector, read_bufsize=PAGE_BYTES, timeout=aiohttp.ClientTimeout(total=60)
    ) as session:
        yield session


class Kept:
    """A process that is started again at once when it ends by itself, as a kubelet does with a container."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._arguments, self._environment, self._log = arguments, environment, log
        self.starts = 0
        self._process = self._started()

    @property
    def pid(self) -> int:
        """Of the process now."""
        return self._process.pid

    async def keep(self) -> None:
        """Starts it again whenever it has ended, until it is cancelled."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            if self._process.poll() is not None:
                self._process = self._started()

    def end(self) -> None:
        """Ends it for good."""
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _started(self) -> "subprocess.Popen[bytes]":
        self.starts += 1
        with self._log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, *self._arguments],
                cwd=ROOT,
                env=os.environ | dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )


@contextmanager
def kept(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[Kept]:
    """A process of ours until the end."""
    found = Kept(arguments, environment, log)
    try:
        yield found
    finally:
        found.end()


def cpu_seconds(pid: int) -> float:
    """What a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(value) for value in fields[11:13]) / os.sysconf("SC_CLK_TCK")


def memory_bytes(pid: int) -> int:
    """What a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
