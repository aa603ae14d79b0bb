"""What hosts post is read as recorded payloads have it, and what is none of it is refused with its place."""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.application.gitops.webhook_events import (
    Event,
    Ignored,
    Ping,
    PullRequest,
    PullRequestAction,
    Push,
    delivery_of,
    events_of,
)
from pymigrate.engine.domain.errors import InvalidDefinition
from tests.git_hosts.payloads import (
    AFTER,
    BITBUCKET,
    GITHUB,
    GITLAB,
    ZEROS,
    bitbucket_change,
    bitbucket_pull_request,
    bitbucket_push,
    github_pull_request,
    github_push,
    gitlab_merge_request,
    gitlab_push,
    posted,
)

PROVIDERS = (GITHUB, GITLAB, BITBUCKET)
KINDS: Mapping[int, Sequence[str]] = {
    GITHUB: ("push", "pull_request", "ping", "issues", ""),
    GITLAB: ("Push Hook", "Merge Request Hook", ""),
    BITBUCKET: ("repo:push", "pullrequest:created", "diagnostics:ping", ""),
}


def read(provider: int, kind: str, payload: object) -> list[Event]:
    """The events of a payload."""
    return list(events_of(provider, *posted(provider, kind, payload, "a-secret")))


def asked(provider: int, action: PullRequestAction, head: str = AFTER, **changed: Any) -> PullRequest:
    """The pull request of the payloads."""
    repository = "acme/data/definitions" if provider == GITLAB else "acme/definitions"
    default = "" if provider == BITBUCKET else "main"
    given: dict[str, Any] = {"target_branch": "main", "default_branch": default, **changed}
    return PullRequest(repository, action, 7, head, "add-orders", **given)


@pytest.mark.parametrize(
    ("provider", "kind", "payload", "event"),
    [
        pytest.param(
            GITHUB,
            "push",
            github_push(),
            Push("acme/definitions", "refs/heads/main", AFTER, "main"),
            id="GitHub: branch",
        ),
        pytest.param(
            GITHUB,
            "push",
            github_push("refs/tags/v1"),
            Push("acme/definitions", "refs/tags/v1", AFTER, "main"),
            id="GitHub: tag",
        ),
        pytest.param(
            GITHUB,
            "push",
            github_push(after=ZEROS),
            Push("acme/definitions", "refs/heads/main", "", "main"),
            id="GitHub: deleted",
        ),
        pytest.param(
            GITLAB,
            "Push Hook",
            gitlab_push(),
            Push("acme/data/definitions", "refs/heads/main", AFTER, "main"),
            id="GitLab: branch",
        ),
        pytest.param(
            GITLAB,
            "Tag Push Hook",
            gitlab_push("refs/tags/v1", kind="tag_push"),
            Push("acme/data/definitions", "refs/tags/v1", AFTER, "main"),
            id="GitLab: tag",
        ),
        pytest.param(
            GITLAB,
            "System Hook",
            gitlab_push(after=ZEROS),
            Push("acme/data/definitions", "refs/heads/main", "", "main"),
            id="GitLab: deleted, told by a system hook",
        ),
        pytest.param(
            BITBUCKET,
            "repo:push",
            bitbucket_push(),
            Push("acme/definitions", "refs/heads/main", AFTER),
            id="Bitbucket: branch",
        ),
        pytest.param(
            BITBUCKET,
            "repo:push",
            bitbucket_push(bitbucket_change("v1", "tag")),
            Push("acme/definitions", "refs/tags/v1", AFTER),
            id="Bitbucket: tag",
        ),
        pytest.param(
            BITBUCKET,
            "repo:push",
            bitbucket_push(bitbucket_change(is_deleted=True)),
            Push("acme/definitions", "refs/heads/main", ""),
            id="Bitbucket: deleted",
        ),
    ],
)
def test_a_push_is_told_with_its_reference_and_commit(provider: int, kind: str, payload: object, event: Event) -> None:
    assert read(provider, kind, payload) == [event]


def test_a_push_of_several_branches_is_as_many_events() -> None:
    payload = bitbucket_push(bitbucket_change("main"), bitbucket_change("next"), bitbucket_change("v1", "tag"))
    assert [event.reference for event in read(BITBUCKET, "repo:push", payload) if isinstance(event, Push)] == [
        "refs/heads/main",
        "refs/heads/next",
        "refs/tags/v1",
    ]


