"""GitSourceService as callers find it: declared as everything is, synced, compared, suspended, and gone with nothing lost."""

import uuid

import grpc
import pytest

from pymigrate.engine.entrypoints.cli.client import Client
from pymigrate.engine.testing.repositories import MemoryHosted
from pymigrate.v1 import environment_pb2, git_source_pb2, git_source_pb2_grpc
from tests.integration.engine.served import ServedEngine, ask
from tests.unit.application.gitops.sourced import ENVIRONMENT, URL, department

NAME = "gitSources/warehouse"
State = git_source_pb2.GitRevisionState


@pytest.fixture
def hosted(served: ServedEngine) -> MemoryHosted:
    """A repository with an environment and a department."""
    hosted = MemoryHosted()
    hosted.commit({"env.yaml": ENVIRONMENT, "b.yaml": department("sales")}, "Begin")
    served.repositories.hosted[URL] = hosted
    return hosted


@pytest.fixture
def client(served: ServedEngine) -> Client:
    """A caller of the side `cli`."""
    return served.client()


@pytest.fixture
def stub(client: Client) -> git_source_pb2_grpc.GitSourceServiceStub:
    """Its calls."""
    return git_source_pb2_grpc.GitSourceServiceStub(client.channel)


def created(
    client: Client, stub: git_source_pb2_grpc.GitSourceServiceStub, **fields: object
) -> git_source_pb2.GitSource:
    source = git_source_pb2.GitSource(url=URL, environment="prod", **fields)  # type: ignore[arg-type]  # of any kind
    request = git_source_pb2.CreateGitSourceRequest(
        git_source_id="warehouse", git_source=source, request_id=str(uuid.uuid4())
    )
    first = ask(client, stub.CreateGitSource, request)
    assert ask(client, stub.CreateGitSource, request) == first
    return first


def synced(
    client: Client, stub: git_source_pb2_grpc.GitSourceServiceStub, **fields: bool
) -> git_source_pb2.GitRevision:
    return ask(client, stub.SyncGitSource, git_source_pb2.SyncGitSourceRequest(name=NAME, **fields))


def test_a_source_is_declared_synced_and_told_with_where_it_stands(
    client: Client, stub: git_source_pb2_grpc.GitSourceServiceStub, hosted: MemoryHosted
) -> None:
    found = created(client, stub)
    assert (found.name, found.managed_by, found.HasField("status")) == (NAME, "cli", False)
    revision = synced(client, stub)
    assert (revision.commit, revision.state) == (hosted.branches["main"], State.GIT_REVISION_STATE_APPLIED)
    got = ask(client, stub.GetGitSource, git_source_pb2.GetGitSourceRequest(name=NAME))
    assert (got.status.applied_commit, got.status.HasField("fetch_time")) == (revision.commit, True)
    listed = ask(client, stub.ListGitSources, git_source_pb2.ListGitSourcesRequest())
    assert [each.status.applied_commit for each in listed.git_sources] == [revision.commit]
    department_ = environment_pb2.GetDepartmentRequest(name="environments/prod/departments/sales")
    assert ask(client, client.environments.GetDepartment, department_).managed_by == "git/warehouse"


