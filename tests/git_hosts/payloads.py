"""What hosts post, as recorded, cut to what is read and a little beside it, with made-up names; and how each of them signs it."""

import base64
import hashlib
import hmac
import json
from typing import Any

from pymigrate.v1 import git_source_pb2 as pb

GITHUB, GITLAB, BITBUCKET = pb.GIT_PROVIDER_GITHUB, pb.GIT_PROVIDER_GITLAB, pb.GIT_PROVIDER_BITBUCKET
BEFORE = "95790bf891e76fee5e1747ab589903a6a1f80f22"
AFTER = "da1560886d4f094c3e6c9ef40349f7d38b5d27d7"
ZEROS = "0" * 40
DELIVERY = "72d3162e-cc78-11e3-81ab-4c9367dc0958"

_GITHUB_REPOSITORY = {
    "id": 186853002,
    "name": "definitions",
    "full_name": "acme/definitions",
    "private": True,
    "owner": {"login": "acme", "id": 21031067, "type": "Organization"},
    "default_branch": "main",
    "pushed_at": 1557933657,
}
_GITLAB_PROJECT = {
    "id": 15,
    "name": "Definitions",
    "web_url": "https://gitlab.example.com/acme/data/definitions",
    "git_http_url": "https://gitlab.example.com/acme/data/definitions.git",
    "namespace": "Data",
    "visibility_level": 0,
    "path_with_namespace": "acme/data/definitions",
    "default_branch": "main",
}
_BITBUCKET_REPOSITORY = {
    "type": "repository",
    "full_name": "acme/definitions",
    "name": "definitions",
    "uuid": "{21fa9bf8-b5b2-4891-97ed-d590bad0f871}",
    "is_private": True,
    "scm": "git",
}


def github_push(ref: str = "refs/heads/main", after: str = AFTER) -> dict[str, Any]:
    """A push."""
    return {
        "ref": ref,
        "before": BEFORE,
        "after": after,
        "created": False,
        "deleted": after == ZEROS,
        "forced": False,
        "base_ref": None,
        "compare": "https://github.com/acme/definitions/compare/95790bf891e7...da1560886d4f",
        "commits": [{"id": after, "message": "Add orders\n\nZoë asked for it.", "added": ["plans/orders.yaml"]}],
        "head_commit": {"id": after, "message": "Add orders"},
        "repository": _GITHUB_REPOSITORY,
        "pusher": {"name": "ada", "email": "ada@example.com"},
        "sender": {"login": "ada", "type": "User"},
    }


def github_pull_request(
    action: str = "opened", *, target: str = "main", fork: bool = False, **more: Any
) -> dict[str, Any]:
    """A pull request."""
    return {
        "action": action,
        "number": 7,
        "pull_request": {
            "id": 279147437,
            "number": 7,
            "state": "closed" if action == "closed" else "open",
            "title": "Add orders",
            "draft": False,
            "merged": False,
            "head": {
                "label": "acme:add-orders",
                "ref": "add-orders",
                "sha": AFTER,
                "repo": {"full_name": "grace/definitions" if fork else "acme/definitions"},
            },
            "base": {"ref": target, "sha": BEFORE, "repo": {"full_name": "acme/definitions"}},
        },
        "repository": _GITHUB_REPOSITORY,
        "sender": {"login": "ada", "type": "User"},
        **more,
    }


def gitlab_push(ref: str = "refs/heads/main", after: str = AFTER, kind: str = "push") -> dict[str, Any]:
    """A push of a branch, or of a tag."""
    return {
        "object_kind": kind,
        "event_name": kind,
        "before": BEFORE,
        "after": after,
        "ref": ref,
        "ref_protected": True,
        "checkout_sha": None if after == ZEROS else after,
        "user_id": 4,
        "user_username": "ada",
        "project_id": 15,
        "project": _GITLAB_PROJECT,
        "commits": [{"id": after, "title": "Add orders", "message": "Add orders\n\nZoë asked for it."}],
        "total_commits_count": 1,
    }