GH, GL = github_pull_request, gitlab_merge_request


@pytest.mark.parametrize(
    ("provider", "kind", "payload", "event"),
    [
        pytest.param(
            GITHUB, "pull_request", GH("opened"), asked(GITHUB, PullRequestAction.OPENED), id="GitHub: opened"
        ),
        pytest.param(
            GITHUB, "pull_request", GH("synchronize"), asked(GITHUB, PullRequestAction.UPDATED), id="GitHub: pushed to"
        ),
        pytest.param(
            GITHUB, "pull_request", GH("reopened"), asked(GITHUB, PullRequestAction.REOPENED), id="GitHub: reopened"
        ),
        pytest.param(
            GITHUB, "pull_request", GH("closed"), asked(GITHUB, PullRequestAction.CLOSED), id="GitHub: closed"
        ),
        pytest.param(
            GITHUB,
            "pull_request",
            GH("edited", target="next", changes={"base": {"ref": {"from": "main"}}}),
            asked(GITHUB, PullRequestAction.UPDATED, target_branch="next"),
            id="GitHub: another target",
        ),
        pytest.param(
            GITHUB,
            "pull_request",
            GH(fork=True),
            asked(GITHUB, PullRequestAction.OPENED, is_fork=True),
            id="GitHub: from a fork",
        ),
        pytest.param(GITLAB, "", GL("open"), asked(GITLAB, PullRequestAction.OPENED), id="GitLab: opened"),
        pytest.param(
            GITLAB, "", GL("update", oldrev=AFTER), asked(GITLAB, PullRequestAction.UPDATED), id="GitLab: pushed to"
        ),
        pytest.param(
            GITLAB,
            "",
            GL("update", target="next", changes={"target_branch": {"previous": "main", "current": "next"}}),
            asked(GITLAB, PullRequestAction.UPDATED, target_branch="next"),
            id="GitLab: another target",
        ),
        pytest.param(GITLAB, "", GL("reopen"), asked(GITLAB, PullRequestAction.REOPENED), id="GitLab: reopened"),
        pytest.param(GITLAB, "", GL("close"), asked(GITLAB, PullRequestAction.CLOSED), id="GitLab: closed"),
        pytest.param(GITLAB, "", GL("merge"), asked(GITLAB, PullRequestAction.CLOSED), id="GitLab: merged"),
        pytest.param(
            GITLAB, "", GL(fork=True), asked(GITLAB, PullRequestAction.OPENED, is_fork=True), id="GitLab: from a fork"
        ),
        *(
            pytest.param(BITBUCKET, kind, bitbucket_pull_request(), asked(BITBUCKET, action, AFTER[:12]), id=kind)
            for kind, action in (
                ("pullrequest:created", PullRequestAction.OPENED),
                ("pullrequest:updated", PullRequestAction.UPDATED),
                ("pullrequest:fulfilled", PullRequestAction.CLOSED),
                ("pullrequest:rejected", PullRequestAction.CLOSED),
            )
        ),
        pytest.param(
            BITBUCKET,
            "pullrequest:created",
            bitbucket_pull_request(fork=True),
            asked(BITBUCKET, PullRequestAction.OPENED, AFTER[:12], is_fork=True),
            id="Bitbucket: from a fork",
        ),
    ],
)
def test_a_pull_request_is_told_as_it_is_now(provider: int, kind: str, payload: object, event: Event) -> None:
    assert read(provider, kind, payload) == [event]


def test_a_fork_that_is_gone_is_a_fork() -> None:
    payload = github_pull_request()
    payload["pull_request"]["head"]["repo"] = None
    (event,) = read(GITHUB, "pull_request", payload)
    assert isinstance(event, PullRequest)
    assert event.is_fork


@pytest.mark.parametrize(
    ("provider", "kind", "payload"),
    [
        pytest.param(GITHUB, "ping", {"zen": "Keep it logically awesome.", "hook_id": 3}, id="GitHub"),
        pytest.param(BITBUCKET, "diagnostics:ping", {"test": True}, id="Bitbucket"),
    ],
)
def test_a_ping_is_one(provider: int, kind: str, payload: object) -> None:
    assert read(provider, kind, payload) == [Ping()]