def test_a_dry_sync_and_a_diff_tell_what_would_change(
    client: Client, stub: git_source_pb2_grpc.GitSourceServiceStub, hosted: MemoryHosted
) -> None:
    created(client, stub)
    first = synced(client, stub)
    hosted.commit({"c.yaml": department("hr")}, branch="feature", parents=[first.commit])
    diff = git_source_pb2.DiffGitSourceRequest(name=NAME, reference="feature")
    found = ask(client, stub.DiffGitSource, diff)
    assert [(each.name, each.file) for each in found.changes] == [("environments/prod/departments/hr", "c.yaml")]
    assert synced(client, stub, validate_only=True).changes == []
    with pytest.raises(grpc.RpcError) as refused:
        ask(client, stub.DiffGitSource, git_source_pb2.DiffGitSourceRequest(name=NAME, reference="nothing"))
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(grpc.RpcError) as refused:
        ask(client, stub.DiffGitSource, git_source_pb2.DiffGitSourceRequest(name=NAME, reference="--upload-pack=x"))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_suspended_source_is_synced_by_nobody_until_it_goes_on(
    client: Client, stub: git_source_pb2_grpc.GitSourceServiceStub, hosted: MemoryHosted
) -> None:
    created(client, stub)
    synced(client, stub)
    asked = git_source_pb2.SuspendGitSourceRequest(name=NAME, reason="a freeze")
    assert ask(client, stub.SuspendGitSource, asked).status.suspend_reason == "a freeze"
    sha = hosted.commit({"c.yaml": department("hr")})
    with pytest.raises(grpc.RpcError, match=r"suspended by local \(a freeze\)"):
        synced(client, stub)
    assert [each.kind for each in synced(client, stub, validate_only=True).changes] == ["Department"]
    assert not ask(client, stub.ResumeGitSource, git_source_pb2.ResumeGitSourceRequest(name=NAME)).status.is_suspended
    assert synced(client, stub).commit == sha


def test_revisions_come_in_pages_the_newest_first(
    client: Client, stub: git_source_pb2_grpc.GitSourceServiceStub, hosted: MemoryHosted
) -> None:
    created(client, stub)
    commits = [synced(client, stub).commit]
    for name in ("c", "d"):
        hosted.commit({f"{name}.yaml": department(f"x{name}")})
        commits.insert(0, synced(client, stub).commit)
    first = ask(client, stub.ListGitRevisions, git_source_pb2.ListGitRevisionsRequest(parent=NAME, page_size=2))
    rest = git_source_pb2.ListGitRevisionsRequest(parent=NAME, page_size=2, page_token=first.next_page_token)
    second = ask(client, stub.ListGitRevisions, rest)
    assert [each.commit for each in (*first.revisions, *second.revisions)] == commits
    assert second.next_page_token == ""


def test_the_objects_of_a_deleted_source_are_those_of_who_deleted_it(
    client: Client, stub: git_source_pb2_grpc.GitSourceServiceStub, hosted: MemoryHosted
) -> None:
    created(client, stub)
    synced(client, stub)
    ask(client, stub.DeleteGitSource, git_source_pb2.DeleteGitSourceRequest(name=NAME))
    request = environment_pb2.GetDepartmentRequest(name="environments/prod/departments/sales")
    assert ask(client, client.environments.GetDepartment, request).managed_by == "cli"
    delete = environment_pb2.DeleteDepartmentRequest(name="environments/prod/departments/sales")
    ask(client, client.environments.DeleteDepartment, delete)
    with pytest.raises(grpc.RpcError) as gone:
        synced(client, stub)
    assert gone.value.code() is grpc.StatusCode.NOT_FOUND


def test_another_side_s_source_is_not_changed(
    served: ServedEngine, client: Client, stub: git_source_pb2_grpc.GitSourceServiceStub, hosted: MemoryHosted
) -> None:
    created(client, stub)
    other = served.client("terraform")
    with pytest.raises(grpc.RpcError, match="managed by cli"):
        ask(
            other,
            git_source_pb2_grpc.GitSourceServiceStub(other.channel).DeleteGitSource,
            git_source_pb2.DeleteGitSourceRequest(name=NAME),
        )


def test_what_nobody_promotes_or_takes_back_is_refused(
    client: Client, stub: git_source_pb2_grpc.GitSourceServiceStub, hosted: MemoryHosted
) -> None:
    created(client, stub)
    for call, request in (
        (stub.PromoteGitSource, git_source_pb2.PromoteGitSourceRequest(name=NAME)),
        (stub.ApproveReversal, git_source_pb2.ApproveReversalRequest(name=NAME, commit="a" * 40)),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            ask(client, call, request)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
