"""A worker host over real gRPC whose fifty lanes each report ten times a second, and which keeps when each report was sent.

A process of its own, since an engine ends its hosts by their process id. It is told by lines on its standard input: `go`, `pause`, or a
path, to which it writes what was sent.
"""

import asyncio
import hashlib
import json
import os
import sys
import time
from pathlib import Path

import grpc

from pymigrate.engine.adapters.executors.processes import start_ticks
from pymigrate.engine.testing.hosts import done, lease_of
from pymigrate.v1 import worker_pb2, worker_pb2_grpc

AFFINITY = "file:/warehouse.duckdb@bench"
REPORTS_PER_SECOND = 10
HEARTBEAT_SECONDS = 0.5
CLAIM_SECONDS = 2.0
ROWS_EXPECTED = 10**9


class Host:
    """What it holds, and what it has sent: for each dataset the moments of its chunks, on the machine's monotonic clock."""

    def __init__(self, endpoint: str, token: str, lanes: int) -> None:
        self._stub = worker_pb2_grpc.WorkerServiceStub(grpc.aio.insecure_channel(endpoint))
        self._metadata = (("authorization", f"Bearer {token}"),)
        # The name that the engine would give a host for this file: it starts none beside one that is registered.
        self._name = f"workerHosts/file-{hashlib.sha256(AFFINITY.encode()).hexdigest()[:12]}"
        self._session = ""
        self._lanes = lanes
        self._tasks: dict[str, worker_pb2.Task] = {}
        self._going = asyncio.Event()
        self.sent: dict[str, list[float]] = {}

    async def register(self) -> None:
        """As the process that this is."""
        pid = os.getpid()
        host = worker_pb2.WorkerHost(name=self._name, pid=pid, pid_start_ticks=start_ticks(pid) or 0, affinity=AFFINITY)
        request = worker_pb2.RegisterHostRequest(host=host)
        self._session = (await self._stub.RegisterHost(request, metadata=self._metadata)).session

    async def take_lanes(self) -> None:
        """Answers what is asked before, until it holds all lanes."""
        claim = worker_pb2.ClaimTaskRequest(host=self._name, session=self._session, wait_seconds=CLAIM_SECONDS)
        while len(self._tasks) < self._lanes:
            answer = await self._stub.ClaimTask(claim, metadata=self._metadata)
            task = answer.task
            if task.HasField("copy"):
                dataset = task.copy.dataset.dataset_id
                self._tasks[dataset], self.sent[dataset] = task, []
            elif task.id:
                await self._finish(task)

    async def beat(self) -> None:
        """Keeps its leases."""
        while True:
            leases = [lease_of(task) for task in self._tasks.values()]
            request = worker_pb2.HeartbeatRequest(host=self._name, session=self._session, leases=leases)
            answer = await self._stub.Heartbeat(request, metadata=self._metadata)
            for task in self._tasks.values():
                task.credential = answer.credentials.get(task.id, task.credential)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def report(self, dataset: str, offset_seconds: float) -> None:
        """Reports one lane's chunks, one each tenth of a second while it may."""
        task, sent = self._tasks[dataset], self.sent[dataset]
        while True:
            await self._going.wait()
            due = time.monotonic() + offset_seconds
            while self._going.is_set():
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                due += 1 / REPORTS_PER_SECOND
                chunks = len(sent) + 1
                progress = worker_pb2.LaneProgress(chunks=chunks, rows=chunks * 1_000, bytes=chunks * 100_000)
                request = worker_pb2.ReportProgressRequest(
                    host=self._name, session=self._session, lease=lease_of(task), progress=progress
                )
                sent.append(time.monotonic())
                await self._stub.ReportProgress(request, metadata=self._metadata)

    async def serve(self) -> None:
        """Reports as it is told."""
        working = [asyncio.create_task(self.beat())]
        for at, dataset in enumerate(sorted(self._tasks)):
            working.append(asyncio.create_task(self.report(dataset, at / len(self._tasks) / REPORTS_PER_SECOND)))
        print("ready", flush=True)
        loop = asyncio.get_running_loop()
        while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
            if line == "go":
                self._going.set()
            elif line == "pause":
                self._going.clear()
            else:
                await asyncio.to_thread(Path(line).write_text, json.dumps(self.sent))
            print("done", flush=True)
            for task in working:
                if task.done():
                    task.result()

    async def _finish(self, task: worker_pb2.Task) -> None:
        result = done(task)
        if task.HasField("inspect"):
            result.inspect.source.rows = ROWS_EXPECTED
        lease = lease_of(task)
        request = worker_pb2.FinishTaskRequest(host=self._name, session=self._session, lease=lease, result=result)
        await self._stub.FinishTask(request, metadata=self._metadata)


async def main(endpoint: str, token: str, lanes: int) -> None:
    host = Host(endpoint, token, lanes)
    await host.register()
    print("registered", flush=True)
    beating = asyncio.create_task(host.beat())
    await host.take_lanes()
    beating.cancel()
    await host.serve()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
