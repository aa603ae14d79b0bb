"""Attack: a worker host, or whoever takes its token from it, does more than that host's work."""

from pathlib import Path

import grpc
import pytest

from pymigrate.engine.application.caller import Caller
from pymigrate.engine.application.host_tokens import LIFETIME_SECONDS, HostTokens
from pymigrate.engine.domain.errors import Unauthenticated
from pymigrate.engine.entrypoints.engine_access import HOST_TOKEN_VARIABLE, EngineAccess
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.v1 import access_pb2, environment_pb2, worker_pb2
from tests.integration.engine.served import SECONDS_MAX
from tests.security.test_role_bindings import Scene, scene

__all__ = ["scene"]
DENIED = grpc.StatusCode.PERMISSION_DENIED


async def test_a_token_says_which_host_it_is_for_and_ends() -> None:
    clock = ManualClock()
    tokens = HostTokens("the engine's token", clock)
    token = tokens.for_host("h1", "shared@prod")
    found = await tokens.identify(token)
    assert found is not None
    assert (found.principal, found.affinity, found.groups) == ("worker/h1", "shared@prod", frozenset())
    clock.advance(LIFETIME_SECONDS)
    with pytest.raises(Unauthenticated, match="has ended"):
        await tokens.identify(token)


@pytest.mark.parametrize("spoilt", ["pmh_", "pmh_AAAA", "pmh_~~~", "pmh_" + "A" * 5_000])
async def test_what_this_engine_did_not_make_is_refused(spoilt: str) -> None:
    tokens = HostTokens("the engine's token", ManualClock())
    with pytest.raises(Unauthenticated):
        await tokens.identify(spoilt)
    with pytest.raises(Unauthenticated):
        await tokens.identify(HostTokens("another engine's", ManualClock()).for_host("h1", "shared@prod"))
    assert await tokens.identify("pmt_another-kind") is None


async def test_only_what_the_engine_started_is_given_another_one() -> None:
    clock = ManualClock()
    tokens = HostTokens("the engine's token", clock)
    assert tokens.renewed(Caller("local")) == tokens.renewed(Caller("service/worker")) == ""
    clock.advance(LIFETIME_SECONDS / 2)
    renewed = await tokens.identify(tokens.renewed(Caller("worker/h1", affinity="shared@prod")))
    assert renewed is not None
    assert (renewed.principal, renewed.affinity) == ("worker/h1", "shared@prod")


def test_over_grpc_a_host_s_token_serves_that_host_and_nothing_else(scene: Scene) -> None:
    token = scene.served.host_tokens.for_host("h9", "shared@e")
    workers, environments = scene.admin.workers, scene.admin.environments
    own = worker_pb2.WorkerHost(name="workerHosts/h9", pid=9, pid_start_ticks=9, affinity="shared@e")
    other = worker_pb2.WorkerHost(name="workerHosts/h8", pid=9, pid_start_ticks=9, affinity="shared@e")
    elsewhere = worker_pb2.WorkerHost(name="workerHosts/h9", pid=9, pid_start_ticks=9, affinity="shared@other")
    for host in (other, elsewhere):
        assert scene.code(token, workers.RegisterHost, worker_pb2.RegisterHostRequest(host=host)) is DENIED
    assert scene.code(token, environments.ListEnvironments, environment_pb2.ListEnvironmentsRequest()) is DENIED
    assert scene.code(token, workers.ListWorkerHosts, worker_pb2.ListWorkerHostsRequest()) is DENIED
    created = access_pb2.CreateServiceTokenRequest(service_token_id="mine")
    assert scene.code(token, scene.access.CreateServiceToken, created) is DENIED
    metadata = (("authorization", f"Bearer {token}"),)
    request = worker_pb2.RegisterHostRequest(host=own)
    answer = workers.RegisterHost(request, metadata=metadata, timeout=SECONDS_MAX)
    assert answer.token.startswith("pmh_")
    metadata = (("authorization", f"Bearer {answer.token}"),)
    beat = worker_pb2.HeartbeatRequest(host=own.name, session=answer.session)
    assert workers.Heartbeat(beat, metadata=metadata, timeout=SECONDS_MAX).token.startswith("pmh_")


def test_what_a_host_shows_is_in_no_representation_of_it(tmp_path: Path) -> None:
    access = EngineAccess.of(tmp_path, {HOST_TOKEN_VARIABLE: "pmh_secret"})
    assert access.token() == "pmh_secret"
    assert access.renewed("pmh_fresh").token() == "pmh_fresh"
    assert access.renewed("").token() == "pmh_secret"
    assert "pmh_" not in repr(access)
