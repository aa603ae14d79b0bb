"""WorkerService."""

from typing import Any

from google.protobuf.empty_pb2 import Empty

from pymigrate.engine.application.host_tokens import HostTokens
from pymigrate.engine.application.hosts import Hosts
from pymigrate.engine.application.pages import page_limit
from pymigrate.engine.entrypoints.identity import caller
from pymigrate.v1 import worker_pb2, worker_pb2_grpc


class WorkerCalls(worker_pb2_grpc.WorkerServiceServicer):
    """WorkerService."""

    def __init__(self, hosts: Hosts, tokens: HostTokens) -> None:
        self._hosts = hosts
        self._tokens = tokens

    async def RegisterHost(
        self, request: worker_pb2.RegisterHostRequest, context: Any
    ) -> worker_pb2.RegisterHostResponse:
        answer = await self._hosts.register(request.host, request.leases)
        answer.token = self._tokens.renewed(caller())
        return answer

    async def ClaimTask(self, request: worker_pb2.ClaimTaskRequest, context: Any) -> worker_pb2.ClaimTaskResponse:
        task = await self._hosts.claim(request.host, request.session, request.wait_seconds)
        return worker_pb2.ClaimTaskResponse(task=task)

    async def Heartbeat(self, request: worker_pb2.HeartbeatRequest, context: Any) -> worker_pb2.HeartbeatResponse:
        answer = await self._hosts.heartbeat(request.host, request.session, request.leases)
        answer.token = self._tokens.renewed(caller())
        return answer

    async def ReportProgress(self, request: worker_pb2.ReportProgressRequest, context: Any) -> Empty:
        await self._hosts.report(request.host, request.session, request.lease, request.progress)
        return Empty()

    async def FinishTask(self, request: worker_pb2.FinishTaskRequest, context: Any) -> Empty:
        await self._hosts.finish(request)
        return Empty()

    async def ListWorkerHosts(
        self, request: worker_pb2.ListWorkerHostsRequest, context: Any
    ) -> worker_pb2.ListWorkerHostsResponse:
        size = page_limit(request.page_size)
        left = [host for host in self._hosts.hosts() if host.record.name > request.page_token]
        answer = worker_pb2.ListWorkerHostsResponse()
        for host in left[:size]:
            record = host.record
            message = answer.worker_hosts.add(
                name=record.name,
                pid=record.pid,
                pid_start_ticks=record.pid_start_ticks,
                affinity=record.affinity,
                workload=record.workload,
                tasks=sorted(host.tasks),
            )
            message.heartbeat_time.FromDatetime(record.heartbeat_time)
        answer.next_page_token = left[size - 1].record.name if len(left) > size else ""
        return answer