@pytest.mark.parametrize(
    ("provider", "kind", "payload"),
    [
        (GITHUB, "issues", {"action": "opened"}),
        (GITHUB, "pull_request", github_pull_request("labeled")),
        (GITHUB, "pull_request", github_pull_request("edited", changes={"title": {"from": "x"}})),
        (GITLAB, "Pipeline Hook", {"object_kind": "pipeline"}),
        (GITLAB, "Merge Request Hook", gitlab_merge_request("update", changes={"labels": {}})),
        (GITLAB, "Merge Request Hook", gitlab_merge_request("approved")),
        (BITBUCKET, "pullrequest:comment_created", bitbucket_pull_request()),
        (BITBUCKET, "repo:push", bitbucket_push() | {"push": {"changes": []}}),
    ],
)
def test_anything_else_is_ignored(provider: int, kind: str, payload: object) -> None:
    assert read(provider, kind, payload) == [Ignored(kind)]


@pytest.mark.parametrize(
    ("provider", "kind", "body", "said"),
    [
        (GITHUB, "push", b"payload=%7B%7D", "is no JSON"),
        (GITHUB, "push", b"\xff\xfe", "is no JSON"),
        (GITHUB, "push", b"[" * 100_000, "is no JSON"),
        (GITHUB, "push", b"[]", "`the whole` is no map"),
        (GITHUB, "push", b"{}", "`repository` is no map"),
        (GITHUB, "push", json.dumps(github_push() | {"ref": 7}).encode(), "`ref` is no text"),
        (GITHUB, "push", json.dumps(github_push("refs/heads/\x1b[2J")).encode(), "`ref` is no text"),
        (GITHUB, "push", json.dumps(github_push("r" * 1_001)).encode(), "`ref` is no text of 1 to 1,000 characters"),
        (
            GITLAB,
            "",
            json.dumps(gitlab_merge_request(iid=True)).encode(),
            "`object_attributes.iid` is no number from 1",
        ),
        (GITLAB, "", json.dumps(gitlab_merge_request(iid=0)).encode(), "`object_attributes.iid` is no number from 1"),
        (BITBUCKET, "repo:push", json.dumps(bitbucket_push() | {"push": 1}).encode(), "`push` is no map"),
        (BITBUCKET, "repo:push", json.dumps(bitbucket_push({"new": 1})).encode(), "`push.changes.0.new` is no map"),
    ],
)
def test_what_no_host_sends_is_refused_with_its_place(provider: int, kind: str, body: bytes, said: str) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        read(provider, kind, body)
    assert said in refused.value.message


@given(st.sampled_from(PROVIDERS), st.data())
def test_nothing_else_is_ever_raised(provider: int, data: st.DataObject) -> None:
    leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
    names = st.sampled_from(
        [
            "repository",
            "project",
            "object_kind",
            "object_attributes",
            "push",
            "changes",
            "new",
            "ref",
            "after",
            "action",
        ]
    )
    values = st.recursive(leaves, lambda each: st.lists(each, max_size=3) | st.dictionaries(names, each, max_size=5))
    kind = data.draw(st.sampled_from(KINDS[provider]))
    payload = data.draw(values | st.builds(lambda body: body | {"object_kind": "push"}, st.dictionaries(names, values)))
    with contextlib.suppress(InvalidDefinition):
        assert read(provider, kind, payload)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_delivery_is_known_by_the_hosts_word_and_its_body(provider: int) -> None:
    def delivery(word: str, payload: object) -> str:
        headers, body = posted(provider, "push", payload, "a-secret", word)
        return delivery_of(provider, headers, hashlib.sha256(body).digest())

    assert delivery("a", github_push()) == delivery("a", github_push())
    others = {delivery("b", github_push()), delivery("a", github_push(after=ZEROS)), delivery("", github_push())}
    assert len(others | {delivery("a", github_push())}) == 4


def test_events_that_follow_from_one_another_in_an_older_gitlab_are_told_apart() -> None:
    bodies = [json.dumps(gitlab_push(ref)).encode() for ref in ("refs/heads/a", "refs/heads/b")]
    assert (
        len(
            {delivery_of(GITLAB, {"x-gitlab-event-uuid": "the same"}, hashlib.sha256(body).digest()) for body in bodies}
        )
        == 2
    )
