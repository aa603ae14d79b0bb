"""What hosts of repositories post: a push or a pull request, read from the headers and the body that each of them sends.

Nothing here is trusted beyond what it rings for: the commit that is applied is always the one that the repository itself says.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.v1 import git_source_pb2 as pb

NAME_CHARACTERS_MAX = 1_000
CHANGES_MAX = 1_000
NUMBER_MAX = 2**31 - 1
HEADS = "refs/heads/"
TAGS = "refs/tags/"
Headers = Mapping[str, str]


class PullRequestAction(StrEnum):
    """What happened to a pull request."""

    OPENED = "opened"
    UPDATED = "updated"
    REOPENED = "reopened"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Push:
    """A branch or tag leads to another commit; `commit` is empty where it was deleted. `default_branch` is empty where the host does not
    say it."""

    repository: str
    reference: str
    commit: str
    default_branch: str = ""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request as it is now. `head` is its newest commit, of some hosts abbreviated; `is_fork`: it comes from another repository."""

    repository: str
    action: PullRequestAction
    number: int
    head: str
    source_branch: str
    target_branch: str
    is_fork: bool = False
    default_branch: str = ""


@dataclass(frozen=True, slots=True)
class Ping:
    """The host tries whether it is heard."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something that concerns no definitions; `what` is the host's word for it."""

    what: str


Event = Push | PullRequest | Ping | Ignored


def events_of(provider: int, headers: Headers, body: bytes) -> Sequence[Event]:
    """What was posted, in order; one at least. `headers` are by lower-case name. Raises InvalidDefinition for a body that no host
    sends."""
    kind = headers.get(KIND_HEADERS[provider], "")
    try:
        payload = json.loads(body)
        return list(READERS[provider](kind, _Fields(payload)))[:CHANGES_MAX] or [Ignored(kind)]
    except (ValueError, RecursionError) as error:
        said = error if isinstance(error, _Unexpected) else "is no JSON"
        raise InvalidDefinition((Problem("body", f"{said}: let the webhook send `application/json`"),)) from None


def delivery_of(provider: int, headers: Headers, body_digest: bytes) -> str:
    """By which the same delivery is known when it comes again: the host's own word for it, and the digest of what was sent. GitLab's
    older word is shared by what follows from one another, and no header of any host is signed."""
    names = DELIVERY_HEADERS[provider]
    word = next(filter(None, (headers.get(name, "") for name in names)), "")
    return hashlib.sha256(word.encode(errors="replace") + b"\0" + body_digest).hexdigest()


class _Unexpected(ValueError):
    """A field is not what it should be."""