def gitlab_merge_request(
    action: str = "open", *, target: str = "main", fork: bool = False, **more: Any
) -> dict[str, Any]:
    """A merge request; `oldrev` and the like go into its attributes, `changes` beside them."""
    changes = more.pop("changes", {})
    return {
        "object_kind": "merge_request",
        "event_type": "merge_request",
        "user": {"id": 1, "username": "ada"},
        "project": _GITLAB_PROJECT,
        "object_attributes": {
            "id": 99,
            "iid": 7,
            "target_branch": target,
            "source_branch": "add-orders",
            "source_project_id": 16 if fork else 15,
            "target_project_id": 15,
            "state": "opened",
            "last_commit": {"id": AFTER, "message": "Add orders"},
            "draft": False,
            "action": action,
            **more,
        },
        "labels": [],
        "changes": changes,
    }


def bitbucket_push(*changes: dict[str, Any]) -> dict[str, Any]:
    """A push of one branch, or of whatever changed."""
    return {
        "actor": {"type": "user", "nickname": "ada"},
        "repository": _BITBUCKET_REPOSITORY,
        "push": {"changes": list(changes or (bitbucket_change(),))},
    }


def bitbucket_change(name: str = "main", kind: str = "branch", *, is_deleted: bool = False) -> dict[str, Any]:
    """What became of one branch or tag."""
    led = {"type": kind, "name": name, "target": {"type": "commit", "hash": BEFORE, "message": "Begin"}}
    leads = {"type": kind, "name": name, "target": {"type": "commit", "hash": AFTER, "message": "Add orders"}}
    return {
        "old": led,
        "new": None if is_deleted else leads,
        "created": False,
        "closed": is_deleted,
        "forced": False,
        "truncated": False,
    }


def bitbucket_pull_request(*, target: str = "main", fork: bool = False) -> dict[str, Any]:
    """A pull request; what happened to it is in a header."""
    came_from = "grace/definitions" if fork else "acme/definitions"
    return {
        "actor": {"type": "user", "nickname": "ada"},
        "repository": _BITBUCKET_REPOSITORY,
        "pullrequest": {
            "type": "pullrequest",
            "id": 7,
            "title": "Add orders",
            "state": "OPEN",
            "source": {
                "branch": {"name": "add-orders"},
                "commit": {"type": "commit", "hash": AFTER[:12]},
                "repository": {"type": "repository", "full_name": came_from},
            },
            "destination": {
                "branch": {"name": target},
                "commit": {"type": "commit", "hash": BEFORE[:12]},
                "repository": {"type": "repository", "full_name": "acme/definitions"},
            },
        },
    }


def posted(
    provider: int, kind: str, payload: object, secret: str, delivery: str = DELIVERY
) -> tuple[dict[str, str], bytes]:
    """Headers and body, signed as the host signs; a GitLab's token is shown."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload, ensure_ascii=False).encode()
    headers = {"content-type": "application/json"}
    digest = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    if provider == GITHUB:
        headers |= {"x-github-event": kind, "x-github-delivery": delivery, "x-hub-signature-256": digest}
    elif provider == GITLAB:
        headers |= {"x-gitlab-event": kind, "idempotency-key": delivery, "x-gitlab-token": secret}
    else:
        headers |= {"x-event-key": kind, "x-request-uuid": delivery, "x-hub-signature": digest}
    return headers, body


def standard_signed(secret: str, body: bytes, timestamp: int, delivery: str = DELIVERY) -> dict[str, str]:
    """The headers of GitLab's signing tokens."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{delivery}.{timestamp}.".encode() + body
    signature = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "content-type": "application/json",
        "x-gitlab-event": "Push Hook",
        "idempotency-key": delivery,
        "webhook-id": delivery,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature,
    }