class _Fields:
    """A map of the payload, read with what each field must be."""

    def __init__(self, data: Any, path: str = "") -> None:
        if not isinstance(data, dict):
            raise _Unexpected(f"`{path or 'the whole'}` is no map")
        self._data = data
        self._path = path

    def has(self, name: str) -> bool:
        """Whether there is something."""
        return self._data.get(name) is not None

    def map(self, name: str) -> "_Fields":
        return _Fields(self._data.get(name), self._at(name))

    def maybe(self, name: str) -> "_Fields":
        """An empty one where there is none."""
        return _Fields(self._data.get(name) or {}, self._at(name))

    def maps(self, name: str) -> "list[_Fields]":
        found = self._data.get(name)
        if not isinstance(found, list):
            raise _Unexpected(f"`{self._at(name)}` is no list")
        return [_Fields(each, f"{self._at(name)}.{place}") for place, each in enumerate(found)]

    def text(self, name: str) -> str:
        found = self._data.get(name)
        if not isinstance(found, str) or not found or len(found) > NAME_CHARACTERS_MAX or not found.isprintable():
            raise _Unexpected(f"`{self._at(name)}` is no text of 1 to {NAME_CHARACTERS_MAX:,} characters")
        return found

    def text_or_none(self, name: str) -> str:
        return self.text(name) if self.has(name) and self._data[name] != "" else ""

    def number(self, name: str) -> int:
        found = self._data.get(name)
        if not isinstance(found, int) or isinstance(found, bool) or not 1 <= found <= NUMBER_MAX:
            raise _Unexpected(f"`{self._at(name)}` is no number from 1")
        return found

    def value(self, name: str) -> Any:
        return self._data.get(name)

    def _at(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name


def _github(kind: str, payload: _Fields) -> Iterator[Event]:
    if kind == "ping":
        yield Ping()
        return
    if kind not in {"push", "pull_request"}:
        return
    repository = payload.map("repository")
    name, default = repository.text("full_name"), repository.text_or_none("default_branch")
    if kind == "push":
        yield Push(name, payload.text("ref"), _commit(payload.text("after")), default)
        return
    word, asked = payload.text("action"), payload.map("pull_request")
    # An edited one is another where its target is: its title alone changes nothing.
    is_retargeted = word == "edited" and payload.maybe("changes").has("base")
    action = PullRequestAction.UPDATED if is_retargeted else GITHUB_ACTIONS.get(word)
    if action is None:
        return
    head, base = asked.map("head"), asked.map("base")
    came_from = head.maybe("repo").text_or_none("full_name")  # a fork may be gone
    yield PullRequest(
        name,
        action,
        asked.number("number"),
        _commit(head.text("sha")),
        head.text("ref"),
        base.text("ref"),
        is_fork=came_from != name,
        default_branch=default,
    )


def _gitlab(kind: str, payload: _Fields) -> Iterator[Event]:
    word = payload.text_or_none("object_kind")
    if word not in {"push", "tag_push", "merge_request"}:
        return
    project = payload.map("project")
    name, default = project.text("path_with_namespace"), project.text_or_none("default_branch")
    if word != "merge_request":
        yield Push(name, payload.text("ref"), _commit(payload.text("after")), default)
        return
    asked = payload.map("object_attributes")
    done = asked.text_or_none("action")
    is_another = asked.has("oldrev") or payload.maybe("changes").has("target_branch")
    action = GITLAB_ACTIONS.get(done) if done != "update" else PullRequestAction.UPDATED if is_another else None
    if action is None:
        return
    yield PullRequest(
        name,
        action,
        asked.number("iid"),
        _commit(asked.maybe("last_commit").text_or_none("id")),
        asked.text("source_branch"),
        asked.text("target_branch"),
        is_fork=asked.value("source_project_id") != asked.value("target_project_id"),
        default_branch=default,
    )


def _bitbucket(kind: str, payload: _Fields) -> Iterator[Event]:
    if kind == "diagnostics:ping":
        yield Ping()
        return
    if kind != "repo:push" and kind not in BITBUCKET_ACTIONS:
        return
    repository = payload.map("repository")
    name = repository.text("full_name")
    default = repository.maybe("mainbranch").text_or_none("name")
    if kind == "repo:push":
        for change in payload.map("push").maps("changes"):
            yield _bitbucket_push(name, default, change)
        return
    asked = payload.map("pullrequest")
    source, target = asked.map("source"), asked.map("destination")
    came_from = source.maybe("repository").text_or_none("full_name")
    yield PullRequest(
        name,
        BITBUCKET_ACTIONS[kind],
        asked.number("id"),
        source.maybe("commit").text_or_none("hash"),
        source.map("branch").text("name"),
        target.map("branch").text("name"),
        is_fork=came_from != name,
        default_branch=default,
    )


def _bitbucket_push(repository: str, default: str, change: _Fields) -> Event:
    is_there = change.has("new")
    after = change.map("new") if is_there else change.map("old")
    prefix = TAGS if after.text("type") in {"tag", "annotated_tag"} else HEADS
    commit = after.map("target").text("hash") if is_there else ""
    return Push(repository, f"{prefix}{after.text('name')}", commit, default)


def _commit(text: str) -> str:
    """A commit; empty for the zeros that stand for none."""
    return text if text.strip("0") else ""


GITHUB_ACTIONS = {
    "opened": PullRequestAction.OPENED,
    "reopened": PullRequestAction.REOPENED,
    "synchronize": PullRequestAction.UPDATED,
    "closed": PullRequestAction.CLOSED,
}
GITLAB_ACTIONS = {
    "open": PullRequestAction.OPENED,
    "reopen": PullRequestAction.REOPENED,
    "close": PullRequestAction.CLOSED,
    "merge": PullRequestAction.CLOSED,
}
BITBUCKET_ACTIONS = {
    "pullrequest:created": PullRequestAction.OPENED,
    "pullrequest:updated": PullRequestAction.UPDATED,
    "pullrequest:fulfilled": PullRequestAction.CLOSED,
    "pullrequest:rejected": PullRequestAction.CLOSED,
}
KIND_HEADERS: Mapping[int, str] = {
    pb.GIT_PROVIDER_GITHUB: "x-github-event",
    pb.GIT_PROVIDER_GITLAB: "x-gitlab-event",
    pb.GIT_PROVIDER_BITBUCKET: "x-event-key",
}
DELIVERY_HEADERS: Mapping[int, Sequence[str]] = {
    pb.GIT_PROVIDER_GITHUB: ("x-github-delivery",),
    pb.GIT_PROVIDER_GITLAB: ("idempotency-key", "x-gitlab-event-uuid"),
    pb.GIT_PROVIDER_BITBUCKET: ("x-request-uuid",),
}
READERS: Mapping[int, Callable[[str, _Fields], Iterator[Event]]] = {
    pb.GIT_PROVIDER_GITHUB: _github,
    pb.GIT_PROVIDER_GITLAB: _gitlab,
    pb.GIT_PROVIDER_BITBUCKET: _bitbucket,
}
